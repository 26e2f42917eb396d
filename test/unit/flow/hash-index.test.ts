import { describe, expect, it } from 'vitest';
import { HashIndex } from '../../../src/flow/hash-index.js';

function make(records: number, offset = 0): HashIndex {
  return new HashIndex(new ArrayBuffer(offset + HashIndex.byteLength(records)), offset, records);
}

/** The records that a walk over the candidates of a hash finds. */
function found(index: HashIndex, hash: number): number[] {
  const records: number[] = [];
  for (let at = index.first(hash); index.record(at) >= 0; at = index.next(at))
    if (index.hash(at) === hash) records.push(index.record(at));
  return records;
}

describe('HashIndex', () => {
  it('an index has a power of two of slots, of which at most half are used', () => {
    for (let records = 1; records <= 5000; records++) {
      const slots = HashIndex.slotCount(records);
      expect(Math.log2(slots) % 1).toBe(0);
      expect(slots).toBeGreaterThanOrEqual(records * 2);
      expect(slots).toBeLessThan(Math.max(records, 4) * 4);
    }
    expect(HashIndex.byteLength(1 << 20)).toBe(2 ** 21 * 8);
  });

  it('an index over empty memory finds no record', () => {
    const index = make(4);
    for (const hash of [0, 1, 7, -1, 0x7fffffff]) expect(found(index, hash)).toEqual([]);
  });

  it('record 0 and hash 0 are found like others', () => {
    const index = make(4);
    index.insert(0, 0);
    expect(found(index, 0)).toEqual([0]);
    index.remove(0, 0);
    expect(found(index, 0)).toEqual([]);
  });

  it('each of several records with the same hash is found', () => {
    const index = make(4);
    index.insert(5, 0);
    index.insert(5, 1);
    index.insert(5, 2);
    index.remove(5, 1);
    expect(found(index, 5)).toEqual([0, 2]);
  });

  it('after a removal the rest of a run is found, also a run over the end of the slots', () => {
    // 8 slots: all of these begin at slot 7, 6 or 0.
    const entries = [7, 15, 6, -1, 0].map((hash, record) => ({ hash, record }));
    for (const gone of entries) {
      const index = make(4);
      for (const { hash, record } of entries.slice(0, 4)) index.insert(hash, record);
      index.insert(0, 4);
      index.remove(gone.hash, gone.record);
      for (const { hash, record } of entries)
        expect(found(index, hash).includes(record), `${record} without ${gone.record}`).toBe(
          record !== gone.record,
        );
    }
  });

  it('a replaced record is found no more, and the other one is in its place', () => {
    const index = make(4);
    index.insert(5, 0);
    index.insert(13, 1);
    index.replace(13, 1, 3);
    expect([found(index, 5), found(index, 13)]).toEqual([[0], [3]]);
  });

  it('removing or replacing a record that is not there changes nothing', () => {
    const index = make(4);
    index.insert(5, 0);
    index.remove(5, 1);
    index.remove(6, 2);
    index.replace(5, 2, 3);
    expect(found(index, 5)).toEqual([0]);
  });

  it('an index writes to nothing but its own memory', () => {
    const buffer = new ArrayBuffer(16 + HashIndex.byteLength(4) + 16);
    const index = new HashIndex(buffer, 16, 4);
    for (let record = 0; record < 4; record++) index.insert(-1, record);
    expect(found(new HashIndex(buffer, 16, 4), -1)).toEqual([0, 1, 2, 3]);
    expect(new Uint8Array(buffer, 0, 16).every(byte => byte === 0)).toBe(true);
    expect(new Uint8Array(buffer, 16 + HashIndex.byteLength(4)).every(byte => byte === 0)).toBe(true);
  });
});
