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

import { ADDRESS_WORDS, copyAddress, isMapped, sameAddress } from '../../codec/addresses.js';
import { Carrier } from '../../codec/carriers.js';
import * as icmp from '../../codec/icmp.js';
import { strip } from '../../codec/marks.js';
import { DESTINATION_AT, Kind, Mark, type Packet, SOURCE_AT } from '../../codec/packet.js';
import {
  restoreHop,
  setDestination,
  setErrorDestination,
  setQuotedDestination,
  setQuotedSource,
  setSource,
} from '../../codec/rewrite.js';
import { writeAck } from '../../codec/standalone.js';
import { GROWTH, SHRINKAGE, toIpv4, toIpv6 } from '../../codec/translate.js';
import { type FlowId, NONE } from '../../codec/units.js';
import * as uoa from '../../codec/uoa.js';
import { type Prefix, PrefixList } from '../../flow/prefixes.js';
import { CLIENT, flowPorts, LIP, replyPorts, SERVER } from '../../flow/records.js';
import { type FlowTable, Outcome } from '../../flow/table.js';
import { ClientMtus, type TellPathMtu } from './client-mtus.js';
import { isImpossible } from './clients.js';
import { Counter, type Counters } from '../counters.js';
import { OTHER_FAMILY } from '../flow-flags.js';
import { Fragments } from './fragments.js';
import { MarkedClient } from '../marked-client.js';
import { Prefetch } from './prefetch.js';
import { EXPIRY_BUDGET, type Outbox, type Role, Verdict } from '../role.js';
import { type Service, ServiceList } from './services.js';

/** Load balancers whose marks count. */
export interface TrustedLoadBalancer {
  prefix: Prefix;
  /** Whether it understands ACKs. */
  ack: boolean;
  /** Whether it puts marks into empty datagrams, so that those aren't standalone packets. */
  deliverEmpty: boolean;
}

export interface RealServerOptions {
  loadBalancers: readonly TrustedLoadBalancer[];
  services: readonly Service[];
  /** The host's own and broadcast addresses: no client can have one of them. */
  ownAddresses: readonly Prefix[];
  /** Where sockets without an address of their own answer from, four words each. */
  wildcardSources: readonly (readonly number[])[];
  /** Whether clients of the other family reach the service of their own family (`nat64: deliver`). */
  translates: boolean;
}

export class RealServerRole implements Role {
  private readonly fragments: Fragments;
  private readonly clientMtus: ClientMtus;
  private readonly batch: Prefetch;
  private readonly client = new MarkedClient();
  /** New source and destination of a packet that goes over to the other family. */
  private readonly ends = new Int32Array(2 * ADDRESS_WORDS);
  private loadBalancers!: readonly TrustedLoadBalancer[];
  private prefixes!: PrefixList;
  private services!: ServiceList;
  private ownAddresses!: PrefixList;
  private wildcardSources!: PrefixList;
  private translates!: boolean;

  constructor(
    options: RealServerOptions,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    tellPathMtu: TellPathMtu,
    seed: number,
  ) {
    this.fragments = new Fragments(seed);
    this.clientMtus = new ClientMtus(seed, tellPathMtu);
    this.batch = new Prefetch(flows);
    this.configure(options);
  }

  /** Takes other options from the next packet on; flows stay. */
  configure(options: RealServerOptions): void {
    this.loadBalancers = options.loadBalancers;
    this.prefixes = new PrefixList(options.loadBalancers.map(({ prefix }) => prefix));
    this.services = new ServiceList(options.services);
    this.ownAddresses = new PrefixList(options.ownAddresses);
    this.wildcardSources = new PrefixList(options.wildcardSources.map(words => ({ words, length: 128 })));
    this.translates = options.translates;
  }

  tick(now: number): boolean {
    this.counters[Counter.flows_expired] += this.flows.expire(now, EXPIRY_BUDGET);
    this.counters[Counter.flows] = this.flows.count;
    this.counters[Counter.fragments_dropped] += this.fragments.expire(now);
    return this.flows.isExpiryDue(now);
  }

  takeHeld(bytes: Uint8Array, offset: number): number {
    return this.fragments.take(bytes, offset);
  }

  account(acksSent: number, acksRefused: number, refused: number): void {
    this.counters[Counter.uoa_ack_sent] += acksSent;
    this.counters[Counter.uoa_ack_fail] += acksRefused;
    this.counters[Counter.dropped_io] += refused;
  }

  prefetch(packets: readonly Packet[], count: number): void {
    this.batch.run(packets, count, this.services);
  }

  // ---- 1. which way --------------------------------------------------------------------------------------

  process(packet: Packet, now: number, outbox: Outbox): Verdict {
    const verdict = this.handle(packet, now, outbox);
    // What is delivered was forwarded to the TUN, what is emitted came from this host.
    if (verdict === Verdict.deliver) restoreHop(packet);
    return verdict;
  }

  private handle(packet: Packet, now: number, outbox: Outbox): Verdict {
    switch (packet.kind) {
      case Kind.udp:
        return packet.isInbound ? this.receive(packet, now, outbox) : this.reply(packet, now);
      case Kind.fragment:
        return this.follow(packet, now);
      case Kind.malformed:
        this.counters[Counter.dropped_malformed]++;
        if (packet.mark === Mark.broken && this.isFromLb(packet)) this.counters[Counter.uoa_invalid]++;
        return Verdict.drop;
      case Kind.error:
        return packet.isInbound ? this.errorFromNetwork(packet, now) : this.errorFromHost(packet);
      default:
        return this.pass(packet, now);
    }
  }

  /** Not UDP, and no error about it, but it was led here along with those: it goes on as it came. */
  private pass(packet: Packet, now: number): Verdict {
    // Its later fragments may look like UDP's.
    if (packet.fragmented) this.letFollow(packet, now);
    if (packet.isInbound) return Verdict.deliver;
    if (this.services.hasAddress(packet.addresses, SOURCE_AT)) return Verdict.emit;
    this.counters[Counter.packets_ignored]++;
    return Verdict.drop;
  }

  private isFromLb(packet: Packet): boolean {
    return this.prefixes.has(packet.addresses, SOURCE_AT);
  }

  // ---- 2. from a load balancer ---------------------------------------------------------------------------

  private receive(packet: Packet, now: number, outbox: Outbox): Verdict {
    const { counters } = this;
    const position = this.prefixes.match(packet.addresses, SOURCE_AT);
    if (position < 0) {
      // The rules to the TUN are some moments older or younger than our prefixes: it goes on as it came.
      counters[Counter.packets_delivered] += packet.datagrams;
      return Verdict.deliver;
    }
    const lb = this.loadBalancers[position];
    if (!packet.fragmented) return this.receiveFrom(packet, lb, now, outbox);
    if (packet.carrier === Carrier.opp) return this.gather(packet, now);
    return this.receiveFirst(packet, lb, now, outbox);
  }

  private letFollow(packet: Packet, now: number): void {
    this.fragments.begin(packet);
    this.fragments.lead(packet, 0, now);
  }

  private receiveFirst(packet: Packet, lb: TrustedLoadBalancer, now: number, outbox: Outbox): Verdict {
    const { fragments } = this;
    const length = packet.fragmentLength;
    fragments.begin(packet);
    const verdict = this.receiveFrom(packet, lb, now, outbox);
    // An IPv6 mark stands behind the fragment header, in what fragments are counted in.
    fragments.lead(packet, length - packet.fragmentLength, now);
    return verdict;
  }

  private receiveFrom(packet: Packet, lb: TrustedLoadBalancer, now: number, outbox: Outbox): Verdict {
    const { counters, flows } = this;
    if (packet.mark === Mark.found) return this.receiveMarked(packet, lb, now, outbox);
    counters[packet.mark === Mark.none ? Counter.uoa_none : Counter.uoa_invalid] += packet.datagrams;

    const ports = flowPorts(packet.sourcePort, packet.destinationPort);
    const flow = flows.findFlow(packet.addresses, SOURCE_AT, DESTINATION_AT, ports, packet.hint);
    if (flow !== NONE) {
      flows.recordInbound(flow, now, packet.datagrams);
      return this.deliverAsClient(packet, flow);
    }
    if (packet.mark === Mark.none && this.isServed(packet)) counters[Counter.uoa_miss] += packet.datagrams;
    return this.deliver(packet);
  }

  private receiveMarked(packet: Packet, lb: TrustedLoadBalancer, now: number, outbox: Outbox): Verdict {
    const { counters } = this;
    counters[Counter.uoa_got] += packet.datagrams;
    const isServed = this.isServed(packet);
    const flow = isServed ? this.learn(packet, now) : NONE;
    if (isServed && flow === NONE) counters[Counter.uoa_invalid] += packet.datagrams;
    if (flow !== NONE) {
      this.flows.recordInbound(flow, now, packet.datagrams);
      if (lb.ack) outbox.add(writeAck(packet, packet.view, outbox.offset));
    }
    const standalone = packet.payloadLength === 0 && !lb.deliverEmpty;
    if (standalone) {
      counters[Counter.uoa_standalone]++;
      return Verdict.drop;
    }
    return flow === NONE ? this.deliver(packet) : this.deliverAsClient(packet, flow);
  }

  private isServed(packet: Packet): boolean {
    return this.services.has(packet.addresses, DESTINATION_AT, packet.destinationPort);
  }

  /** Learns the marked packet's flow; NONE if its client is impossible. */
  private learn(packet: Packet, now: number): FlowId {
    const { flows, counters, client } = this;
    client.read(packet);
    const { words, port, v6 } = client;
    if (port === 0 || isImpossible(words, 0, v6) || this.ownAddresses.has(words, 0)) return NONE;

    const ports = flowPorts(packet.sourcePort, packet.destinationPort);
    const flags = packet.carrier | (v6 === packet.v6 ? 0 : OTHER_FAMILY);
    const learned = flows.learn(packet.addresses, SOURCE_AT, DESTINATION_AT, ports, client, flags, now);
    if (learned.outcome !== Outcome.refreshed) counters[Counter.uoa_saved]++;
    if (learned.evicted) counters[Counter.flows_evicted]++;
    counters[Counter.flows] = flows.count;
    return learned.flow;
  }

  // ---- 3. delivery ---------------------------------------------------------------------------------------

  private deliverAsClient(packet: Packet, flow: FlowId): Verdict {
    const { records } = this.flows;
    if (this.isOtherFamily(flow)) return this.deliverTranslated(packet, flow);
    strip(packet);
    setSource(packet, records.words, records.addressAt(flow, CLIENT), records.clientPort(flow));
    this.counters[Counter.packets_delivered] += packet.datagrams;
    return Verdict.deliver;
  }

  /** To the service with the same port in the client's own family. */
  private deliverTranslated(packet: Packet, flow: FlowId): Verdict {
    const { services, ends } = this;
    const { records } = this.flows;
    const partner = this.partnerOf(packet.addresses, DESTINATION_AT, packet.destinationPort);
    if (partner < 0) return this.deliver(packet);
    strip(packet);
    copyAddress(records.words, records.addressAt(flow, CLIENT), ends, SOURCE_AT);
    copyAddress(services.addresses, services.addressAt(partner), ends, DESTINATION_AT);
    if (!translate(packet, ends)) return this.deliver(packet);
    setSource(packet, ends, SOURCE_AT, records.clientPort(flow));
    this.counters[Counter.packets_delivered] += packet.datagrams;
    return Verdict.deliver;
  }

  /** The service that clients of the other family than this one's are delivered to, or -1. */
  private partnerOf(words: Int32Array, server: number, serverPort: number): number {
    return this.translates ? this.services.partner(words, server, serverPort) : -1;
  }

  /** Delivery with the load balancer's own address as source, the safest way for whatever has no client. */
  private deliver(packet: Packet): Verdict {
    strip(packet);
    this.counters[Counter.packets_delivered] += packet.datagrams;
    return Verdict.deliver;
  }

  // ---- 4. from the application ---------------------------------------------------------------------------

  private reply(packet: Packet, now: number): Verdict {
    const { flows, counters, ends } = this;
    const { records } = flows;
    const { addresses, sourcePort, destinationPort } = packet;
    const hint = packet.hint;
    const flow = this.findReply(addresses, SOURCE_AT, sourcePort, DESTINATION_AT, destinationPort, hint);
    if (flow === NONE) {
      counters[Counter.replies_passed] += packet.datagrams;
      return Verdict.emit;
    }
    flows.recordReply(flow, now, packet.datagrams);
    if (packet.fragmented) this.fragments.begin(packet);
    copyAddress(records.words, records.addressAt(flow, SERVER), ends, SOURCE_AT);
    copyAddress(records.words, records.addressAt(flow, LIP), ends, DESTINATION_AT);
    if (this.isOtherFamily(flow) && !translate(packet, ends)) {
      counters[Counter.fragments_dropped]++;
      return Verdict.drop;
    }
    // A wildcard socket's answer may come from another address than was asked.
    if (!sameAddress(addresses, SOURCE_AT, ends, SOURCE_AT))
      setSource(packet, ends, SOURCE_AT, packet.sourcePort);
    setDestination(packet, ends, DESTINATION_AT, records.lipPort(flow));
    if (packet.fragmented) this.fragments.lead(packet, 0, now);
    counters[Counter.replies_translated] += packet.datagrams;
    return Verdict.emit;
  }

  private isOtherFamily(flow: FlowId): boolean {
    return (this.flows.records.flags(flow) & OTHER_FAMILY) !== 0;
  }

  /**
   * The flow that a reply belongs to, or -1. A wildcard socket answers from one and the same address, whichever was
   * asked; so if that one was not, any service with the same port may have been. And a client of the other family
   * asked a service of that other family.
   */
  private findReply(
    words: Int32Array,
    server: number,
    serverPort: number,
    client: number,
    clientPort: number,
    hint = NONE,
  ): FlowId {
    const { flows, services, translates, ends } = this;
    const ports = replyPorts(clientPort, serverPort);
    const flow = flows.findReply(words, server, client, ports, hint);
    if (flow !== NONE) return flow;
    const isWildcard = this.wildcardSources.has(words, server);
    if (!isWildcard && !translates) return NONE;
    copyAddress(words, client, ends, DESTINATION_AT);
    const isIpv4 = isMapped(words, server);
    for (let i = 0; i < services.count; i++) {
      const at = services.addressAt(i);
      const isCandidate = isMapped(services.addresses, at) === isIpv4 ? isWildcard : translates;
      if (!isCandidate || !services.hasPort(i, serverPort)) continue;
      copyAddress(services.addresses, at, ends, SOURCE_AT);
      const other = flows.findReply(ends, SOURCE_AT, DESTINATION_AT, ports);
      if (other !== NONE) return other;
    }
    return NONE;
  }

  // ---- 5. later fragments --------------------------------------------------------------------------------

  private follow(packet: Packet, now: number): Verdict {
    const { fragments, counters } = this;
    const { isInbound } = packet;
    const isFromLb = isInbound && this.isFromLb(packet);
    if (isFromLb && packet.protocol === uoa.OPP_PROTOCOL) return this.gather(packet, now);
    if (!fragments.follow(packet, now) && isFromLb) {
      counters[fragments.hold(packet, now) ? Counter.fragments_held : Counter.fragments_dropped]++;
      return Verdict.drop;
    }
    return isInbound ? Verdict.deliver : Verdict.emit;
  }

  /** A piece of a datagram that comes back when it is whole. */
  private gather(packet: Packet, now: number): Verdict {
    const { counters } = this;
    const dropped = this.fragments.gather(packet, now);
    counters[Counter.fragments_dropped] += dropped;
    if (dropped === 0) counters[Counter.fragments_held]++;
    return Verdict.drop;
  }

  // ---- 6. ICMP errors ------------------------------------------------------------------------------------

  /** About a reply of ours, LIP:lport in what it quotes: the application's socket knows the client's address. */
  private errorFromNetwork(packet: Packet, now: number): Verdict {
    const { flows, counters } = this;
    const { records } = flows;
    const { addresses, sourcePort, destinationPort } = packet.quoted;
    const ports = flowPorts(destinationPort, sourcePort);
    const flow = flows.findFlow(addresses, DESTINATION_AT, SOURCE_AT, ports);
    if (flow === NONE) return Verdict.deliver;
    // A socket that sees the load balancer as its client.
    if (this.isOtherFamily(flow) && this.partnerOf(addresses, SOURCE_AT, sourcePort) < 0)
      return Verdict.deliver;
    const mtu = icmp.nextHopMtu(packet.view, packet.transport, packet.v6);
    const isNews = mtu === 0 || this.learnMtu(flow, mtu + this.growthOnTheWay(flow, packet), now);
    // The socket that it is about speaks another family, or has heard it already: there may be a burst of them.
    if (this.isOtherFamily(flow) || !isNews) return Verdict.drop;
    setQuotedDestination(packet, records.words, records.addressAt(flow, CLIENT), records.clientPort(flow));
    counters[Counter.icmp_translated]++;
    return Verdict.deliver;
  }

  private learnMtu(flow: FlowId, mtu: number, now: number): boolean {
    const { records } = this.flows;
    return this.clientMtus.learn(records.words, records.addressAt(flow, CLIENT), mtu, now);
  }

  /** By how many bytes less a reply has when it leaves than when its socket sent it; below 0: more. */
  private growthOnTheWay(flow: FlowId, { v6 }: Packet): number {
    if (!this.isOtherFamily(flow)) return 0;
    return v6 ? -GROWTH : SHRINKAGE;
  }

  /** About a datagram that this host could not deliver, for its client: the load balancer knows LIP:lport. */
  private errorFromHost(packet: Packet): Verdict {
    const { counters } = this;
    const { records } = this.flows;
    const { addresses, sourcePort, destinationPort } = packet.quoted;
    const flow = this.findReply(addresses, DESTINATION_AT, destinationPort, SOURCE_AT, sourcePort);
    if (flow === NONE) return Verdict.emit;
    if (this.isOtherFamily(flow)) {
      counters[Counter.packets_ignored]++;
      return Verdict.drop;
    }
    const lip = records.addressAt(flow, LIP);
    setQuotedSource(packet, records.words, lip, records.lipPort(flow));
    setErrorDestination(packet, records.words, lip);
    counters[Counter.icmp_translated]++;
    return Verdict.emit;
  }
}

/** Makes a packet one of the other family, from and to `ends`; false if it can't be. */
function translate(packet: Packet, ends: Int32Array): boolean {
  if (!packet.v6) return toIpv6(packet, ends, 0);
  toIpv4(packet, ends, 0);
  return true;
}
