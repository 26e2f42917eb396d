/**
 * From a 32-bit hash to a record number: linear probing over pairs (hash, record + 1), at most half full. A deletion shifts
 * back what follows, so that no tombstones pile up.
 *
 * The index does not know the records. A caller compares those with its hash:
 *
 *     for (let at = index.first(hash); index.record(at) !== NONE; at = index.next(at))
 *       if (index.hash(at) === hash && sameKey(index.record(at))) ...
 */
import { NONE } from '../codec/units.js';

export class HashIndex {
  private readonly slots: Int32Array;
  private readonly mask: number;

  /** Slots for `records` records: a power of two, at least twice as many. */
  static slotCount(records: number): number {
    return 2 ** Math.ceil(Math.log2(Math.max(records, 4) * 2));
  }

  static byteLength(records: number): number {
    return HashIndex.slotCount(records) * 8;
  }

  /** An index over memory that is zeroed (an empty one) or holds one. */
  constructor(buffer: ArrayBufferLike, byteOffset: number, records: number) {
    const count = HashIndex.slotCount(records);
    this.slots = new Int32Array(buffer, byteOffset, count * 2);
    this.mask = count - 1;
  }

  first(hash: number): number {
    return hash & this.mask;
  }

  next(at: number): number {
    return (at + 1) & this.mask;
  }

  hash(at: number): number {
    return this.slots[at * 2];
  }

  /** The record in a slot, or NONE where the run ends. */
  record(at: number): number {
    return this.slots[at * 2 + 1] - 1;
  }

  /** The first record with this hash, or NONE. */
  firstWith(hash: number): number {
    const { slots, mask } = this;
    let at = hash & mask;
    while (slots[at * 2 + 1] !== 0 && slots[at * 2] !== hash) at = (at + 1) & mask;
    return slots[at * 2 + 1] - 1;
  }

  insert(hash: number, record: number): void {
    let at = this.first(hash);
    while (this.record(at) !== NONE) at = this.next(at);
    this.slots[at * 2] = hash;
    this.slots[at * 2 + 1] = record + 1;
  }

  /** Lets the entry of `record` point to another record with the same key. */
  replace(hash: number, record: number, by: number): void {
    const at = this.find(hash, record);
    if (at !== NONE) this.slots[at * 2 + 1] = by + 1;
  }

  remove(hash: number, record: number): void {
    let hole = this.find(hash, record);
    if (hole === NONE) return;
    // What follows in the run moves into the hole, unless that would put it before its own first slot.
    for (let at = this.next(hole); this.record(at) !== NONE; at = this.next(at)) {
      const distance = (at - this.first(this.hash(at))) & this.mask;
      if (distance < ((at - hole) & this.mask)) continue;
      this.slots[hole * 2] = this.slots[at * 2];
      this.slots[hole * 2 + 1] = this.slots[at * 2 + 1];
      hole = at;
    }
    this.slots[hole * 2] = 0;
    this.slots[hole * 2 + 1] = 0;
  }

  private find(hash: number, record: number): number {
    let at = this.first(hash);
    while (this.record(at) !== NONE) {
      if (this.record(at) === record) return at;
      at = this.next(at);
    }
    return NONE;
  }
}
