import { describe, expect, it } from 'vitest';
import { NONE } from '../../../src/codec/units.js';
import { FragmentTable } from '../../../src/flow/fragments.js';
import { int32 } from '../support/wire.js';

const LIFETIME = 30_000;

/** Source and destination, of which each word is one that the others tell of. */
function pair(source: number, destination: number): Int32Array {
  return Int32Array.of(0, 0, 0xffff, source, 0, 0, 0xffff, destination);
}

type Key = [source: number, destination: number, id: number];

function remember(table: FragmentTable, key: Key, after: [number, number], now: number, removed = 0): void {
  table.remember(pair(key[0], key[1]), key[2], pair(...after), removed, now);
}

function find(table: FragmentTable, [source, destination, id]: Key, now: number): [number, number] | null {
  const entry = table.find(pair(source, destination), id, now);
  if (entry === NONE) return null;
  const at = table.addressesAt(entry);
  return [table.words[at + 3], table.words[at + 7]];
}

/** All eight words that the first fragment's addresses have become, or undefined. */
function findWords(table: FragmentTable, addresses: Int32Array, id: number, now: number) {
  const entry = table.find(addresses, id, now);
  if (entry === NONE) return undefined;
  const at = table.addressesAt(entry);
  return [...table.words.slice(at, at + 8)];
}

describe('the table of first fragments', () => {
  it('an empty table finds no first fragment', () => {
    const table = new FragmentTable(1);
    for (const now of [0, -1, 0x7fffffff]) {
      expect(find(table, [0, 0, 0], now)).toBeNull();
      expect(table.find(new Int32Array(8), 0, now)).toBe(NONE);
    }
  });

  it('a fragment finds the addresses that its first one has become', () => {
    const table = new FragmentTable(1);
    remember(table, [1, 2, 3], [10, 20], 1000);
    remember(table, [-1, -2, -3], [-10, -20], 1000);
    expect(find(table, [1, 2, 3], 1000)).toEqual([10, 20]);
    expect(find(table, [-1, -2, -3], 1000)).toEqual([-10, -20]);
  });

  it('a fragment with another source, destination or id finds nothing', () => {
    const table = new FragmentTable(1);
    remember(table, [1, 2, 3], [10, 20], 0);
    for (const key of [
      [9, 2, 3],
      [1, 9, 3],
      [1, 2, 9],
      [2, 1, 3],
    ] as [number, number, number][])
      expect(find(table, key, 0)).toBeNull();
  });

  it('a fragment whose IPv6 addresses differ in any word finds nothing', () => {
    const table = new FragmentTable(1);
    const before = int32('2001:db8:1:2:3:4:5:6', 'fd00:1:2:3:4:5:6:7');
    const after = int32('2001:db8::7', 'fd00::9');
    table.remember(before, -5, after, 24, 0);
    expect(findWords(table, before, -5, 0)).toEqual([...after]);
    expect(table.removed(table.find(before, -5, 0))).toBe(24);
    for (let i = 0; i < 8; i++) {
      const other = before.slice();
      other[i] ^= 1;
      expect(table.find(other, -5, 0), `word ${i}`).toBe(NONE);
    }
    expect(table.find(before, -6, 0)).toBe(NONE);
  });

  it('a first fragment may have become one of the other family', () => {
    const table = new FragmentTable(1);
    const six = int32('2001:db8::1', '2001:db8::2');
    const four = int32('192.0.2.1', '192.0.2.2');
    table.remember(six, 1, four, 0, 0);
    table.remember(four, 1, six, 0, 0);
    expect(findWords(table, six, 1, 0)).toEqual([...four]);
    expect(findWords(table, four, 1, 0)).toEqual([...six]);
  });

  it('each first fragment has its own count of removed bytes', () => {
    const table = new FragmentTable(1);
    remember(table, [1, 2, 3], [10, 20], 0, 16);
    remember(table, [1, 2, 4], [10, 20], 0, 24);
    remember(table, [1, 2, 5], [10, 20], 0);
    const removed = (id: number) => table.removed(table.find(pair(1, 2), id, 0));
    expect([3, 4, 5].map(removed)).toEqual([16, 24, 0]);
    remember(table, [1, 2, 3], [10, 20], 0, 0);
    expect(removed(3)).toBe(0);
  });

  it('of two first fragments with the same key the later one is found', () => {
    const table = new FragmentTable(1);
    for (let i = 0; i < 10; i++) remember(table, [1, 2, 3], [i, -i], i);
    expect(find(table, [1, 2, 3], 10)).toEqual([9, -9]);
  });

  it.each([0, 0x7fffffff - 5, -5])('a first fragment is found for 30 s, from tick %i on', start => {
    const table = new FragmentTable(1);
    remember(table, [1, 2, 3], [10, 20], start);
    expect(find(table, [1, 2, 3], start | 0)).toEqual([10, 20]);
    expect(find(table, [1, 2, 3], (start + LIFETIME - 1) | 0)).toEqual([10, 20]);
    expect(find(table, [1, 2, 3], (start + LIFETIME) | 0)).toBeNull();
    remember(table, [1, 2, 3], [11, 21], (start + LIFETIME) | 0);
    expect(find(table, [1, 2, 3], (start + 2 * LIFETIME - 1) | 0)).toEqual([11, 21]);
  });

  it('a full table forgets the older of two in a place, and never gives another’s addresses', () => {
    const table = new FragmentTable(0x5eed);
    const total = 20_000;
    for (let i = 0; i < total; i++) {
      remember(table, [i, -i, i * 7], [i + 1, i + 2], i >>> 6);
      expect(find(table, [i, -i, i * 7], i >>> 6)).toEqual([i + 1, i + 2]);
      if (i > 0) {
        const last = i - 1;
        expect(find(table, [last, -last, last * 7], i >>> 6)).toEqual([last + 1, last + 2]);
      }
    }
    let found = 0;
    let recent = 0;
    for (let i = 0; i < total; i++) {
      const answer = find(table, [i, -i, i * 7], total >>> 6);
      if (answer === null) continue;
      expect(answer).toEqual([i + 1, i + 2]);
      found++;
      if (i >= total - 1000) recent++;
    }
    expect(found).toBeGreaterThan(3500);
    expect(found).toBeLessThanOrEqual(4096);
    expect(recent).toBeGreaterThan(930);
  });

  it('which ones a full table forgets depends on the seed', () => {
    const survivors = [1, 2].map(seed => {
      const table = new FragmentTable(seed);
      for (let i = 0; i < 9000; i++) remember(table, [i, 0, 0], [0, 0], i >>> 6);
      return Array.from({ length: 9000 }, (_, i) => table.find(pair(i, 0), 0, 9000 >>> 6) === NONE).join();
    });
    expect(survivors[0]).not.toBe(survivors[1]);
  });
});
