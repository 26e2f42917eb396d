/**
 * The flow table: LIP:lport -> RIP:rport = client:cport, found from both sides, bounded, in one buffer.
 *
 * Everything lives in the buffer that the constructor is given (a SharedArrayBuffer lets another thread read it;
 * a mapped file would let another process take over): a header, the records, their counters, two hash indexes
 * and the idle wheel. One thread writes. Readers elsewhere check `version`, which is odd during a change.
 *
 * Callers put the key they ask for into `key` and then call `find...`.
 */
import { isMapped, sameAddress } from '../codec/addresses.js';
import { hash3, hash9 } from './hash.js';
import { HashIndex } from './hash-index.js';
import { IdleWheel } from './idle-wheel.js';
import {
  ANSWERS,
  CLIENT,
  CLIENT_PORT,
  FlowRecords,
  LAST_USED,
  LB,
  LIVE,
  PACKETS,
  PORTS,
  RECORD_WORDS,
  ROLE_FLAGS,
  SERVER,
} from './records.js';

/** Header words. */
const VERSION = 0;
const COUNT = 1;
const USED = 2;
const FREE = 3;
const HAND = 4;
const HEADER_BYTES = 64;

/** How many records one eviction looks at before it takes the longest idle of those. */
const EVICTION_SEARCH = 64;

export interface TableSize {
  maxFlows: number;
  /** Milliseconds without a packet, 2^31 at most. */
  timeout: number;
}

/** What `learn` did. */
export const Learned = { refreshed: 0, added: 1, replaced: 2 } as const;
export type Learned = (typeof Learned)[keyof typeof Learned];

export class FlowTable extends FlowRecords {
  /** The record that the last `learn` wrote. */
  learned = -1;
  /** Flows pushed out by newer ones because the table was full, since this object was made. */
  evictions = 0;

  /** Kept so that nobody finds the loads superfluous that it comes from. */
  protected fetched = 0;
  private readonly header: Int32Array;
  private readonly byFlow: HashIndex;
  private readonly byClient: HashIndex;
  private readonly wheel: IdleWheel;
  private readonly maxFlows: number;
  private readonly timeout: number;
  private readonly seed: number;

  static byteLength({ maxFlows, timeout }: TableSize): number {
    return (
      HEADER_BYTES +
      FlowRecords.recordBytes(maxFlows) +
      2 * HashIndex.byteLength(maxFlows) +
      IdleWheel.byteLength(maxFlows, timeout)
    );
  }

  /**
   * Opens the table in `buffer`, which is zeroed or holds one of the same size, timeout and seed. Only the first
   * opener may pass `now` (ticks), which makes it an empty one.
   */
  constructor(buffer: ArrayBufferLike, size: TableSize, seed: number, now?: number) {
    const { maxFlows, timeout } = size;
    super(buffer, HEADER_BYTES, maxFlows);
    this.maxFlows = maxFlows;
    this.timeout = timeout;
    this.seed = seed | 0;

    let offset = HEADER_BYTES + FlowRecords.recordBytes(maxFlows);
    const take = (bytes: number): number => {
      offset += bytes;
      return offset - bytes;
    };
    this.header = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.byFlow = new HashIndex(buffer, take(HashIndex.byteLength(maxFlows)), maxFlows);
    this.byClient = new HashIndex(buffer, take(HashIndex.byteLength(maxFlows)), maxFlows);
    this.wheel = new IdleWheel(buffer, take(IdleWheel.byteLength(maxFlows, timeout)), maxFlows, timeout);

    if (now !== undefined) {
      this.wheel.clear();
      this.header[FREE] = -1;
      this.header[HAND] = IdleWheel.bucketOf(now);
    }
  }

  get count(): number {
    return this.header[COUNT];
  }

  /** One more than the highest record number in use so far. */
  get extent(): number {
    return this.header[USED];
  }

  /** Odd while a change is under way; a reader on another thread compares it before and after. */
  get version(): number {
    return Atomics.load(this.header, VERSION);
  }

  // ---- looking up ----------------------------------------------------------------------------------------

  /** The record of the flow in `key` (LIP:lport -> RIP:rport), or -1. */
  findFlow(): number {
    return this.searchFlow(this.key, LB, SERVER, this.key[PORTS]);
  }

  /** The record by which replies in `key` (RIP:rport -> client:cport) go back, or -1. */
  findReply(): number {
    const { key } = this;
    return this.searchReply(key, SERVER, CLIENT, replyPorts(key, 0));
  }

  /** As `findFlow`, without a key: for what is asked of each packet. `likely` is a record to look at first, or -1. */
  flowOf(
    words: Int32Array,
    lb: number,
    lbPort: number,
    server: number,
    serverPort: number,
    likely: number,
  ): number {
    const ports = (lbPort << 16) | serverPort;
    if (likely >= 0 && this.isFlow(likely, words, lb, server, ports)) return likely;
    return this.searchFlow(words, lb, server, ports);
  }

  /** As `findReply`, likewise. */
  replyOf(
    words: Int32Array,
    server: number,
    serverPort: number,
    client: number,
    clientPort: number,
    likely: number,
  ): number {
    const ports = (clientPort << 16) | serverPort;
    if (likely >= 0 && this.answers(likely, words, server, client, ports)) return likely;
    return this.searchReply(words, server, client, ports);
  }

  private searchFlow(words: Int32Array, lb: number, server: number, ports: number): number {
    const { byFlow } = this;
    const hash = this.hash(words, lb, server, ports);
    for (let at = byFlow.first(hash); ; at = byFlow.next(at)) {
      const record = byFlow.record(at);
      if (record < 0) return -1;
      if (byFlow.hash(at) === hash && this.isFlow(record, words, lb, server, ports)) return record;
    }
  }

  /** `ports` is cport << 16 | rport. */
  private searchReply(words: Int32Array, server: number, client: number, ports: number): number {
    const { byClient } = this;
    const hash = this.hash(words, client, server, ports);
    for (let at = byClient.first(hash); ; at = byClient.next(at)) {
      const record = byClient.record(at);
      if (record < 0) return -1;
      if (byClient.hash(at) === hash && this.answers(record, words, server, client, ports)) return record;
    }
  }

  /** Whether a record, which may be a free one, is that of this flow. */
  private isFlow(record: number, words: Int32Array, lb: number, server: number, ports: number): boolean {
    const { records } = this;
    const base = record * RECORD_WORDS;
    return (
      records[base + PORTS] === ports &&
      (records[base + CLIENT_PORT] & LIVE) !== 0 &&
      sameAddress(records, base + LB, words, lb) &&
      sameAddress(records, base + SERVER, words, server)
    );
  }

  /** Whether a record, which may be a free one, is what this reply goes by. */
  private answers(record: number, words: Int32Array, server: number, client: number, ports: number): boolean {
    const { records } = this;
    const base = record * RECORD_WORDS;
    return (
      replyPorts(records, base) === ports &&
      (records[base + CLIENT_PORT] & ANSWERS) !== 0 &&
      sameAddress(records, base + CLIENT, words, client) &&
      sameAddress(records, base + SERVER, words, server)
    );
  }

  // ---- looking ahead -------------------------------------------------------------------------------------

  /** The hash of a flow. `ports` is lport << 16 | rport. */
  flowHash(words: Int32Array, lb: number, server: number, ports: number): number {
    return this.hash(words, lb, server, ports);
  }

  /** The hash of a reply. `ports` is cport << 16 | rport. */
  replyHash(words: Int32Array, server: number, client: number, ports: number): number {
    return this.hash(words, client, server, ports);
  }

  /**
   * Has the memory behind `count` hashes, of flows (`areReplies` 0) or replies (1), brought to the cache, so that their
   * misses overlap: a packet needs two lines, of an index and of a record. Puts the record that each of them probably has
   * into `likely`, or -1.
   */
  fetch(hashes: Int32Array, areReplies: Uint8Array, count: number, likely: Int32Array): void {
    const { byFlow, byClient, records } = this;
    let fetched = 0;
    // A loop for each step, and nothing in the first that depends on what it loads: a branch guessed wrong would make the
    // processor wait for this packet's line before it asks for the next one's.
    for (let i = 0; i < count; i++) {
      const index = areReplies[i] === 0 ? byFlow : byClient;
      fetched ^= index.hash(index.first(hashes[i]));
    }
    for (let i = 0; i < count; i++) {
      const index = areReplies[i] === 0 ? byFlow : byClient;
      const record = index.candidate(hashes[i]);
      likely[i] = record;
      if (record >= 0) fetched ^= records[record * RECORD_WORDS + PORTS];
    }
    this.fetched = fetched;
  }

  // ---- hot path ------------------------------------------------------------------------------------------

  /** A packet from the LB: replies to its client go by this flow from now on. May overwrite `key`. */
  heard(record: number, now: number, datagrams = 1): void {
    this.touch(record, now, datagrams);
    if ((this.records[record * RECORD_WORDS + CLIENT_PORT] & ANSWERS) === 0) this.takeReplies(record);
  }

  // ---- changes -------------------------------------------------------------------------------------------

  /**
   * Learns the flow in `key` (all of it), with `flags` (ROLE_FLAGS) kept for the role; `learned` is its record.
   * Pushes out a longest idle flow if the table is full. `heard` is still to be called.
   */
  learn(flags: number, now: number): Learned {
    const hash = this.hashFlow(this.key, 0);
    const known = this.findFlow();
    if (known >= 0) {
      this.learned = known;
      return this.relearn(known, flags);
    }
    if (this.count >= this.maxFlows) this.evict(now);
    Atomics.add(this.header, VERSION, 1);
    const record = this.allocate();
    const base = record * RECORD_WORDS;
    this.records.set(this.key, base);
    this.records[base + CLIENT_PORT] = (this.key[CLIENT_PORT] & ~0xffff) | LIVE | flags;
    this.records[base + LAST_USED] = now;
    this.records[base + PACKETS] = 0;
    this.replies[record] = 0;
    this.byFlow.insert(hash, record);
    this.wheel.append(record, now);
    this.header[COUNT]++;
    Atomics.add(this.header, VERSION, 1);
    this.learned = record;
    return Learned.added;
  }

  /** Forgets a flow. */
  forget(record: number): void {
    Atomics.add(this.header, VERSION, 1);
    this.giveUpReplies(record);
    this.byFlow.remove(this.hashFlow(this.records, record * RECORD_WORDS), record);
    this.wheel.remove(record);
    this.records[record * RECORD_WORDS + CLIENT_PORT] = 0;
    this.records[record * RECORD_WORDS] = this.header[FREE];
    this.header[FREE] = record;
    this.header[COUNT]--;
    Atomics.add(this.header, VERSION, 1);
  }

  /** Looks at up to `budget` records or empty buckets, forgets those idle too long, and says how many. */
  expire(now: number, budget: number): number {
    const { wheel, header, timeout } = this;
    const current = IdleWheel.bucketOf(now);
    this.catchUp(current);
    let expired = 0;
    for (let left = budget; left > 0 && this.isExpiryDue(now); left--) {
      const hand = header[HAND];
      const record = wheel.head(hand);
      if (record < 0) header[HAND] = IdleWheel.following(hand);
      else if (this.idle(record, now) >= timeout) {
        this.forget(record);
        expired++;
      } else wheel.move(record, this.lastUsed(record));
    }
    return expired;
  }

  /**
   * Whether the hand has a bucket to work on. The one that `now - timeout` falls into still holds flows with some
   * time to go, so it has to wait: a flow may outlive its timeout by 1.024 s.
   */
  isExpiryDue(now: number): boolean {
    const current = IdleWheel.bucketOf(now);
    const waiting = IdleWheel.distance(IdleWheel.bucketOf(now - this.timeout), current);
    return IdleWheel.distance(this.header[HAND], current) > waiting;
  }

  /** After a pause longer than the wheel, one round over all its slots sees everything there is. */
  private catchUp(current: number): void {
    const { wheel, header } = this;
    if (IdleWheel.distance(header[HAND], current) >= wheel.size)
      header[HAND] = IdleWheel.following(current - wheel.size);
  }

  private relearn(record: number, flags: number): Learned {
    const { records, key } = this;
    const base = record * RECORD_WORDS;
    const portAndFlags = records[base + CLIENT_PORT];
    const sameClient =
      (portAndFlags ^ key[CLIENT_PORT]) >>> 16 === 0 && sameAddress(records, base + CLIENT, key, CLIENT);
    if (sameClient && (portAndFlags & ROLE_FLAGS) === flags) return Learned.refreshed;

    Atomics.add(this.header, VERSION, 1);
    if (!sameClient) this.giveUpReplies(record);
    for (let i = 0; i < 4; i++) records[base + CLIENT + i] = key[CLIENT + i];
    records[base + CLIENT_PORT] =
      (key[CLIENT_PORT] & ~0xffff) | (records[base + CLIENT_PORT] & (LIVE | ANSWERS)) | flags;
    Atomics.add(this.header, VERSION, 1);
    return sameClient ? Learned.refreshed : Learned.replaced;
  }

  /** Makes a record the one that replies to its client go by. */
  private takeReplies(record: number): void {
    const { records, key } = this;
    const base = record * RECORD_WORDS;
    for (let i = SERVER; i <= CLIENT_PORT; i++) key[i] = records[base + i];
    const hash = this.hashClient(key, 0);
    const before = this.findReply();
    Atomics.add(this.header, VERSION, 1);
    if (before < 0) this.byClient.insert(hash, record);
    else {
      this.byClient.replace(hash, before, record);
      records[before * RECORD_WORDS + CLIENT_PORT] &= ~ANSWERS;
    }
    records[base + CLIENT_PORT] |= ANSWERS;
    Atomics.add(this.header, VERSION, 1);
  }

  private giveUpReplies(record: number): void {
    const base = record * RECORD_WORDS;
    if ((this.records[base + CLIENT_PORT] & ANSWERS) === 0) return;
    this.byClient.remove(this.hashClient(this.records, base), record);
    this.records[base + CLIENT_PORT] &= ~ANSWERS;
  }

  private allocate(): number {
    const free = this.header[FREE];
    if (free < 0) return this.header[USED]++;
    this.header[FREE] = this.records[free * RECORD_WORDS];
    return free;
  }

  /**
   * Forgets the flow that has been idle longest. Exact where the oldest bucket holds up to EVICTION_SEARCH
   * records; beyond that the longest idle of as many, so that an eviction never takes long.
   */
  private evict(now: number): void {
    const { wheel, header } = this;
    this.catchUp(IdleWheel.bucketOf(now));
    let victim = -1;
    let left = EVICTION_SEARCH;
    do {
      while (wheel.head(header[HAND]) < 0) header[HAND] = IdleWheel.following(header[HAND]);
      for (let record = wheel.head(header[HAND]); record >= 0 && left > 0; left--) {
        const following = wheel.after(record);
        if (victim < 0 || this.idle(record, now) > this.idle(victim, now)) victim = record;
        if (this.isAhead(record)) wheel.move(record, this.lastUsed(record));
        record = following;
      }
    } while (left > 0 && this.isAhead(victim));
    this.forget(victim);
    this.evictions++;
  }

  /** Whether a record was last used in a bucket that the hand has yet to come to. */
  private isAhead(record: number): boolean {
    const ahead = IdleWheel.distance(this.header[HAND], IdleWheel.bucketOf(this.lastUsed(record)));
    // One left behind by a pause longer than the wheel stays where the hand finds it: moved, it would be passed by.
    return ahead > 0 && ahead < this.wheel.size;
  }

  /** Of two addresses and a word of ports. */
  private hash(words: Int32Array, a: number, b: number, ports: number): number {
    return isMapped(words, a) && isMapped(words, b)
      ? hash3(words[a + 3], words[b + 3], ports, this.seed)
      : hash9(words, a, b, ports, this.seed);
  }

  private hashFlow(words: Int32Array, base: number): number {
    return this.hash(words, base + LB, base + SERVER, words[base + PORTS]);
  }

  private hashClient(words: Int32Array, base: number): number {
    return this.hash(words, base + CLIENT, base + SERVER, replyPorts(words, base));
  }
}

/** cport << 16 | rport, of a record or a key at `base`. */
function replyPorts(words: Int32Array, base: number): number {
  return (words[base + CLIENT_PORT] & ~0xffff) | (words[base + PORTS] & 0xffff);
}
