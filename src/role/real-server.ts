/**
 * The real server (PROTOCOL: RS): packets from a load balancer become packets from the client, and replies to
 * the client go back to the load balancer. Stages, in the order of a packet's way:
 *
 *   1. which way: from a load balancer to a service, or from the application
 *   2. from a load balancer: read the mark, learn, ACK
 *   3. deliver it: mark off, the client's address as source
 *   4. from the application: find the flow by its client, turn the reply to LIP:lport
 *   5. later fragments follow the first one, either way
 *   6. ICMP errors about translated packets, either way, are translated in what they quote
 */
import * as icmp from '../codec/icmp.js';
import * as ipv4 from '../codec/ipv4.js';
import { Kind, Mark, type Packet } from '../codec/packet.js';
import {
  setDestination,
  setErrorDestination,
  setFragmentAddresses,
  setQuotedDestination,
  setQuotedSource,
  setSource,
  strip,
} from '../codec/rewrite.js';
import { writeAck } from '../codec/standalone.js';
import * as uoa from '../codec/uoa.js';
import { FragmentTable } from '../flow/fragments.js';
import { HeldFragments } from '../flow/held-fragments.js';
import { type Prefix, PrefixList } from '../flow/prefixes.js';
import { CLIENT, LB, SERVER } from '../flow/records.js';
import { type FlowTable, Learned } from '../flow/table.js';
import { isImpossible4, isImpossible6 } from './clients.js';
import { Counter, type Counters } from './counters.js';
import { type Service, ServiceList } from './services.js';
import { type Role, Verdict } from './verdict.js';

/** Records looked at in one tick: some 100 microseconds. */
const EXPIRY_BUDGET = 1024;

/** Flags of a flow's record: its carrier in the low bits, and whether the client can't be an IPv4 source. */
export const CARRIER_FLAGS = 0x03;
const LOOKUP_ONLY = 0x04;

export interface LoadBalancer {
  prefix: Prefix;
  /** Whether it understands ACKs. */
  ack: boolean;
  /** Whether it puts marks into empty datagrams, so that those aren't standalone packets. */
  deliverEmpty: boolean;
}

export interface RealServerOptions {
  loadBalancers: readonly LoadBalancer[];
  services: readonly Service[];
  /** The host's own and broadcast addresses: no client can have one of them. */
  ownAddresses: readonly Prefix[];
  /** Where sockets without an address of their own answer from, as four words; null: from the first service. */
  wildcardSource: readonly number[] | null;
}

export class RealServer implements Role {
  extraLength = 0;

  private readonly fragments: FragmentTable;
  private readonly held = new HeldFragments();
  private loadBalancers!: readonly LoadBalancer[];
  private prefixes!: PrefixList;
  private services!: ServiceList;
  private ownAddresses!: PrefixList;
  private wildcardSource!: number;

  constructor(
    options: RealServerOptions,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    seed: number,
  ) {
    this.fragments = new FragmentTable(seed);
    this.configure(options);
  }

  /** Takes other options from the next packet on; flows stay. */
  configure(options: RealServerOptions): void {
    this.loadBalancers = options.loadBalancers;
    this.prefixes = new PrefixList(options.loadBalancers.map(({ prefix }) => prefix));
    this.services = new ServiceList(options.services);
    this.ownAddresses = new PrefixList(options.ownAddresses);
    this.wildcardSource = options.wildcardSource?.[3] ?? this.services.address4(0);
  }

  tick(now: number): boolean {
    this.counters[Counter.flows_expired] += this.flows.expire(now, EXPIRY_BUDGET);
    this.counters[Counter.flows] = this.flows.count;
    this.counters[Counter.fragments_dropped] += this.held.expire(now);
    return this.flows.isExpiryDue(now);
  }

  release(bytes: Uint8Array, offset: number): number {
    return this.held.take(bytes, offset);
  }

  settle(extrasSent: number, extrasRefused: number, refused: number): void {
    this.counters[Counter.uoa_ack_sent] += extrasSent;
    this.counters[Counter.uoa_ack_fail] += extrasRefused;
    this.counters[Counter.dropped_io] += refused;
  }

  // ---- 1. which way --------------------------------------------------------------------------------------

  process(packet: Packet, now: number, extraOffset: number): number {
    switch (packet.kind) {
      case Kind.udp:
        return this.isInbound(packet) ? this.receive(packet, now, extraOffset) : this.reply(packet, now);
      case Kind.fragment:
        return this.follow(packet, now);
      case Kind.malformed:
        this.counters[Counter.dropped_malformed]++;
        if (packet.mark === Mark.broken && this.prefixes.has4(packet.source))
          this.counters[Counter.uoa_invalid]++;
        return Verdict.none;
      case Kind.error:
        return this.isInbound(packet) ? this.errorFromNetwork(packet) : this.errorFromHost(packet);
      default:
        return this.pass(packet);
    }
  }

  /** What is neither UDP nor an error about it came along with the errors: ping, for one. It goes on as it came. */
  private pass(packet: Packet): number {
    if (packet.protocol === icmp.PROTOCOL) {
      if (this.isInbound(packet)) return Verdict.deliver;
      if (this.services.hasAddress4(packet.source)) return Verdict.emit;
    }
    this.counters[Counter.packets_ignored]++;
    return Verdict.none;
  }

  /** To a service, and not from one: a prefix of load balancers may well hold the service's own address too. */
  private isInbound(packet: Packet): boolean {
    return this.services.hasAddress4(packet.destination) && !this.services.hasAddress4(packet.source);
  }

  // ---- 2. from a load balancer ---------------------------------------------------------------------------

  private receive(packet: Packet, now: number, extraOffset: number): number {
    const { counters } = this;
    const position = this.prefixes.match4(packet.source);
    if (position < 0) {
      // The rules to the TUN are some moments older or younger than our prefixes: it goes on as it came.
      counters[Counter.packets_delivered]++;
      return Verdict.deliver;
    }
    const lb = this.loadBalancers[position];
    if (packet.carrier === uoa.Carrier.opp && packet.fragmented) {
      counters[Counter.fragments_dropped]++;
      return Verdict.none;
    }
    if (packet.fragmented) return this.receiveFirst(packet, lb, now, extraOffset);
    return this.receiveFrom(packet, lb, now, extraOffset);
  }

  /** The first of several fragments: where it goes, the others go, those too that came before it. */
  private receiveFirst(packet: Packet, lb: LoadBalancer, now: number, extraOffset: number): number {
    const { source, destination } = packet;
    const id = idProtocol(packet);
    const verdict = this.receiveFrom(packet, lb, now, extraOffset);
    this.fragments.remember(source, destination, id, packet.source, packet.destination, now);
    this.held.release(source, destination, id);
    return verdict;
  }

  private receiveFrom(packet: Packet, lb: LoadBalancer, now: number, extraOffset: number): number {
    const { counters, flows } = this;
    if (packet.mark === Mark.found) return this.receiveMarked(packet, lb, now, extraOffset);
    if (packet.mark === Mark.none) counters[Counter.uoa_none]++;
    else counters[Counter.uoa_invalid]++;

    flows.setFlow4(packet.source, packet.sourcePort, packet.destination, packet.destinationPort);
    const flow = flows.findFlow();
    if (flow >= 0) return this.deliverAsClient(packet, flow, now);
    if (packet.mark === Mark.none && this.isServed(packet)) counters[Counter.uoa_miss]++;
    return this.deliver(packet);
  }

  private receiveMarked(packet: Packet, lb: LoadBalancer, now: number, extraOffset: number): number {
    const { counters } = this;
    counters[Counter.uoa_got]++;
    const isServed = this.isServed(packet);
    const learned = isServed && this.learn(packet, now);
    let verdict: number = Verdict.none;
    if (isServed && !learned) counters[Counter.uoa_invalid]++;
    if (learned && lb.ack) {
      this.extraLength = writeAck(packet, packet.view, extraOffset);
      verdict = Verdict.extra;
    }
    const standalone = packet.payloadLength === 0 && !lb.deliverEmpty;
    if (standalone) {
      counters[Counter.uoa_standalone]++;
      if (learned) this.flows.heard(this.flows.learned, now);
      return verdict;
    }
    return verdict | (learned ? this.deliverAsClient(packet, this.flows.learned, now) : this.deliver(packet));
  }

  private isServed(packet: Packet): boolean {
    return this.services.has4(packet.destination, packet.destinationPort);
  }

  /** Learns the marked packet's flow; false if its client is impossible. `flows.learned` is the record. */
  private learn(packet: Packet, now: number): boolean {
    const { flows, counters } = this;
    const { view, option } = packet;
    const v6 = packet.optionLength === uoa.OPTION_V6;
    const port = view.getUint16(option + uoa.OPTION_PORT);
    const address = option + uoa.OPTION_ADDRESS;
    if (port === 0 || (v6 ? isImpossible6(view, address) : this.isImpossible(view.getInt32(address))))
      return false;

    flows.setFlow4(packet.source, packet.sourcePort, packet.destination, packet.destinationPort);
    flows.setClient(view, address, v6, port);
    const evictions = flows.evictions;
    if (flows.learn(packet.carrier | (v6 ? LOOKUP_ONLY : 0), now) !== Learned.refreshed)
      counters[Counter.uoa_saved]++;
    counters[Counter.flows_evicted] += flows.evictions - evictions;
    counters[Counter.flows] = flows.count;
    return true;
  }

  private isImpossible(address: number): boolean {
    return isImpossible4(address) || this.ownAddresses.has4(address);
  }

  // ---- 3. delivery ---------------------------------------------------------------------------------------

  private deliverAsClient(packet: Packet, flow: number, now: number): number {
    const { flows } = this;
    flows.heard(flow, now);
    if ((flows.flags(flow) & LOOKUP_ONLY) !== 0) return this.deliver(packet);
    strip(packet);
    setSource(packet, flows.address4(flow, CLIENT), flows.clientPort(flow));
    this.counters[Counter.packets_delivered]++;
    return Verdict.deliver;
  }

  /** Delivery with the load balancer's own address as source, the safest way for whatever has no client. */
  private deliver(packet: Packet): number {
    strip(packet);
    this.counters[Counter.packets_delivered]++;
    return Verdict.deliver;
  }

  // ---- 4. from the application ---------------------------------------------------------------------------

  private reply(packet: Packet, now: number): number {
    const { flows, counters } = this;
    const flow = this.findReply(packet);
    if (flow < 0) {
      counters[Counter.replies_passed]++;
      return Verdict.emit;
    }
    flows.answered(flow, now);
    const { source, destination } = packet;
    const server = flows.address4(flow, SERVER);
    const lb = flows.address4(flow, LB);
    if (server !== source) setSource(packet, server, packet.sourcePort);
    setDestination(packet, lb, flows.lbPort(flow));
    if (packet.fragmented) this.fragments.remember(source, destination, idProtocol(packet), server, lb, now);
    counters[Counter.replies_translated]++;
    return Verdict.emit;
  }

  /**
   * The flow that a reply belongs to, or -1. A wildcard socket answers from one and the same address, whichever was
   * asked; so if that one was not, any service with the same port may have been.
   */
  private findReply(packet: Packet): number {
    const { flows, services } = this;
    const { source, sourcePort, destination, destinationPort } = packet;
    flows.setReply4(source, sourcePort, destination, destinationPort);
    const flow = flows.findReply();
    if (flow >= 0 || source !== this.wildcardSource) return flow;
    for (let i = 0; i < services.count; i++) {
      if (services.address4(i) === source || !services.hasPort(i, sourcePort)) continue;
      flows.setReply4(services.address4(i), sourcePort, destination, destinationPort);
      const other = flows.findReply();
      if (other >= 0) return other;
    }
    return -1;
  }

  // ---- 5. later fragments --------------------------------------------------------------------------------

  private follow(packet: Packet, now: number): number {
    const { fragments, counters } = this;
    const { source, destination } = packet;
    const inbound = this.isInbound(packet);
    const isFromLb = inbound && this.prefixes.has4(source);
    if (isFromLb && packet.protocol === uoa.OPP_PROTOCOL) {
      counters[Counter.fragments_dropped]++;
      return Verdict.none;
    }
    const id = idProtocol(packet);
    if (fragments.find(source, destination, id, now))
      setFragmentAddresses(packet, fragments.newSource, fragments.newDestination);
    else if (isFromLb) {
      const isHeld = this.held.hold(packet.bytes, packet.start, packet.end, source, destination, id, now);
      counters[isHeld ? Counter.fragments_held : Counter.fragments_dropped]++;
      return Verdict.none;
    }
    return inbound ? Verdict.deliver : Verdict.emit;
  }

  // ---- 6. ICMP errors ------------------------------------------------------------------------------------

  /** About a reply of ours, LIP:lport in what it quotes: the application's socket knows the client's address. */
  private errorFromNetwork(packet: Packet): number {
    const { flows, counters } = this;
    const { view, quoted } = packet;
    const lb = view.getInt32(quoted + ipv4.DESTINATION);
    flows.setFlow4(lb, packet.destinationPort, view.getInt32(quoted + ipv4.SOURCE), packet.sourcePort);
    const flow = flows.findFlow();
    if (flow >= 0 && (flows.flags(flow) & LOOKUP_ONLY) === 0) {
      setQuotedDestination(packet, flows.address4(flow, CLIENT), flows.clientPort(flow));
      counters[Counter.icmp_translated]++;
    }
    return Verdict.deliver;
  }

  /** About a datagram that this host could not deliver, for its client: the load balancer knows LIP:lport. */
  private errorFromHost(packet: Packet): number {
    const { flows, counters } = this;
    const { view, quoted } = packet;
    const server = view.getInt32(quoted + ipv4.DESTINATION);
    flows.setReply4(server, packet.destinationPort, view.getInt32(quoted + ipv4.SOURCE), packet.sourcePort);
    const flow = flows.findReply();
    if (flow >= 0) {
      const lb = flows.address4(flow, LB);
      setQuotedSource(packet, lb, flows.lbPort(flow));
      setErrorDestination(packet, lb);
      counters[Counter.icmp_translated]++;
    }
    return Verdict.emit;
  }
}

/** What tells the fragments of one datagram from another's, beside its addresses (RFC 791). */
function idProtocol(packet: Packet): number {
  return (packet.view.getUint16(packet.start + ipv4.IDENTIFICATION) << 8) | packet.protocol;
}
