/**
 * Clients of the other family than their load balancer's network (NAT64, NAT46; PROTOCOL: RS 9). With `nat64: deliver`
 * their packets go to the service with the same port in the client's own family, the partner, and its replies come back.
 */
import { ADDRESS_WORDS, copyAddress } from '../../codec/addresses.js';
import { DESTINATION_AT, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { setSource } from '../../codec/rewrite.js';
import { GROWTH, SHRINKAGE, toIpv4, toIpv6 } from '../../codec/translate.js';
import { type FlowId, NONE, type Port, type WordIndex } from '../../codec/units.js';
import { CLIENT, LIP, SERVER } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { OTHER_FAMILY } from '../flow-flags.js';
import type { RealServerSettings } from './settings.js';

export class Nat64 {
  /** New source and destination of a packet that is translated. */
  private readonly ends = new Int32Array(2 * ADDRESS_WORDS);

  constructor(
    private readonly settings: RealServerSettings,
    private readonly flows: FlowTable,
  ) {}

  /** Whether a flow's client is of the other family. */
  concerns(flow: FlowId): boolean {
    return (this.flows.records.flags(flow) & OTHER_FAMILY) !== 0;
  }

  /** Whether packets to the service at `serverAt` in `words` are translated. */
  hasPartner(words: Int32Array, serverAt: WordIndex, port: Port): boolean {
    return this.partnerOf(words, serverAt, port) !== NONE;
  }

  /** Makes a packet from the load balancer one from the flow's client to the partner; left as it is if that can't be. */
  toPartner(packet: Packet, flow: FlowId): void {
    const { ends } = this;
    const { services } = this.settings;
    const { records } = this.flows;
    const partner = this.partnerOf(packet.addresses, DESTINATION_AT, packet.destinationPort);
    if (partner === NONE) return;
    copyAddress(records.words, records.addressAt(flow, CLIENT), ends, SOURCE_AT);
    copyAddress(services.addresses, services.addressAt(partner), ends, DESTINATION_AT);
    if (translate(packet, ends)) setSource(packet, ends, SOURCE_AT, records.clientPort(flow));
  }

  /** Makes a partner's reply one between the flow's own addresses; false if that can't be. The ports stay. */
  toFlow(packet: Packet, flow: FlowId): boolean {
    const { ends } = this;
    const { records } = this.flows;
    copyAddress(records.words, records.addressAt(flow, SERVER), ends, SOURCE_AT);
    copyAddress(records.words, records.addressAt(flow, LIP), ends, DESTINATION_AT);
    return translate(packet, ends);
  }

  /** By how many bytes less a reply of this family has when it leaves than when its socket sent it; below 0: more. */
  shrinkage(flow: FlowId, v6: boolean): number {
    if (!this.concerns(flow)) return 0;
    return v6 ? -GROWTH : SHRINKAGE;
  }

  private partnerOf(words: Int32Array, serverAt: WordIndex, port: Port): number {
    const { services, translates } = this.settings;
    return translates ? services.partner(words, serverAt, port) : NONE;
  }
}

/** Makes a packet one of the other family, from and to `ends`; false if it can't be. */
function translate(packet: Packet, ends: Int32Array): boolean {
  if (!packet.v6) return toIpv6(packet, ends, 0);
  toIpv4(packet, ends, 0);
  return true;
}
