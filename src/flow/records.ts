/**
 * A flow's record and its layout in memory. Everything here is a load or a store in typed arrays: no objects are made.
 *
 * Addresses are four 32-bit words (codec/addresses.ts), given as an array and the index of the first.
 */
import { copyAddress, sameAddress } from '../codec/addresses.js';
import type { FlowId, Port, Ticks, WordIndex } from '../codec/units.js';

/** LIP's port in the high half, RIP's in the low one: what tells the flows between two addresses apart. */
export type FlowPorts = number & { readonly unit?: 'flow ports' | undefined };
/** The client's port in the high half, RIP's in the low one: what tells replies between two addresses apart. */
export type ReplyPorts = number & { readonly unit?: 'reply ports' | undefined };

export function flowPorts(lport: Port, serverPort: Port): FlowPorts {
  return ((lport << 16) | serverPort) as FlowPorts;
}

export function replyPorts(clientPort: Port, serverPort: Port): ReplyPorts {
  return ((clientPort << 16) | serverPort) as ReplyPorts;
}

/** The server's port, of a flow's ports as of a reply's. */
export function serverPortOf(ports: FlowPorts | ReplyPorts): Port {
  return ports & 0xffff;
}

/** The client of a flow: four words of address, and its port. */
export interface FlowClient {
  readonly words: Int32Array;
  port: number;
}

/** Word offsets in a record of 64 bytes, which is one cache line. */
export const LIP = 0;
export const SERVER = 4;
export const CLIENT = 8;
/** FlowPorts. */
export const PORTS = 12;
/** The client's port in the high half, flags in the low one. */
export const CLIENT_PORT = 13;
const LAST_INBOUND = 14;
const PACKETS = 15;
export const RECORD_WORDS = 16;

/** The bits of the low half that are the role's. The others are the table's. */
export const ROLE_FLAGS = 0x0fff;
export const LIVE = 0x8000;
/** This record routes the replies. If several flows share client and service, it is the one whose packet arrived last. */
export const ROUTES_REPLIES = 0x4000;
/** The flow has been more than marks: it was answered, or heard without one. */
export const ESTABLISHED = 0x2000;
/** Packets went both ways for a while (`setLasting`). */
export const LASTING = 0x1000;
export const TABLE_FLAGS = LIVE | ROUTES_REPLIES | ESTABLISHED | LASTING;

/** Two words for each record beside the 64 bytes: how many replies, and the tick of the last one. */
const REPLY_WORDS = 2;
const LAST_REPLY = 1;
/** Half of what 32 bits of ticks tell apart, and half again: no idle time is said to be longer. */
const LONGEST_MS = 2 ** 30;

/** Keeps copies of records for the next process (saved-flows.ts). */
export interface FlowKeeper {
  /** A time whose change touches one of these bits is to be stamped. */
  readonly stampMask: number;
  /** Keeps the flow whose record begins at `from` in `records`, in the place of the one that had its number. */
  save(
    flow: FlowId,
    records: Int32Array,
    from: WordIndex,
    tag: number,
    lastInbound: Ticks,
    lastReply: Ticks,
  ): void;
  /** Keeps what has become of a record's word CLIENT_PORT and of its tag. */
  update(flow: FlowId, portAndFlags: number, tag: number): void;
  /** A packet has come from the load balancer. */
  stampInbound(flow: FlowId, now: Ticks): void;
  stampReply(flow: FlowId, now: Ticks): void;
  /** There is no such flow any more. */
  erase(flow: FlowId): void;
}

export class FlowRecords {
  /** RECORD_WORDS each. */
  readonly words: Int32Array;
  private readonly replies: Int32Array;
  private readonly tags: Int32Array;

  /** Bytes that this many records take. */
  static byteLength(count: number): number {
    return count * (RECORD_WORDS + REPLY_WORDS + 1) * 4;
  }

  private readonly stampMask: number;

  /** Changes are kept by `keeper`, if there is one. */
  constructor(
    buffer: ArrayBufferLike,
    byteOffset: number,
    count: number,
    private readonly keeper?: FlowKeeper,
  ) {
    this.stampMask = keeper?.stampMask ?? 0;
    const end = byteOffset + count * RECORD_WORDS * 4;
    this.words = new Int32Array(buffer, byteOffset, count * RECORD_WORDS);
    this.replies = new Int32Array(buffer, end, count * REPLY_WORDS);
    this.tags = new Int32Array(buffer, end + count * REPLY_WORDS * 4, count);
  }

  // ---- reading -------------------------------------------------------------------------------------------

  /** Where in `words` an address of a flow (LIP, SERVER or CLIENT) is. */
  addressAt(flow: FlowId, field: number): number {
    return flow * RECORD_WORDS + field;
  }

  flowPorts(flow: FlowId): FlowPorts {
    return this.words[flow * RECORD_WORDS + PORTS] as FlowPorts;
  }

  replyPorts(flow: FlowId): ReplyPorts {
    return replyPorts(this.clientPort(flow), this.serverPort(flow));
  }

  lport(flow: FlowId): number {
    return this.words[flow * RECORD_WORDS + PORTS] >>> 16;
  }

  serverPort(flow: FlowId): number {
    return this.words[flow * RECORD_WORDS + PORTS] & 0xffff;
  }

  clientPort(flow: FlowId): number {
    return this.words[flow * RECORD_WORDS + CLIENT_PORT] >>> 16;
  }

  /** The role's flags. */
  flags(flow: FlowId): number {
    return this.words[flow * RECORD_WORDS + CLIENT_PORT] & ROLE_FLAGS;
  }

  /** A word that belongs to the role. */
  tag(flow: FlowId): number {
    return this.tags[flow];
  }

  isLive(flow: FlowId): boolean {
    return (this.words[flow * RECORD_WORDS + CLIENT_PORT] & LIVE) !== 0;
  }

  routesReplies(flow: FlowId): boolean {
    return (this.words[flow * RECORD_WORDS + CLIENT_PORT] & ROUTES_REPLIES) !== 0;
  }

  isEstablished(flow: FlowId): boolean {
    return (this.words[flow * RECORD_WORDS + CLIENT_PORT] & ESTABLISHED) !== 0;
  }

  packetCount(flow: FlowId): number {
    return this.words[flow * RECORD_WORDS + PACKETS] >>> 0;
  }

  replyCount(flow: FlowId): number {
    return this.replies[flow * REPLY_WORDS] >>> 0;
  }

  /** The tick of the last packet from the load balancer. */
  lastInbound(flow: FlowId): Ticks {
    return this.words[flow * RECORD_WORDS + LAST_INBOUND];
  }

  /** The tick of the last reply; of the flow's beginning if there was none. */
  lastReply(flow: FlowId): Ticks {
    return this.replies[flow * REPLY_WORDS + LAST_REPLY];
  }

  /** The tick of the last packet either way; neither came after `now`. */
  lastUsed(flow: FlowId, now: Ticks): Ticks {
    const inbound = this.lastInbound(flow);
    const reply = this.lastReply(flow);
    return (now - reply) >>> 0 < (now - inbound) >>> 0 ? reply : inbound;
  }

  isLasting(flow: FlowId): boolean {
    return (this.words[flow * RECORD_WORDS + CLIENT_PORT] & LASTING) !== 0;
  }

  /** Milliseconds since the last packet either way. */
  idleMs(flow: FlowId, now: Ticks): number {
    return (now - this.lastUsed(flow, now)) >>> 0;
  }

  // ---- writing -------------------------------------------------------------------------------------------

  setFlags(flow: FlowId, flags: number): void {
    const at = flow * RECORD_WORDS + CLIENT_PORT;
    this.words[at] = (this.words[at] & ~ROLE_FLAGS) | flags;
    this.update(flow);
  }

  setEstablished(flow: FlowId): void {
    this.words[flow * RECORD_WORDS + CLIENT_PORT] |= ESTABLISHED;
    this.update(flow);
  }

  /** Notes whether packets of the flow's client have gone both ways for a while. */
  setLasting(flow: FlowId, isLasting: boolean): void {
    const at = flow * RECORD_WORDS + CLIENT_PORT;
    if (isLasting === this.isLasting(flow)) return;
    this.words[at] ^= LASTING;
    this.update(flow);
  }

  setLastReply(flow: FlowId, tick: Ticks): void {
    this.replies[flow * REPLY_WORDS + LAST_REPLY] = tick;
    this.keeper?.stampReply(flow, tick);
  }

  setTag(flow: FlowId, tag: number): void {
    this.tags[flow] = tag;
    this.update(flow);
  }

  /** Says whether this record routes the replies. */
  setRoutesReplies(flow: FlowId, routes: boolean): void {
    const at = flow * RECORD_WORDS + CLIENT_PORT;
    this.words[at] = routes ? this.words[at] | ROUTES_REPLIES : this.words[at] & ~ROUTES_REPLIES;
    this.update(flow);
  }

  addPackets(flow: FlowId, now: Ticks, datagrams: number): void {
    const base = flow * RECORD_WORDS;
    const before = this.words[base + LAST_INBOUND];
    this.words[base + LAST_INBOUND] = now;
    this.words[base + PACKETS] += datagrams;
    if (((before ^ now) & this.stampMask) !== 0) this.keeper?.stampInbound(flow, now);
  }

  addReplies(flow: FlowId, now: Ticks, datagrams: number): void {
    const at = flow * REPLY_WORDS;
    const before = this.replies[at + LAST_REPLY];
    this.replies[at] += datagrams;
    this.replies[at + LAST_REPLY] = now;
    // A flow that only replies keep alive for weeks: its last inbound packet must not seem to be a new one in the end.
    const inboundAt = flow * RECORD_WORDS + LAST_INBOUND;
    if (((now - this.words[inboundAt]) | 0) > LONGEST_MS) this.words[inboundAt] = now - LONGEST_MS;
    if (((before ^ now) & this.stampMask) !== 0) this.stampBoth(flow);
  }

  private stampBoth(flow: FlowId): void {
    const { keeper } = this;
    if (keeper === undefined) return;
    keeper.stampInbound(flow, this.lastInbound(flow));
    keeper.stampReply(flow, this.lastReply(flow));
  }

  /** Has the keeper keep the record as it is now. */
  save(flow: FlowId): void {
    const { keeper } = this;
    if (keeper === undefined) return;
    const lastInbound = this.lastInbound(flow);
    const lastReply = this.lastReply(flow);
    keeper.save(flow, this.words, flow * RECORD_WORDS, this.tags[flow], lastInbound, lastReply);
  }

  /** Has the keeper keep flags and tag as they are now. */
  private update(flow: FlowId): void {
    this.keeper?.update(flow, this.words[flow * RECORD_WORDS + CLIENT_PORT], this.tags[flow]);
  }

  // ---- beginning and end of a flow -----------------------------------------------------------------------

  /** Makes the record a new flow's, all but its client. */
  begin(
    flow: FlowId,
    words: Int32Array,
    lipAt: WordIndex,
    serverAt: WordIndex,
    ports: FlowPorts,
    now: Ticks,
  ): void {
    const records = this.words;
    const base = flow * RECORD_WORDS;
    copyAddress(words, lipAt, records, base + LIP);
    copyAddress(words, serverAt, records, base + SERVER);
    records[base + PORTS] = ports;
    records[base + CLIENT_PORT] = LIVE;
    records[base + LAST_INBOUND] = now;
    records[base + PACKETS] = 0;
    this.replies[flow * REPLY_WORDS] = 0;
    this.replies[flow * REPLY_WORDS + LAST_REPLY] = now;
  }

  /** Gives a flow a client, and the role's flags that go with it. */
  setClient(flow: FlowId, client: FlowClient, flags: number): void {
    const at = flow * RECORD_WORDS + CLIENT_PORT;
    copyAddress(client.words, 0, this.words, flow * RECORD_WORDS + CLIENT);
    this.words[at] = (client.port << 16) | (this.words[at] & TABLE_FLAGS) | flags;
    this.save(flow);
  }

  hasClient(flow: FlowId, client: FlowClient): boolean {
    const at = flow * RECORD_WORDS + CLIENT;
    return this.clientPort(flow) === client.port && sameAddress(this.words, at, client.words, 0);
  }

  /** Makes the record a free one, with another free one behind it. */
  end(flow: FlowId, nextFree: number): void {
    this.words[flow * RECORD_WORDS + CLIENT_PORT] = 0;
    this.words[flow * RECORD_WORDS] = nextFree;
    this.keeper?.erase(flow);
  }

  nextFree(flow: FlowId): FlowId {
    return this.words[flow * RECORD_WORDS];
  }
}
