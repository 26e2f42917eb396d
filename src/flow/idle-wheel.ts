/**
 * Which records have been idle longest: a ring of buckets, one per 1.024 s of last use, each a doubly linked
 * list in the order of arrival.
 *
 * A packet does not move its record: it only stamps it. The record is moved to the bucket of its stamp when the
 * hand comes by, so the hot path pays one store, and the hand pays for each record once per timeout.
 * Times are ticks: milliseconds, the low 32 bits; a bucket number is `tick >>> 10`, modulo 2^22.
 */

const BUCKET_BITS = 10;
const BUCKET_CYCLE = 2 ** (32 - BUCKET_BITS);
const NONE = -1;

export class IdleWheel {
  private readonly heads: Int32Array;
  private readonly tails: Int32Array;
  private readonly next: Int32Array;
  private readonly previous: Int32Array;
  /** The slot (bucket number modulo size) in whose list a record stands. */
  private readonly slot: Int32Array;
  readonly size: number;

  /** Buckets for idle times of up to `timeout` ticks, the running one and one to spare on either side. */
  static sizeFor(timeout: number): number {
    return 2 ** Math.ceil(Math.log2((timeout >>> BUCKET_BITS) + 4));
  }

  static byteLength(records: number, timeout: number): number {
    return IdleWheel.sizeFor(timeout) * 8 + records * 12;
  }

  static bucketOf(tick: number): number {
    return tick >>> BUCKET_BITS;
  }

  /** How many buckets after `from` the bucket `to` comes. */
  static distance(from: number, to: number): number {
    return (to - from) & (BUCKET_CYCLE - 1);
  }

  static following(bucket: number): number {
    return (bucket + 1) & (BUCKET_CYCLE - 1);
  }

  /** A wheel over memory; `clear` makes it an empty one. */
  constructor(buffer: ArrayBufferLike, byteOffset: number, records: number, timeout: number) {
    this.size = IdleWheel.sizeFor(timeout);
    const lists = byteOffset + this.size * 8;
    this.heads = new Int32Array(buffer, byteOffset, this.size);
    this.tails = new Int32Array(buffer, byteOffset + this.size * 4, this.size);
    this.next = new Int32Array(buffer, lists, records);
    this.previous = new Int32Array(buffer, lists + records * 4, records);
    this.slot = new Int32Array(buffer, lists + records * 8, records);
  }

  clear(): void {
    this.heads.fill(NONE);
    this.tails.fill(NONE);
  }

  /** The first record of a bucket, or -1. */
  head(bucket: number): number {
    return this.heads[bucket & (this.size - 1)];
  }

  /** The record behind another one in its bucket, or -1. */
  after(record: number): number {
    return this.next[record];
  }

  append(record: number, tick: number): void {
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
  move(record: number, tick: number): void {
    this.remove(record);
    this.append(record, tick);
  }
}
