/**
 * The load balancer beside the kernel's NAT (PROTOCOL: LB): each new flow's first packets get a mark, and the ACK
 * ends that. Packets come here after NAT, so they go LIP:lport -> RIP:rport. Stages, in the order of their way:
 *
 *   1. which way: to a real server, or an ACK from one
 *   2. to a real server: whose flow it is (asked of conntrack once), and whether it still wants a mark
 *   3. the mark: into the packet, or ahead of it where it finds no room
 *   4. an ACK: matched with what was sent, and never let through
 */

import type { ReplyTuple } from '../codec/ctnetlink.js';
import { Kind, Mark, type Packet } from '../codec/packet.js';
import {
  eraseOptions,
  fitsOpp,
  fitsOption,
  insertOpp,
  insertOption,
  restoreHop,
  strip,
} from '../codec/rewrite.js';
import { writeStandalone } from '../codec/standalone.js';
import * as uoa from '../codec/uoa.js';
import { type Prefix, PrefixList } from '../flow/prefixes.js';
import { CLIENT } from '../flow/records.js';
import type { FlowTable } from '../flow/table.js';
import { type Counters, LbCounter } from './counters.js';
import { type Role, Verdict } from './verdict.js';

const EXPIRY_BUDGET = 1024;

/** Flags of a flow's record: marks sent so far, and whether one was acknowledged. */
const TRAILS = 0x7f;
export const ACKED = 0x80;

/** Every path takes packets of this size (net.ipv4.route.min_pmtu): no need to ask for its MTU. */
const SMALLEST_PATH = 552;

/**
 * Milliseconds for which a flow that wants marks may be taken for the same connection: far below the shortest
 * time-out after which conntrack could have given its ports to another client.
 */
const SURELY_THE_SAME = 1000;

/** The kernel's connections, as far as this role needs them. Addresses are 32-bit words. */
export interface Connections {
  /** What the last `find` found. `id` tells a connection from an earlier one with the same tuple. */
  readonly found: { client: number; clientPort: number; id: number };
  find(tuple: ReplyTuple): boolean;
  /** Lets the rest of a connection's packets go by without us; false if it is gone. */
  release(tuple: ReplyTuple): boolean;
}

/** The MTU of the path to an IPv4 address, in bytes; 0 if there is none. */
export type PathMtuOf = (destination: number) => number;

export interface LoadBalancerOptions {
  carrier: typeof uoa.Carrier.ipo | typeof uoa.Carrier.opp;
  /** Marks per flow at most: 0 to 100. */
  maxTrails: number;
  /** The host's own addresses, the LIPs among them. */
  ownAddresses: readonly Prefix[];
}

export class LoadBalancer implements Role {
  extraLength = 0;

  private carrier!: LoadBalancerOptions['carrier'];
  private maxTrails!: number;
  private ownAddresses!: PrefixList;
  private readonly tuple: ReplyTuple = { source: 0, sourcePort: 0, destination: 0, destinationPort: 0 };
  private readonly words = new Int32Array(4);
  private readonly client = { v6: false, words: this.words, port: 0 };

  constructor(
    options: LoadBalancerOptions,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly connections: Connections,
    private readonly pathMtu: PathMtuOf,
  ) {
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

  /** Packets that bypass us would overtake what we held: nothing ever is. */
  release(): number {
    return 0;
  }

  settle(_extrasSent: number, extrasRefused: number, refused: number): void {
    this.counters[LbCounter.dropped_io] += extrasRefused + refused;
  }

  // ---- 1. which way --------------------------------------------------------------------------------------

  process(packet: Packet, now: number, extraOffset: number): number {
    const { counters } = this;
    counters[LbCounter.packets_seen]++;
    if (packet.kind === Kind.malformed) {
      counters[LbCounter.dropped_malformed]++;
      return Verdict.none;
    }
    if (packet.kind === Kind.other || packet.kind === Kind.error) {
      counters[LbCounter.packets_ignored]++;
      return Verdict.none;
    }
    // By the destination: a source is easily forged.
    if (this.ownAddresses.has4(packet.destination)) return this.fromRealServer(packet, now);
    restoreHop(packet);
    if (packet.kind === Kind.udp) return this.toRealServer(packet, now, extraOffset);
    counters[LbCounter.packets_unmarked]++;
    return Verdict.emit;
  }

  // ---- 2. to a real server -------------------------------------------------------------------------------

  private toRealServer(packet: Packet, now: number, extraOffset: number): number {
    const { flows, counters } = this;
    if (packet.mark !== Mark.none) this.takeOutForged(packet);
    const flow = this.flowOf(packet, now);
    if (flow < 0 || !this.wantsMark(flow)) {
      counters[LbCounter.packets_unmarked]++;
      return Verdict.emit;
    }
    flows.setFlags(flow, flows.flags(flow) + 1);
    this.words[3] = flows.address4(flow, CLIENT);
    this.client.port = flows.clientPort(flow);
    return this.mark(packet, extraOffset);
  }

  /** What the client wrote there itself would pass for ours. */
  private takeOutForged(packet: Packet): void {
    const isOpp = packet.carrier === uoa.Carrier.opp;
    if (isOpp) strip(packet);
    this.counters[LbCounter.marks_forged] += eraseOptions(packet) + (isOpp ? 1 : 0);
  }

  private wantsMark(flow: number): boolean {
    const flags = this.flows.flags(flow);
    return (flags & ACKED) === 0 && (flags & TRAILS) < this.maxTrails;
  }

  /** The packet's flow, or -1 if conntrack has none for it: nobody's NAT, nobody's client. */
  private flowOf(packet: Packet, now: number): number {
    const { flows } = this;
    flows.setFlow4(packet.source, packet.sourcePort, packet.destination, packet.destinationPort);
    const known = flows.findFlow();
    const isSure = known >= 0 && this.wantsMark(known) && flows.idle(known, now) < SURELY_THE_SAME;
    const flow = isSure ? known : this.ask(packet, known, now);
    if (flow >= 0) flows.touch(flow, now);
    return flow;
  }

  private ask(packet: Packet, known: number, now: number): number {
    const { flows, connections, counters } = this;
    this.setTuple(packet.destination, packet.destinationPort, packet.source, packet.sourcePort);
    if (!connections.find(this.tuple)) return -1;
    const { client, clientPort, id } = connections.found;
    // The same connection: at most a packet that was under way when its flow was acknowledged.
    if (known >= 0 && flows.tag(known) === id) return known;

    flows.setClient4(client, clientPort);
    const evictions = flows.evictions;
    flows.learn(0, now);
    flows.setTag(flows.learned, id);
    counters[LbCounter.flows_evicted] += flows.evictions - evictions;
    counters[LbCounter.flows] = flows.count;
    return flows.learned;
  }

  private setTuple(source: number, sourcePort: number, destination: number, destinationPort: number): void {
    const { tuple } = this;
    tuple.source = source;
    tuple.sourcePort = sourcePort;
    tuple.destination = destination;
    tuple.destinationPort = destinationPort;
  }

  // ---- 3. the mark ---------------------------------------------------------------------------------------

  private mark(packet: Packet, extraOffset: number): number {
    const { carrier, counters } = this;
    if (packet.payloadLength > 0 && !packet.fragmented && this.fits(packet)) {
      if (carrier === uoa.Carrier.ipo) insertOption(packet, this.client);
      else insertOpp(packet, this.client);
      counters[LbCounter.marks_inserted]++;
      return Verdict.emit;
    }
    this.extraLength = writeStandalone(packet, carrier, this.client, packet.view, extraOffset);
    counters[LbCounter.marks_standalone]++;
    return Verdict.emit | Verdict.extra;
  }

  private fits(packet: Packet): boolean {
    const fits = this.carrier === uoa.Carrier.ipo ? fitsOption : fitsOpp;
    if (fits(packet, uoa.OPTION_V4, SMALLEST_PATH)) return true;
    return fits(packet, uoa.OPTION_V4, this.pathMtu(packet.destination));
  }

  // ---- 4. an ACK -----------------------------------------------------------------------------------------

  private fromRealServer(packet: Packet, now: number): number {
    const { counters } = this;
    if (packet.kind === Kind.udp && packet.payloadLength > 0) {
      // No ACK has a payload: somebody's answer, with an option that no client should see.
      strip(packet);
      counters[LbCounter.packets_unmarked]++;
      return Verdict.deliver;
    }
    const flow = packet.kind === Kind.udp ? this.acknowledged(packet) : -1;
    if (flow < 0) {
      counters[LbCounter.acks_unmatched]++;
      return Verdict.none;
    }
    counters[LbCounter.acks_received]++;
    this.letGo(packet, flow, now);
    return Verdict.none;
  }

  /** The flow whose mark this packet echoes, as it was sent; or -1. */
  private acknowledged(packet: Packet): number {
    const { flows } = this;
    const { view, option, carrier } = packet;
    if (packet.mark !== Mark.found || carrier !== this.carrier || packet.optionLength !== uoa.OPTION_V4)
      return -1;
    flows.setFlow4(packet.destination, packet.destinationPort, packet.source, packet.sourcePort);
    const flow = flows.findFlow();
    if (flow < 0 || (flows.flags(flow) & TRAILS) === 0) return -1;
    const echoes =
      view.getUint16(option + uoa.OPTION_PORT) === flows.clientPort(flow) &&
      view.getInt32(option + uoa.OPTION_ADDRESS) === flows.address4(flow, CLIENT);
    return echoes ? flow : -1;
  }

  private letGo(packet: Packet, flow: number, now: number): void {
    const { flows } = this;
    flows.answered(flow, now);
    if ((flows.flags(flow) & ACKED) !== 0) return;
    flows.setFlags(flow, flows.flags(flow) | ACKED);
    this.counters[LbCounter.flows_acked]++;
    this.setTuple(packet.source, packet.sourcePort, packet.destination, packet.destinationPort);
    this.connections.release(this.tuple);
  }
}
