/**
 * The load balancer beside the kernel's NAT (PROTOCOL: LB): a flow's packets come here until it is released, and the
 * first ones of them get a mark. They come after NAT, so they go LIP:lport -> RIP:rport. Stages, in the order of their
 * way:
 *
 *   1. which way: to a real server, or from one to an address of this host
 *   2. to a real server: whose flow it is (flow-finder.ts), whether it still wants a mark (marking.ts), and whether that
 *      was all (releases.ts)
 *   3. from a real server: an ACK (acks.ts) or an ask (asks.ts), neither of which is ever let through
 *   4. an ICMP error about a packet that the mark made too big
 */
import * as icmp from '../../codec/icmp.js';
import { eraseMarks, strip, stripQuoted } from '../../codec/marks.js';
import { DESTINATION_AT, Kind, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { restoreHop } from '../../codec/rewrite.js';
import type { Ticks } from '../../codec/units.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { EXPIRY_BUDGET, type Outbox, type Role, Verdict } from '../role.js';
import { Acks } from './acks.js';
import { Asks } from './asks.js';
import type { Connections } from './connections.js';
import { FlowFinder } from './flow-finder.js';
import { Marking, type PathMtuOf } from './marking.js';
import { Releases } from './releases.js';
import { type LoadBalancerOptions, LoadBalancerSettings } from './settings.js';

export class LoadBalancerRole implements Role {
  private readonly settings: LoadBalancerSettings;
  private readonly finder: FlowFinder;
  private readonly marking: Marking;
  private readonly acks: Acks;
  private readonly releases: Releases;
  private readonly asks: Asks;

  constructor(
    options: LoadBalancerOptions,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly connections: Connections,
    pathMtu: PathMtuOf,
    seed: number,
  ) {
    this.settings = new LoadBalancerSettings(options);
    this.finder = new FlowFinder(flows, counters, connections);
    this.marking = new Marking(this.settings, flows, counters, pathMtu, seed);
    this.acks = new Acks(this.settings, flows, counters);
    this.releases = new Releases(this.settings, flows, counters, connections);
    this.asks = new Asks(this.settings, flows, counters, connections);
  }

  /** Takes other options from the next packet on; flows stay. */
  configure(options: LoadBalancerOptions): void {
    this.settings.configure(options);
  }

  // ---- 1. which way --------------------------------------------------------------------------------------

  prefetch(packets: readonly Packet[], count: number): void {
    let before: Packet | undefined;
    for (let i = 0; i < count; i++) {
      const packet = packets[i];
      // By the destination: a source is easily forged.
      packet.isInbound = this.settings.ownAddresses.has(packet.addresses, DESTINATION_AT);
      if (packet.kind !== Kind.udp || packet.isInbound) continue;
      this.finder.lookUp(packet, before);
      before = packet;
    }
    this.connections.sendQueries();
  }

  process(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    const verdict = this.handle(packet, now, outbox);
    if (verdict !== Verdict.drop) restoreHop(packet);
    return verdict;
  }

  private handle(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    const { counters } = this;
    counters[LbCounter.packets_seen]++;
    switch (packet.kind) {
      case Kind.malformed:
        counters[LbCounter.dropped_malformed]++;
        return Verdict.drop;
      case Kind.error:
        return this.errorFromNetwork(packet, now);
      case Kind.other:
        counters[LbCounter.packets_ignored]++;
        return Verdict.drop;
      default:
        return packet.isInbound
          ? this.fromRealServer(packet, now, outbox)
          : this.toRealServer(packet, now, outbox);
    }
  }

  // ---- 2. to a real server -------------------------------------------------------------------------------

  private toRealServer(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    if (packet.kind !== Kind.udp || !this.mark(packet, now, outbox))
      this.counters[LbCounter.packets_unmarked]++;
    return Verdict.emit;
  }

  /** Marks a packet; false if it needs no mark. */
  private mark(packet: Packet, now: Ticks, outbox: Outbox): boolean {
    // What the client wrote there itself would pass for ours.
    this.counters[LbCounter.marks_forged] += eraseMarks(packet);
    const connection = this.finder.connectionOf(packet);
    if (connection === undefined) return false;
    const flow = this.finder.flowOf(packet, connection, now);
    const wantsMark = this.settings.wantsMark(this.flows.records.flags(flow));
    if (wantsMark) this.marking.add(packet, flow, now, outbox);
    this.releases.settle(flow, connection);
    return wantsMark;
  }

  // ---- 3. from a real server -----------------------------------------------------------------------------

  private fromRealServer(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    if (packet.kind === Kind.udp && packet.payloadLength > 0) {
      // No ACK has a payload: an application's answer, with an option that no client should see.
      strip(packet);
      this.counters[LbCounter.packets_unmarked]++;
      return Verdict.deliver;
    }
    if (this.asks.isAsk(packet)) this.asks.answer(packet, now, outbox);
    else this.acks.receive(packet, now);
    return Verdict.drop;
  }

  // ---- 4. an ICMP error ----------------------------------------------------------------------------------

  /**
   * A marked packet was too big for some path: from now on its destination's marks go ahead of such packets. The client
   * hears of it only if its packet would have been too big without the mark.
   */
  private errorFromNetwork(packet: Packet, now: Ticks): Verdict {
    const { quoted, view, v6 } = packet;
    const isOfOurs = this.settings.ownAddresses.has(quoted.addresses, SOURCE_AT);
    const mtu = icmp.nextHopMtu(view, packet.transport, v6);
    const marked = quoted.declaredLength;
    const removed = stripQuoted(packet);
    if (!isOfOurs || removed === 0 || mtu === 0) return Verdict.deliver;
    this.marking.learnMtu(quoted.addresses, DESTINATION_AT, mtu, now);
    if (marked - removed > mtu) return Verdict.deliver;
    this.counters[LbCounter.packets_ignored]++;
    return Verdict.drop;
  }

  // ---- beside the packets --------------------------------------------------------------------------------

  account(_marksSent: number, marksRefused: number, refused: number): void {
    this.counters[LbCounter.dropped_io] += marksRefused + refused;
    this.releases.send();
  }

  /** Nothing is held: what comes after a release would overtake it. */
  takeHeld(): number {
    return 0;
  }

  tick(now: Ticks): boolean {
    this.counters[LbCounter.flows_expired] += this.flows.expire(now, EXPIRY_BUDGET);
    this.counters[LbCounter.flows] = this.flows.count;
    return this.flows.isExpiryDue(now);
  }
}
