/**
 * The load balancer beside the kernel's NAT (PROTOCOL: LB): each new flow's first packets get a mark, and the ACK
 * ends that. Packets come here after NAT, so they go LIP:lport -> RIP:rport. Stages, in the order of their way:
 *
 *   1. which way: to a real server, or an ACK from one
 *   2. to a real server: whose flow it is (asked of conntrack once), and whether it still wants a mark
 *   3. the mark: into the packet, or ahead of it where it finds no room
 *   4. an ACK: matched with what was sent, and never let through
 *   5. an ICMP error about a packet that the mark made too big
 */

import { ADDRESS_WORDS, copyAddress } from '../../codec/addresses.js';
import { type Carrier, type CarrierName, carrierOfFamily } from '../../codec/carriers.js';
import type { ReplyTuple } from '../../codec/ctnetlink.js';
import * as icmp from '../../codec/icmp.js';
import * as ipv4 from '../../codec/ipv4.js';
import * as ipv6 from '../../codec/ipv6.js';
import { eraseMarks, fitsMark, insertMark, strip, stripQuoted } from '../../codec/marks.js';
import { DESTINATION_AT, Kind, Mark, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { restoreHop } from '../../codec/rewrite.js';
import { writeStandalone } from '../../codec/standalone.js';
import { type FlowId, NONE, type Port } from '../../codec/units.js';
import * as uoa from '../../codec/uoa.js';
import { PathMtus } from '../../flow/path-mtus.js';
import { type Prefix, PrefixList } from '../../flow/prefixes.js';
import { CLIENT, flowPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { ACKED, MARKS_SENT } from '../flow-flags.js';
import { MarkedClient } from '../marked-client.js';
import { EXPIRY_BUDGET, type Outbox, type Role, Verdict } from '../role.js';

/**
 * Milliseconds for which a flow that wants marks may be taken for the same connection: far below the shortest
 * time-out after which conntrack could have given its ports to another client.
 */
const SURELY_THE_SAME = 1000;

/** A connection of the kernel's, by its client. */
export interface Connection {
  /** Four words. */
  readonly client: Int32Array;
  readonly clientPort: Port;
  /** Tells it from an earlier connection with the same tuple. */
  readonly id: number;
}

/** The kernel's connections, as far as this role needs them. Each is known by its reply tuple, RIP:rport -> LIP:lport. */
export interface Connections {
  /** Puts a query for a connection on the list. Its number, or NONE if the list is full. */
  addQuery(tuple: ReplyTuple): number;
  /** Sends the queries on the list and begins another one. `answer` has their answers until the next time. */
  sendQueries(): void;
  /** The connection that a query has found, or undefined. It is one object, the next call's too. */
  answer(query: number): Connection | undefined;
  /** Looks for one connection at once; likewise. Answers to queries stay. */
  find(tuple: ReplyTuple): Connection | undefined;
  /** Puts a connection on the list of those whose packets need not come here any more. */
  addRelease(tuple: ReplyTuple): void;
  /** Lets the packets of all connections on the list go by without us. */
  sendReleases(): void;
}

/** The MTU of the path to the address at `at` in `words`, in bytes; 0 if there is none. */
export type PathMtuOf = (words: Int32Array, at: number) => number;

export interface LoadBalancerOptions {
  /** How marks travel: `ipo` and `dstopt` mean the same, whichever the packet's family has. */
  carrier: CarrierName;
  /** Marks per flow at most: 0 to 100. */
  maxTrails: number;
  /** The host's own addresses, the LIPs among them. */
  ownAddresses: readonly Prefix[];
}

export class LoadBalancerRole implements Role {
  private carrier!: LoadBalancerOptions['carrier'];
  private maxTrails!: number;
  private ownAddresses!: PrefixList;
  private readonly tuple: ReplyTuple = {
    addresses: new Int32Array(2 * ADDRESS_WORDS),
    sourcePort: 0,
    destinationPort: 0,
  };
  private readonly client = new MarkedClient();
  private readonly learnedMtus: PathMtus;

  constructor(
    options: LoadBalancerOptions,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly connections: Connections,
    private readonly pathMtu: PathMtuOf,
    seed: number,
  ) {
    this.learnedMtus = new PathMtus(seed);
    this.configure(options);
  }

  /** Takes other options from the next packet on; flows stay. */
  configure(options: LoadBalancerOptions): void {
    this.carrier = options.carrier;
    this.maxTrails = options.maxTrails;
    this.ownAddresses = new PrefixList(options.ownAddresses);
  }

  tick(now: number): boolean {
    this.counters[LbCounter.flows_expired] += this.flows.expire(now, EXPIRY_BUDGET);
    this.counters[LbCounter.flows] = this.flows.count;
    return this.flows.isExpiryDue(now);
  }

  /** Looks each flow up, and asks conntrack at once for all of them that it is not sure of. */
  prefetch(packets: readonly Packet[], count: number, now: number): void {
    const { connections } = this;
    for (let i = 0; i < count; i++) {
      const packet = packets[i];
      // By the destination: a source is easily forged.
      packet.isInbound = this.ownAddresses.has(packet.addresses, DESTINATION_AT);
      if (packet.kind !== Kind.udp || packet.isInbound) continue;
      packet.hint = this.findFlow(packet);
      if (this.isSure(packet.hint, now)) continue;
      this.setTuple(packet.addresses, DESTINATION_AT, packet.destinationPort, SOURCE_AT, packet.sourcePort);
      packet.query = connections.addQuery(this.tuple);
    }
    connections.sendQueries();
  }

  /** Packets that bypass us would overtake what we held: nothing ever is. */
  takeHeld(): number {
    return 0;
  }

  account(_marksSent: number, marksRefused: number, refused: number): void {
    this.counters[LbCounter.dropped_io] += marksRefused + refused;
    this.connections.sendReleases();
  }

  // ---- 1. which way --------------------------------------------------------------------------------------

  process(packet: Packet, now: number, outbox: Outbox): Verdict {
    const verdict = this.handle(packet, now, outbox);
    if (verdict !== Verdict.drop) restoreHop(packet);
    return verdict;
  }

  private handle(packet: Packet, now: number, outbox: Outbox): Verdict {
    const { counters } = this;
    counters[LbCounter.packets_seen]++;
    if (packet.kind === Kind.malformed) {
      counters[LbCounter.dropped_malformed]++;
      return Verdict.drop;
    }
    if (packet.kind === Kind.error) return this.errorFromNetwork(packet, now);
    if (packet.kind === Kind.other) {
      counters[LbCounter.packets_ignored]++;
      return Verdict.drop;
    }
    if (packet.isInbound) return this.fromRealServer(packet, now);
    if (packet.kind === Kind.udp) return this.toRealServer(packet, now, outbox);
    counters[LbCounter.packets_unmarked]++;
    return Verdict.emit;
  }

  // ---- 2. to a real server -------------------------------------------------------------------------------

  private toRealServer(packet: Packet, now: number, outbox: Outbox): Verdict {
    const { counters, client } = this;
    const { records } = this.flows;
    const flow = this.flowOf(packet, now);
    // What the client wrote there itself would pass for ours.
    counters[LbCounter.marks_forged] += eraseMarks(packet);
    if (flow === NONE || !this.wantsMark(flow)) {
      counters[LbCounter.packets_unmarked]++;
      return Verdict.emit;
    }
    records.setFlags(flow, records.flags(flow) + 1);
    copyAddress(records.words, records.addressAt(flow, CLIENT), client.words, 0);
    client.v6 = packet.v6;
    client.port = records.clientPort(flow);
    return this.mark(packet, outbox, now);
  }

  private wantsMark(flow: FlowId): boolean {
    const flags = this.flows.records.flags(flow);
    return (flags & ACKED) === 0 && (flags & MARKS_SENT) < this.maxTrails;
  }

  /** The packet's flow, or -1 if conntrack has none for it: nobody's NAT, nobody's client. */
  private flowOf(packet: Packet, now: number): FlowId {
    const known = this.findFlow(packet, packet.hint);
    const flow = this.isSure(known, now) ? known : this.identify(packet, known, now);
    if (flow !== NONE) this.flows.recordInbound(flow, now);
    return flow;
  }

  private findFlow({ addresses, sourcePort, destinationPort }: Packet, hint: FlowId = NONE): FlowId {
    const ports = flowPorts(sourcePort, destinationPort);
    return this.flows.findFlow(addresses, SOURCE_AT, DESTINATION_AT, ports, hint);
  }

  private isSure(flow: FlowId, now: number): boolean {
    return flow !== NONE && this.wantsMark(flow) && this.flows.records.idleMs(flow, now) < SURELY_THE_SAME;
  }

  /** The packet's flow by its connection, whatever flow is known with its addresses and ports. */
  private identify(packet: Packet, known: FlowId, now: number): FlowId {
    const { flows, counters, client } = this;
    const connection = this.connectionOf(packet);
    if (connection === undefined) return NONE;
    // The same connection: at most a packet that was under way when its flow was acknowledged.
    if (known !== NONE && flows.records.tag(known) === connection.id) return known;

    client.port = connection.clientPort;
    copyAddress(connection.client, 0, client.words, 0);
    const ports = flowPorts(packet.sourcePort, packet.destinationPort);
    const learned = flows.learn(packet.addresses, SOURCE_AT, DESTINATION_AT, ports, client, 0, now);
    flows.records.setTag(learned.flow, connection.id);
    if (learned.evicted) counters[LbCounter.flows_evicted]++;
    counters[LbCounter.flows] = flows.count;
    return learned.flow;
  }

  private connectionOf(packet: Packet): Connection | undefined {
    if (packet.query !== NONE) return this.connections.answer(packet.query);
    // The list was full, or the flow had the last of its marks earlier in the batch.
    this.setTuple(packet.addresses, DESTINATION_AT, packet.destinationPort, SOURCE_AT, packet.sourcePort);
    return this.connections.find(this.tuple);
  }

  /** From the real server to LIP:lport. */
  private setTuple(words: Int32Array, server: number, serverPort: number, lb: number, lbPort: number): void {
    const { tuple } = this;
    copyAddress(words, server, tuple.addresses, SOURCE_AT);
    copyAddress(words, lb, tuple.addresses, DESTINATION_AT);
    tuple.sourcePort = serverPort;
    tuple.destinationPort = lbPort;
  }

  // ---- 3. the mark ---------------------------------------------------------------------------------------

  private mark(packet: Packet, outbox: Outbox, now: number): Verdict {
    const { counters, client } = this;
    const carrier = carrierOfFamily(this.carrier, packet.v6);
    if (packet.payloadLength > 0 && !packet.fragmented && this.fits(packet, carrier, now)) {
      insertMark(packet, carrier, client);
      counters[LbCounter.marks_inserted]++;
      return Verdict.emit;
    }
    outbox.add(writeStandalone(packet, carrier, client, packet.view, outbox.offset));
    counters[LbCounter.marks_standalone]++;
    return Verdict.emit;
  }

  private fits(packet: Packet, carrier: Carrier, now: number): boolean {
    const { client } = this;
    // Small enough for every path: no need to ask for its MTU.
    if (fitsMark(packet, carrier, client, packet.v6 ? ipv6.MIN_PATH_MTU : ipv4.MIN_PATH_MTU)) return true;
    const { addresses } = packet;
    const learned = this.learnedMtus.get(addresses, DESTINATION_AT, now);
    if (learned > 0 && !fitsMark(packet, carrier, client, learned)) return false;
    return fitsMark(packet, carrier, client, this.pathMtu(addresses, DESTINATION_AT));
  }

  // ---- 4. an ACK -----------------------------------------------------------------------------------------

  private fromRealServer(packet: Packet, now: number): Verdict {
    const { counters } = this;
    if (packet.kind === Kind.udp && packet.payloadLength > 0) {
      // No ACK has a payload: somebody's answer, with an option that no client should see.
      strip(packet);
      counters[LbCounter.packets_unmarked]++;
      return Verdict.deliver;
    }
    const flow = packet.kind === Kind.udp ? this.acknowledged(packet) : NONE;
    if (flow === NONE) {
      counters[LbCounter.acks_unmatched]++;
      return Verdict.drop;
    }
    counters[LbCounter.acks_received]++;
    this.letGo(packet, flow, now);
    return Verdict.drop;
  }

  /** The flow whose mark this packet echoes, as it was sent; or NONE. */
  private acknowledged(packet: Packet): FlowId {
    const { flows, client } = this;
    const { records } = flows;
    const { addresses, v6 } = packet;
    const isOurs = packet.mark === Mark.found && packet.carrier === carrierOfFamily(this.carrier, packet.v6);
    if (!isOurs || packet.optionLength !== (v6 ? uoa.OPTION_V6 : uoa.OPTION_V4)) return NONE;
    const ports = flowPorts(packet.destinationPort, packet.sourcePort);
    const flow = flows.findFlow(addresses, DESTINATION_AT, SOURCE_AT, ports);
    if (flow === NONE || (records.flags(flow) & MARKS_SENT) === 0) return NONE;
    client.read(packet);
    return records.hasClient(flow, client) ? flow : NONE;
  }

  private letGo(packet: Packet, flow: FlowId, now: number): void {
    const { flows } = this;
    const { records } = flows;
    flows.recordReply(flow, now);
    if ((records.flags(flow) & ACKED) !== 0) return;
    records.setFlags(flow, records.flags(flow) | ACKED);
    this.counters[LbCounter.flows_acked]++;
    this.setTuple(packet.addresses, SOURCE_AT, packet.sourcePort, DESTINATION_AT, packet.destinationPort);
    this.connections.addRelease(this.tuple);
  }

  // ---- 5. an ICMP error ----------------------------------------------------------------------------------

  /**
   * A marked packet was too big for some path: from now on its destination's marks go ahead of such packets. The client
   * hears of it only if its packet would have been too big without the mark.
   */
  private errorFromNetwork(packet: Packet, now: number): Verdict {
    const { quoted, view, v6 } = packet;
    const isOfOurs = this.ownAddresses.has(quoted.addresses, SOURCE_AT);
    const mtu = icmp.nextHopMtu(view, packet.transport, v6);
    const marked = quoted.declaredLength;
    const removed = stripQuoted(packet);
    if (!isOfOurs || removed === 0 || mtu === 0) return Verdict.deliver;
    this.learnedMtus.learn(quoted.addresses, DESTINATION_AT, mtu, now);
    if (marked - removed > mtu) return Verdict.deliver;
    this.counters[LbCounter.packets_ignored]++;
    return Verdict.drop;
  }
}
