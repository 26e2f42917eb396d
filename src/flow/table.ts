/**
 * The flow table: LIP:lport -> RIP:rport = client:cport, found from both sides, bounded, in one buffer.
 *
 * Everything lives in the buffer that the constructor is given (a SharedArrayBuffer lets another thread read it;
 * a mapped file would let another process take over): a header, the records, their counters, two hash indexes
 * and the idle wheel. One thread writes. Readers elsewhere check `version`, which is odd during a change.
 *
 * Callers put the key they ask for into `key` and then call `find...`.
 */
import { sameAddress } from '../codec/addresses.js';
import { IdleWheel } from './idle-wheel.js';
import { FlowLookups } from './lookups.js';
import {
  ANSWERS,
  CLIENT,
  CLIENT_PORT,
  LAST_USED,
  LIVE,
  PACKETS,
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

export class FlowTable extends FlowLookups {
  /** The record that the last `learn` wrote. */
  learned = -1;
  /** Flows pushed out by newer ones because the table was full, since this object was made. */
  evictions = 0;

  private readonly header: Int32Array;
  private readonly wheel: IdleWheel;
  private readonly maxFlows: number;
  private readonly timeout: number;

  static byteLength({ maxFlows, timeout }: TableSize): number {
    return HEADER_BYTES + FlowLookups.lookupBytes(maxFlows) + IdleWheel.byteLength(maxFlows, timeout);
  }

  /**
   * Opens the table in `buffer`, which is zeroed or holds one of the same size, timeout and seed. Only the first
   * opener may pass `now` (ticks), which makes it an empty one.
   */
  constructor(buffer: ArrayBufferLike, size: TableSize, seed: number, now?: number) {
    const { maxFlows, timeout } = size;
    super(buffer, HEADER_BYTES, maxFlows, seed);
    this.maxFlows = maxFlows;
    this.timeout = timeout;
    this.header = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    const behind = HEADER_BYTES + FlowLookups.lookupBytes(maxFlows);
    this.wheel = new IdleWheel(buffer, behind, maxFlows, timeout);

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
}
