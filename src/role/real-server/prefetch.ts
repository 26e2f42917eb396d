/** Brings the memory of a batch's flows to the cache before its packets are handled, so that cache misses overlap. */
import { DESTINATION_AT, Kind, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { NONE } from '../../codec/units.js';
import { FlowPrefetch } from '../../flow/prefetch.js';
import { flowPorts, replyPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';

/** Fewer flows than these are in the cache anyway. */
const PREFETCH_FROM = 20_000;

export class Prefetch {
  private readonly lookups: FlowPrefetch;

  constructor(private readonly flows: FlowTable) {
    this.lookups = new FlowPrefetch(flows);
  }

  /** Sets `hint` of the first `count` packets, BATCH at most, to a flow or NONE; `isInbound` is set already. */
  run(packets: readonly Packet[], count: number): void {
    const { lookups } = this;
    if (this.flows.count < PREFETCH_FROM) return;
    for (let i = 0; i < count; i++) this.announce(i, packets[i]);
    lookups.run(count);
    for (let i = 0; i < count; i++) packets[i].hint = packets[i].kind === Kind.udp ? lookups.hint(i) : NONE;
  }

  private announce(i: number, packet: Packet): void {
    const { lookups } = this;
    const { addresses } = packet;
    if (packet.kind !== Kind.udp) lookups.setNone(i);
    else if (packet.isInbound) {
      const ports = flowPorts(packet.sourcePort, packet.destinationPort);
      lookups.setFlow(i, addresses, SOURCE_AT, DESTINATION_AT, ports);
    } else {
      const ports = replyPorts(packet.destinationPort, packet.sourcePort);
      lookups.setReply(i, addresses, SOURCE_AT, DESTINATION_AT, ports);
    }
  }
}
