import { describe, expect, it } from 'vitest';
import { FragmentTable } from '../../src/flow/fragments.js';

const LIFETIME = 30_000;

function find(table: FragmentTable, key: [number, number, number], now: number): [number, number] | null {
  return table.find(...key, now) ? [table.newSource, table.newDestination] : null;
}

describe('FragmentTable', () => {
  it('finds nothing in an empty table', () => {
    const table = new FragmentTable(1);
    for (const now of [0, -1, 0x7fffffff]) expect(find(table, [0, 0, 0], now)).toBeNull();
  });

  it('finds what it was told', () => {
    const table = new FragmentTable(1);
    table.remember(1, 2, 3, 10, 20, 1000);
    table.remember(-1, -2, -3, -10, -20, 1000);
    expect(find(table, [1, 2, 3], 1000)).toEqual([10, 20]);
    expect(find(table, [-1, -2, -3], 1000)).toEqual([-10, -20]);
  });

  it('tells keys apart by every part', () => {
    const table = new FragmentTable(1);
    table.remember(1, 2, 3, 10, 20, 0);
    for (const key of [
      [9, 2, 3],
      [1, 9, 3],
      [1, 2, 9],
      [2, 1, 3],
    ] as [number, number, number][])
      expect(find(table, key, 0)).toBeNull();
  });

  it('has the newest for a key', () => {
    const table = new FragmentTable(1);
    for (let i = 0; i < 10; i++) table.remember(1, 2, 3, i, -i, i);
    expect(find(table, [1, 2, 3], 10)).toEqual([9, -9]);
  });

  it.each([0, 0x7fffffff - 5, -5])('forgets after 30 s, from tick %i on', start => {
    const table = new FragmentTable(1);
    table.remember(1, 2, 3, 10, 20, start);
    expect(find(table, [1, 2, 3], start | 0)).toEqual([10, 20]);
    expect(find(table, [1, 2, 3], (start + LIFETIME - 1) | 0)).toEqual([10, 20]);
    expect(find(table, [1, 2, 3], (start + LIFETIME) | 0)).toBeNull();
    table.remember(1, 2, 3, 11, 21, (start + LIFETIME) | 0);
    expect(find(table, [1, 2, 3], (start + 2 * LIFETIME - 1) | 0)).toEqual([11, 21]);
  });

  it('is bounded: the older gives way, never the last two of a place, and no answer is a wrong one', () => {
    const table = new FragmentTable(0x5eed);
    const total = 20_000;
    for (let i = 0; i < total; i++) {
      table.remember(i, -i, i * 7, i + 1, i + 2, i >>> 6);
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

  it('with another seed, other keys give way', () => {
    const survivors = [1, 2].map(seed => {
      const table = new FragmentTable(seed);
      for (let i = 0; i < 9000; i++) table.remember(i, 0, 0, 0, 0, i >>> 6);
      return Array.from({ length: 9000 }, (_, i) => table.find(i, 0, 0, 9000 >>> 6)).join();
    });
    expect(survivors[0]).not.toBe(survivors[1]);
  });
});
