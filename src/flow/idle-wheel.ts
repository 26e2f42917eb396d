/**
 * Which records have been idle longest: a ring of buckets, each a doubly linked list in the order of arrival. A hand
 * goes round behind the time, and what it finds in its bucket has been idle longest.
 *
 * A packet does not move its record: it only stamps it. The record is moved to the bucket of its stamp when the hand
 * comes by, so the hot path pays one store, and the hand pays for each record once per timeout.
 *
 * Several wheels may share the records' links. A record stands in one of them at a time.
 *
 * A bucket is 1.024 s of last use: a power of two, so that a tick's bucket is a shift. It bounds how long a flow may
 * outlive its timeout, which is counted in seconds; finer buckets would only make the ring longer. Times are ticks
 * (milliseconds, the low 32 bits), so buckets are numbered modulo 2^22.
 */
import { NONE, type Ticks } from '../codec/units.js';

const BUCKET_BITS = 10;
const BUCKET_CYCLE = 2 ** (32 - BUCKET_BITS);
const HEADER_BYTES = 4;

/** What stands before and behind each record in its bucket. */
export class IdleLinks {
  readonly next: Int32Array;
  readonly previous: Int32Array;
  /** The slot (bucket number modulo the wheel's size) in whose list a record stands. */
  readonly slot: Int32Array;

  static byteLength(records: number): number {
    return records * 12;
  }

  constructor(buffer: ArrayBufferLike, byteOffset: number, records: number) {
    this.next = new Int32Array(buffer, byteOffset, records);
    this.previous = new Int32Array(buffer, byteOffset + records * 4, records);
    this.slot = new Int32Array(buffer, byteOffset + records * 8, records);
  }
}

export class IdleWheel {
  /** How many buckets the ring has. */
  readonly size: number;
  private readonly header: Int32Array;
  private readonly heads: Int32Array;
  private readonly tails: Int32Array;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  private readonly slot: Int32Array;

  /** Buckets for idle times of up to `timeoutMs`, the running one and one to spare on either side. */
  static sizeFor(timeoutMs: number): number {
    return 2 ** Math.ceil(Math.log2((timeoutMs >>> BUCKET_BITS) + 4));
  }

  /** Bytes that a wheel takes, without the links. */
  static byteLength(timeoutMs: number): number {
    return HEADER_BYTES + IdleWheel.sizeFor(timeoutMs) * 8;
  }

  static bucketOf(tick: Ticks): number {
    return tick >>> BUCKET_BITS;
  }

  /** How many buckets after `from` the bucket `to` comes. */
  static distance(from: number, to: number): number {
    return (to - from) & (BUCKET_CYCLE - 1);
  }

  static following(bucket: number): number {
    return (bucket + 1) & (BUCKET_CYCLE - 1);
  }

  /** A wheel over memory that holds one of the same size, or that `clear` makes an empty one. */
  constructor(
    buffer: ArrayBufferLike,
    byteOffset: number,
    { next, previous, slot }: IdleLinks,
    private readonly timeoutMs: number,
  ) {
    this.size = IdleWheel.sizeFor(timeoutMs);
    const rings = byteOffset + HEADER_BYTES;
    this.header = new Int32Array(buffer, byteOffset, 1);
    this.heads = new Int32Array(buffer, rings, this.size);
    this.tails = new Int32Array(buffer, rings + this.size * 4, this.size);
    this.next = next;
    this.previous = previous;
    this.slot = slot;
  }

  /** Empties the wheel, with the hand at the bucket of `now`. */
  clear(now: Ticks): void {
    this.header[0] = IdleWheel.bucketOf(now);
    this.heads.fill(NONE);
    this.tails.fill(NONE);
  }

  // ---- records -------------------------------------------------------------------------------------------

  /** The first record of a bucket, or NONE. */
  head(bucket: number): number {
    return this.heads[bucket & (this.size - 1)];
  }

  /** The record behind another one in its bucket, or NONE. */
  after(record: number): number {
    return this.next[record];
  }

  append(record: number, tick: Ticks): void {
    const slot = IdleWheel.bucketOf(tick) & (this.size - 1);
    const tail = this.tails[slot];
    this.slot[record] = slot;
    this.previous[record] = tail;
    this.next[record] = NONE;
    this.tails[slot] = record;
    if (tail === NONE) this.heads[slot] = record;
    else this.next[tail] = record;
  }

  remove(record: number): void {
    const before = this.previous[record];
    const behind = this.next[record];
    if (before === NONE) this.heads[this.slot[record]] = behind;
    else this.next[before] = behind;
    if (behind === NONE) this.tails[this.slot[record]] = before;
    else this.previous[behind] = before;
  }

  /** Moves a record to the bucket of another stamp. */
  move(record: number, tick: Ticks): void {
    this.remove(record);
    this.append(record, tick);
  }

  /** Moves a record that was last used at `tick` to that bucket, if it stands in an earlier one and the hand is yet to come. */
  moveOn(record: number, tick: Ticks): void {
    const slot = IdleWheel.bucketOf(tick) & (this.size - 1);
    if (this.slot[record] !== slot && this.isAhead(tick)) this.move(record, tick);
  }

  // ---- the hand ------------------------------------------------------------------------------------------

  /** The bucket that the hand is at. */
  get hand(): number {
    return this.header[0];
  }

  /** Moves the hand to the next bucket. */
  advance(): void {
    this.header[0] = IdleWheel.following(this.header[0]);
  }

  /** Lets the hand skip what it missed in a pause longer than the wheel: one round over all slots sees every record. */
  catchUp(now: Ticks): void {
    const current = IdleWheel.bucketOf(now);
    if (IdleWheel.distance(this.hand, current) >= this.size)
      this.header[0] = IdleWheel.following(current - this.size);
  }

  /**
   * Whether the hand has a bucket to work on. The bucket that `now - timeoutMs` falls into still holds records with some
   * time to go, so it has to wait. A record may outlive its timeout by a bucket.
   */
  isDue(now: Ticks): boolean {
    const current = IdleWheel.bucketOf(now);
    const waiting = IdleWheel.distance(IdleWheel.bucketOf(now - this.timeoutMs), current);
    return IdleWheel.distance(this.hand, current) > waiting;
  }

  /** Whether a record last used at `tick` belongs into a bucket that the hand has not come to yet. */
  isAhead(tick: Ticks): boolean {
    const ahead = IdleWheel.distance(this.hand, IdleWheel.bucketOf(tick));
    // A record left behind by a pause longer than the wheel stays where the hand finds it: the hand would pass by any other.
    return ahead > 0 && ahead < this.size;
  }
}
