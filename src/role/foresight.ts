/**
 * A look at a whole batch before its packets are handled one by one: it has the flow table's memory fetched for all of
 * them at once, so that their cache misses overlap, and notes with each which record it probably has.
 */

import { DESTINATION, Kind, type Packet, SOURCE } from '../codec/packet.js';
import { NONE } from '../codec/units.js';
import { FlowPrefetch } from '../flow/prefetch.js';
import { flowPorts, replyPorts } from '../flow/records.js';
import type { FlowTable } from '../flow/table.js';
import type { ServiceList } from './services.js';

/** Fewer flows than these are in the cache anyway. */
const FORESIGHT_FROM = 20_000;

export class Foresight {
  private readonly prefetch: FlowPrefetch;

  constructor(private readonly flows: FlowTable) {
    this.prefetch = new FlowPrefetch(flows);
  }

  /** Looks at the first `count` packets, BATCH at most; `hint` then is a flow's record, or NONE. */
  look(packets: readonly Packet[], count: number, services: ServiceList): void {
    const { prefetch } = this;
    if (this.flows.count < FORESIGHT_FROM) return;
    for (let i = 0; i < count; i++) {
      const packet = packets[i];
      const { addresses } = packet;
      if (packet.kind !== Kind.udp) prefetch.setNone(i);
      else if (services.hasAddress(addresses, SOURCE)) {
        const ports = replyPorts(packet.destinationPort, packet.sourcePort);
        prefetch.setReply(i, addresses, SOURCE, DESTINATION, ports);
      } else {
        const ports = flowPorts(packet.sourcePort, packet.destinationPort);
        prefetch.setFlow(i, addresses, SOURCE, DESTINATION, ports);
      }
    }
    prefetch.run(count);
    for (let i = 0; i < count; i++) packets[i].hint = packets[i].kind === Kind.udp ? prefetch.hint(i) : NONE;
  }
}
