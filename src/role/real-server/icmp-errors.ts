/** ICMP errors about translated packets, either way: they are translated in what they quote. */
import * as icmp from '../../codec/icmp.js';
import { DESTINATION_AT, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { setErrorDestination, setQuotedDestination, setQuotedSource } from '../../codec/rewrite.js';
import { type FlowId, NONE, type Ticks } from '../../codec/units.js';
import { CLIENT, flowPorts, LIP, replyPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { Counter, type Counters } from '../counters.js';
import { Verdict } from '../role.js';
import type { ClientMtus } from './client-mtus.js';
import type { Nat64 } from './nat64.js';
import type { Replies } from './replies.js';

export class IcmpErrors {
  constructor(
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly replies: Replies,
    private readonly nat64: Nat64,
    private readonly clientMtus: ClientMtus,
  ) {}

  /** About a reply of ours, LIP:lport in what it quotes: the application's socket knows the client's address. */
  fromNetwork(packet: Packet, now: Ticks): Verdict {
    const { flows, counters, nat64 } = this;
    const { records } = flows;
    const { addresses, sourcePort, destinationPort } = packet.quoted;
    const ports = flowPorts(destinationPort, sourcePort);
    const flow = flows.findFlow(addresses, DESTINATION_AT, SOURCE_AT, ports);
    if (flow === NONE) return Verdict.deliver;
    const isTranslated = nat64.concerns(flow);
    // A socket that sees the load balancer as its client.
    if (isTranslated && !nat64.hasPartner(addresses, SOURCE_AT, sourcePort)) return Verdict.deliver;
    const isNews = this.learnMtu(packet, flow, now);
    // The socket that it is about speaks another family, or has heard it already: there may be a burst of them.
    if (isTranslated || !isNews) return Verdict.drop;
    setQuotedDestination(packet, records.words, records.addressAt(flow, CLIENT), records.clientPort(flow));
    counters[Counter.icmp_translated]++;
    return Verdict.deliver;
  }

  /** Learns the path MTU that an error names; false if it names one that the client's socket has heard of already. */
  private learnMtu({ view, transport, v6 }: Packet, flow: FlowId, now: Ticks): boolean {
    const { records } = this.flows;
    const mtu = icmp.nextHopMtu(view, transport, v6);
    if (mtu === 0) return true;
    const clientAt = records.addressAt(flow, CLIENT);
    return this.clientMtus.learn(records.words, clientAt, mtu + this.nat64.shrinkage(flow, v6), now);
  }

  /** About a datagram that this host could not deliver, for its client: the load balancer knows LIP:lport. */
  fromHost(packet: Packet): Verdict {
    const { counters } = this;
    const { records } = this.flows;
    const { addresses, sourcePort, destinationPort } = packet.quoted;
    const ports = replyPorts(sourcePort, destinationPort);
    const flow = this.replies.find(addresses, DESTINATION_AT, SOURCE_AT, ports);
    if (flow === NONE) return Verdict.emit;
    if (this.nat64.concerns(flow)) {
      counters[Counter.packets_ignored]++;
      return Verdict.drop;
    }
    const lipAt = records.addressAt(flow, LIP);
    setQuotedSource(packet, records.words, lipAt, records.lport(flow));
    setErrorDestination(packet, records.words, lipAt);
    counters[Counter.icmp_translated]++;
    return Verdict.emit;
  }
}
