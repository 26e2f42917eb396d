/**
 * The real server's look at a whole batch before its packets are handled one by one. It decides which way each goes, and
 * where flows are many it has their memory brought to the cache, so that cache misses overlap.
 */
import { DESTINATION_AT, Kind, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { NONE } from '../../codec/units.js';
import { FlowPrefetch } from '../../flow/prefetch.js';
import { flowPorts, replyPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import type { ServiceList } from './services.js';

/** Fewer flows than these are in the cache anyway. */
const PREFETCH_FROM = 20_000;

export class Prefetch {
  private readonly prefetch: FlowPrefetch;

  constructor(private readonly flows: FlowTable) {
    this.prefetch = new FlowPrefetch(flows);
  }

  /** Looks at the first `count` packets, BATCH at most: sets `isInbound`, and `hint` to a flow or NONE. */
  run(packets: readonly Packet[], count: number, services: ServiceList): void {
    for (let i = 0; i < count; i++) packets[i].isInbound = isInbound(packets[i], services);
    if (this.flows.count < PREFETCH_FROM) return;
    for (let i = 0; i < count; i++) this.announce(i, packets[i]);
    this.prefetch.run(count);
    for (let i = 0; i < count; i++)
      packets[i].hint = packets[i].kind === Kind.udp ? this.prefetch.hint(i) : NONE;
  }

  private announce(i: number, packet: Packet): void {
    const { prefetch } = this;
    const { addresses } = packet;
    if (packet.kind !== Kind.udp) prefetch.setNone(i);
    else if (packet.isInbound) {
      const ports = flowPorts(packet.sourcePort, packet.destinationPort);
      prefetch.setFlow(i, addresses, SOURCE_AT, DESTINATION_AT, ports);
    } else {
      const ports = replyPorts(packet.destinationPort, packet.sourcePort);
      prefetch.setReply(i, addresses, SOURCE_AT, DESTINATION_AT, ports);
    }
  }
}

/** To a service, and not from one: a prefix of load balancers may well hold the service's own address too. */
function isInbound({ addresses }: Packet, services: ServiceList): boolean {
  return services.hasAddress(addresses, DESTINATION_AT) && !services.hasAddress(addresses, SOURCE_AT);
}
