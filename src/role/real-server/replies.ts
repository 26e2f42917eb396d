/** Which flow a reply of the application's belongs to. */
import { ADDRESS_WORDS, copyAddress, isMapped } from '../../codec/addresses.js';
import { DESTINATION_AT, SOURCE_AT } from '../../codec/packet.js';
import { type FlowId, NONE, type WordIndex } from '../../codec/units.js';
import { type ReplyPorts, serverPortOf } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import type { RealServerSettings } from './settings.js';

export class Replies {
  /** A service that the client may have asked, and the client. */
  private readonly ends = new Int32Array(2 * ADDRESS_WORDS);

  constructor(
    private readonly settings: RealServerSettings,
    private readonly flows: FlowTable,
  ) {}

  /**
   * The flow that replies between the addresses at `serverAt` and `clientAt` in `words` belong to, or NONE. A wildcard socket
   * answers from one and the same address, whichever was asked; so if that one was not, any service with the same port
   * may have been. And a client of the other family asked a service of that other family.
   */
  find(
    words: Int32Array,
    serverAt: WordIndex,
    clientAt: WordIndex,
    ports: ReplyPorts,
    hint: FlowId = NONE,
  ): FlowId {
    const { wildcardSources, translates } = this.settings;
    const flow = this.flows.findReply(words, serverAt, clientAt, ports, hint);
    if (flow !== NONE) return flow;
    const isWildcard = wildcardSources.has(words, serverAt);
    return isWildcard || translates ? this.findOther(words, serverAt, clientAt, ports, isWildcard) : NONE;
  }

  /** The flow of the same client with another service of the same port. */
  private findOther(
    words: Int32Array,
    serverAt: WordIndex,
    clientAt: WordIndex,
    ports: ReplyPorts,
    isWildcard: boolean,
  ): FlowId {
    const { flows, ends } = this;
    const { services, translates } = this.settings;
    const isIpv4 = isMapped(words, serverAt);
    copyAddress(words, clientAt, ends, DESTINATION_AT);
    for (let i = 0; i < services.count; i++) {
      const at = services.addressAt(i);
      const isCandidate = isMapped(services.addresses, at) === isIpv4 ? isWildcard : translates;
      if (!isCandidate || !services.hasPort(i, serverPortOf(ports))) continue;
      copyAddress(services.addresses, at, ends, SOURCE_AT);
      const flow = flows.findReply(ends, SOURCE_AT, DESTINATION_AT, ports);
      if (flow !== NONE) return flow;
    }
    return NONE;
  }
}
