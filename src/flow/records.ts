/**
 * A flow's record, its layout in memory, and the key in which callers put what they ask for. Everything here is a
 * load or a store in typed arrays: no objects are made.
 *
 * Addresses are four 32-bit words (codec/addresses.ts), given as an array and the index of the first.
 */
import { copyAddress, readAddress4, readAddress6 } from '../codec/addresses.js';

/** Word offsets in a record of 64 bytes (one cache line), and in `key`, which has the same layout as far as CLIENT_PORT. */
export const LB = 0;
export const SERVER = 4;
export const CLIENT = 8;
/** lport << 16 | rport. */
export const PORTS = 12;
/** cport << 16 | flags. */
export const CLIENT_PORT = 13;
export const LAST_USED = 14;
export const PACKETS = 15;
export const RECORD_WORDS = 16;

/** Flags of a record: the low bits hold what the role gave to `learn`, the high ones are the table's. */
export const ROLE_FLAGS = 0x00ff;
export const LIVE = 0x8000;
/** Replies to this client go by this record: its flow was heard last of all with the same client. */
export const ANSWERS = 0x4000;

export class FlowRecords {
  /** Bytes that this many records take. */
  static recordBytes(count: number): number {
    return count * (RECORD_WORDS + 2) * 4;
  }

  /** The key to look for or to learn, set by `setFlow`, `setReply` and `setClient...`. */
  readonly key = new Int32Array(CLIENT_PORT + 1);
  /** RECORD_WORDS each. */
  readonly records: Int32Array;
  protected readonly replies: Uint32Array;
  private readonly tags: Int32Array;

  constructor(buffer: ArrayBufferLike, byteOffset: number, count: number) {
    const behind = byteOffset + count * RECORD_WORDS * 4;
    this.records = new Int32Array(buffer, byteOffset, count * RECORD_WORDS);
    this.replies = new Uint32Array(buffer, behind, count);
    this.tags = new Int32Array(buffer, behind + count * 4, count);
  }

  // ---- keys ----------------------------------------------------------------------------------------------

  /** Sets the key to a flow's LIP:lport -> RIP:rport. */
  setFlow(words: Int32Array, lb: number, lbPort: number, server: number, serverPort: number): void {
    copyAddress(words, lb, this.key, LB);
    copyAddress(words, server, this.key, SERVER);
    this.key[PORTS] = (lbPort << 16) | serverPort;
  }

  /** Sets the key to a reply's RIP:rport -> client:cport. */
  setReply(words: Int32Array, server: number, serverPort: number, client: number, clientPort: number): void {
    copyAddress(words, server, this.key, SERVER);
    copyAddress(words, client, this.key, CLIENT);
    this.key[PORTS] = serverPort;
    this.key[CLIENT_PORT] = clientPort << 16;
  }

  /** Lets a key set by `setReply` ask for another server address. */
  setReplyServer(words: Int32Array, server: number): void {
    copyAddress(words, server, this.key, SERVER);
  }

  /** Sets the client to be learned. */
  setClient(words: Int32Array, client: number, port: number): void {
    copyAddress(words, client, this.key, CLIENT);
    this.key[CLIENT_PORT] = port << 16;
  }

  /** Sets the client to be learned, its address read from `view` at `offset`: 16 bytes if `v6`, else 4. */
  readClient(view: DataView, offset: number, v6: boolean, port: number): void {
    if (v6) readAddress6(view, offset, this.key, CLIENT);
    else readAddress4(view, offset, this.key, CLIENT);
    this.key[CLIENT_PORT] = port << 16;
  }

  // ---- reading a record ----------------------------------------------------------------------------------

  /** Where in `records` an address of a record (LB, SERVER or CLIENT) is. */
  addressAt(record: number, field: number): number {
    return record * RECORD_WORDS + field;
  }

  lbPort(record: number): number {
    return this.records[record * RECORD_WORDS + PORTS] >>> 16;
  }

  serverPort(record: number): number {
    return this.records[record * RECORD_WORDS + PORTS] & 0xffff;
  }

  clientPort(record: number): number {
    return this.records[record * RECORD_WORDS + CLIENT_PORT] >>> 16;
  }

  /** What the role gave to `learn`. */
  flags(record: number): number {
    return this.records[record * RECORD_WORDS + CLIENT_PORT] & ROLE_FLAGS;
  }

  /** A word that belongs to the role. */
  tag(record: number): number {
    return this.tags[record];
  }

  isLive(record: number): boolean {
    return (this.records[record * RECORD_WORDS + CLIENT_PORT] & LIVE) !== 0;
  }

  packets(record: number): number {
    return this.records[record * RECORD_WORDS + PACKETS] >>> 0;
  }

  replyCount(record: number): number {
    return this.replies[record];
  }

  /** The tick of the last packet either way. */
  lastUsed(record: number): number {
    return this.records[record * RECORD_WORDS + LAST_USED];
  }

  /** Milliseconds since the last packet either way. */
  idle(record: number, now: number): number {
    return (now - this.lastUsed(record)) >>> 0;
  }

  // ---- writing one ---------------------------------------------------------------------------------------

  /** A packet of the flow, of so many datagrams: it refreshes it. */
  touch(record: number, now: number, datagrams = 1): void {
    const base = record * RECORD_WORDS;
    this.records[base + LAST_USED] = now;
    this.records[base + PACKETS] += datagrams;
  }

  /** A reply by this flow, which refreshes it too. */
  answered(record: number, now: number, datagrams = 1): void {
    this.records[record * RECORD_WORDS + LAST_USED] = now;
    this.replies[record] += datagrams;
  }

  setFlags(record: number, flags: number): void {
    const at = record * RECORD_WORDS + CLIENT_PORT;
    this.records[at] = (this.records[at] & ~ROLE_FLAGS) | flags;
  }

  setTag(record: number, tag: number): void {
    this.tags[record] = tag;
  }
}
