/**
 * The real server (PROTOCOL: RS): packets from a load balancer become packets from the client, and replies to
 * the client go back to the load balancer. Stages, in the order of a packet's way:
 *
 *   1. which way: from a load balancer to a service, or from the application
 *   2. from a load balancer: learn from the mark (learning.ts), ACK; ask where there is none (asks.ts)
 *   3. deliver it: mark off, the client's address as source
 *   4. from the application: find the flow by its client (replies.ts), turn the reply to LIP:lport
 *   5. later fragments follow the first one, either way (fragments.ts)
 *   6. ICMP errors about translated packets (icmp-errors.ts)
 */
import { sameAddress } from '../../codec/addresses.js';
import { Carrier } from '../../codec/carriers.js';
import { strip } from '../../codec/marks.js';
import { DESTINATION_AT, Kind, Mark, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { restoreHop, setDestination, setSource } from '../../codec/rewrite.js';
import { writeAck } from '../../codec/standalone.js';
import { type ByteOffset, type FlowId, NONE, type Ticks } from '../../codec/units.js';
import { OPP_PROTOCOL } from '../../codec/uoa.js';
import { CLIENT, flowPorts, LIP, replyPorts, SERVER } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { Counter, type Counters } from '../counters.js';
import { EXPIRY_BUDGET, type Outbox, type Role, Verdict } from '../role.js';
import { Asks } from './asks.js';
import { ClientMtus, type TellPathMtu } from './client-mtus.js';
import { Fragments } from './fragments.js';
import { IcmpErrors } from './icmp-errors.js';
import { Learning } from './learning.js';
import { Nat64 } from './nat64.js';
import { Prefetch } from './prefetch.js';
import { Replies } from './replies.js';
import { type KnownLoadBalancer, type RealServerOptions, RealServerSettings } from './settings.js';
import { Validity } from './validity.js';

export class RealServerRole implements Role {
  private readonly settings: RealServerSettings;
  private readonly ahead: Prefetch;
  private readonly validity: Validity;
  private readonly asks: Asks;
  private readonly learning: Learning;
  private readonly nat64: Nat64;
  private readonly replies: Replies;
  private readonly fragments: Fragments;
  private readonly errors: IcmpErrors;

  constructor(
    options: RealServerOptions,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    tellPathMtu: TellPathMtu,
    seed: number,
  ) {
    this.settings = new RealServerSettings(options);
    this.ahead = new Prefetch(flows);
    this.validity = new Validity(flows);
    this.learning = new Learning(this.settings, flows, this.validity, counters);
    this.asks = new Asks(this.settings, flows, counters);
    this.nat64 = new Nat64(this.settings, flows);
    this.replies = new Replies(this.settings, flows);
    this.fragments = new Fragments(seed);
    const clientMtus = new ClientMtus(seed, tellPathMtu);
    this.errors = new IcmpErrors(flows, counters, this.replies, this.nat64, clientMtus);
  }

  /** Takes other options from the next packet on; flows stay. */
  configure(options: RealServerOptions): void {
    this.settings.configure(options);
  }

  // ---- 1. which way --------------------------------------------------------------------------------------

  prefetch(packets: readonly Packet[], count: number): void {
    for (let i = 0; i < count; i++) packets[i].isInbound = this.settings.isInbound(packets[i]);
    this.ahead.run(packets, count);
  }

  process(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    const verdict = this.handle(packet, now, outbox);
    // What is delivered was forwarded to the TUN, what is emitted came from this host.
    if (verdict === Verdict.deliver) restoreHop(packet);
    return verdict;
  }

  private handle(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    const { counters, errors } = this;
    switch (packet.kind) {
      case Kind.udp:
        return packet.isInbound ? this.receive(packet, now, outbox) : this.reply(packet, now, outbox);
      case Kind.fragment:
        return this.follow(packet, now);
      case Kind.malformed:
        counters[Counter.dropped_malformed]++;
        if (packet.mark === Mark.broken && this.settings.isFromLoadBalancer(packet))
          counters[Counter.uoa_invalid]++;
        return Verdict.drop;
      case Kind.error:
        return packet.isInbound ? errors.fromNetwork(packet, now) : errors.fromHost(packet);
      default:
        return this.pass(packet, now);
    }
  }

  /** Not UDP, and no error about it, but it was led here along with those: it goes on as it came. */
  private pass(packet: Packet, now: Ticks): Verdict {
    // Its later fragments may look like UDP's.
    if (packet.fragmented) this.fragments.lead(this.fragments.note(packet), packet, now);
    if (packet.isInbound) return Verdict.deliver;
    if (this.settings.services.hasAddress(packet.addresses, SOURCE_AT)) return Verdict.emit;
    this.counters[Counter.packets_ignored]++;
    return Verdict.drop;
  }

  // ---- 2. from a load balancer ---------------------------------------------------------------------------

  private receive(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    const lb = this.settings.loadBalancerOf(packet);
    if (lb === undefined) {
      // The rules to the TUN are some moments older or younger than our prefixes: it goes on as it came.
      this.counters[Counter.packets_delivered] += packet.datagrams;
      return Verdict.deliver;
    }
    return packet.fragmented
      ? this.receiveFirst(packet, lb, now, outbox)
      : this.receiveFrom(packet, lb, now, outbox);
  }

  private receiveFirst(packet: Packet, lb: KnownLoadBalancer, now: Ticks, outbox: Outbox): Verdict {
    const { fragments } = this;
    if (packet.carrier === Carrier.opp) return this.gather(packet, now);
    const first = fragments.note(packet);
    const verdict = this.receiveFrom(packet, lb, now, outbox);
    fragments.lead(first, packet, now);
    return verdict;
  }

  private receiveFrom(packet: Packet, lb: KnownLoadBalancer, now: Ticks, outbox: Outbox): Verdict {
    const isMarked = packet.mark === Mark.found;
    const flow = isMarked ? this.learning.learn(packet, now) : this.findFlow(packet, lb, now);
    const isToBeAsked = flow === NONE || this.isTakenOver(flow);
    if (flow !== NONE) this.validity.hear(flow, lb.timeout, now);
    if (flow !== NONE) this.flows.recordInbound(flow, now, packet.datagrams);
    if (isMarked) this.asks.hearMark(packet, lb, now);
    else if (isToBeAsked) this.asks.askAbout(packet, lb, now, outbox);
    if (isMarked && flow !== NONE && lb.ack) outbox.add(writeAck(packet, packet.view, outbox.offset));
    if (isMarked && packet.payloadLength === 0 && !lb.deliverEmpty) {
      this.counters[Counter.uoa_standalone]++;
      return Verdict.drop;
    }
    return this.deliver(packet, flow);
  }

  /**
   * Whether a flow was restored, and is heard for the first time since. A mark that named another client may have come while no
   * shim was here. So its client counts, as the load balancer keeps it for as long, but the load balancer is asked once.
   */
  private isTakenOver(flow: FlowId): boolean {
    return this.flows.records.packetCount(flow) === 0;
  }

  /** The flow of a packet without a mark, or with a broken one; NONE too if it may be another client's by now. */
  private findFlow(packet: Packet, lb: KnownLoadBalancer, now: Ticks): FlowId {
    const { counters, flows } = this;
    const isBroken = packet.mark === Mark.broken;
    counters[isBroken ? Counter.uoa_invalid : Counter.uoa_none] += packet.datagrams;
    const ports = flowPorts(packet.sourcePort, packet.destinationPort);
    const flow = flows.findFlow(packet.addresses, SOURCE_AT, DESTINATION_AT, ports, packet.hint);
    if (flow !== NONE && this.validity.holds(flow, lb.timeout, now)) {
      // One without a mark is more than a flood of marks could send.
      flows.establish(flow, now);
      return flow;
    }
    if (!isBroken && this.settings.isServed(packet)) counters[Counter.uoa_miss] += packet.datagrams;
    return NONE;
  }

  // ---- 3. delivery ---------------------------------------------------------------------------------------

  /** As from the flow's client; without a flow from the load balancer, the safest way for whatever has no client. */
  private deliver(packet: Packet, flow: FlowId): Verdict {
    const { records } = this.flows;
    strip(packet);
    if (flow !== NONE && this.nat64.concerns(flow)) this.nat64.toPartner(packet, flow);
    else if (flow !== NONE)
      setSource(packet, records.words, records.addressAt(flow, CLIENT), records.clientPort(flow));
    this.counters[Counter.packets_delivered] += packet.datagrams;
    return Verdict.deliver;
  }

  // ---- 4. from the application ---------------------------------------------------------------------------

  private reply(packet: Packet, now: Ticks, outbox: Outbox): Verdict {
    const { flows, counters, fragments } = this;
    const ports = replyPorts(packet.destinationPort, packet.sourcePort);
    const flow = this.replies.find(packet.addresses, SOURCE_AT, DESTINATION_AT, ports, packet.hint);
    if (flow === NONE) {
      counters[Counter.replies_passed] += packet.datagrams;
      return Verdict.emit;
    }
    flows.recordReply(flow, now, packet.datagrams);
    const first = packet.fragmented ? fragments.note(packet) : undefined;
    if (!this.turn(packet, flow)) {
      counters[Counter.fragments_dropped]++;
      return Verdict.drop;
    }
    if (first !== undefined) fragments.lead(first, packet, now);
    this.asks.renew(packet, flow, now, outbox);
    counters[Counter.replies_translated] += packet.datagrams;
    return Verdict.emit;
  }

  /** Makes a reply one from the address that was asked to LIP:lport; false if it can't be. */
  private turn(packet: Packet, flow: FlowId): boolean {
    const { records } = this.flows;
    if (this.nat64.concerns(flow) && !this.nat64.toFlow(packet, flow)) return false;
    const serverAt = records.addressAt(flow, SERVER);
    // A wildcard socket's answer may come from another address than was asked.
    if (!sameAddress(packet.addresses, SOURCE_AT, records.words, serverAt))
      setSource(packet, records.words, serverAt, packet.sourcePort);
    setDestination(packet, records.words, records.addressAt(flow, LIP), records.lport(flow));
    return true;
  }

  // ---- 5. later fragments --------------------------------------------------------------------------------

  private follow(packet: Packet, now: Ticks): Verdict {
    const { fragments, counters } = this;
    const { isInbound } = packet;
    const isFromLb = isInbound && this.settings.isFromLoadBalancer(packet);
    if (isFromLb && packet.protocol === OPP_PROTOCOL) return this.gather(packet, now);
    if (!fragments.follow(packet, now) && isFromLb) {
      counters[fragments.hold(packet, now) ? Counter.fragments_held : Counter.fragments_dropped]++;
      return Verdict.drop;
    }
    return isInbound ? Verdict.deliver : Verdict.emit;
  }

  /** Keeps a piece of a datagram that comes back when it is whole. */
  private gather(packet: Packet, now: Ticks): Verdict {
    const { counters } = this;
    const dropped = this.fragments.gather(packet, now);
    counters[Counter.fragments_dropped] += dropped;
    if (dropped === 0) counters[Counter.fragments_held]++;
    return Verdict.drop;
  }

  // ---- beside the packets --------------------------------------------------------------------------------

  account(added: number, addedRefused: number, refused: number): void {
    const { counters } = this;
    const asks = this.asks.takeAdded();
    // Which ones were refused is not known. ACKs are taken to be those, as far as there were some.
    const asksSent = Math.min(asks, added);
    counters[Counter.asks_sent] += asksSent;
    counters[Counter.uoa_ack_sent] += added - asksSent;
    counters[Counter.uoa_ack_fail] += addedRefused - (asks - asksSent);
    counters[Counter.dropped_io] += refused + asks - asksSent;
  }

  takeHeld(bytes: Uint8Array, offset: ByteOffset): number {
    return this.fragments.take(bytes, offset);
  }

  tick(now: Ticks): boolean {
    this.counters[Counter.flows_expired] += this.flows.expire(now, EXPIRY_BUDGET);
    this.counters[Counter.flows] = this.flows.count;
    this.counters[Counter.fragments_dropped] += this.fragments.expire(now);
    return this.flows.isExpiryDue(now);
  }
}
