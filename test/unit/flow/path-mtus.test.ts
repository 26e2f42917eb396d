import { describe, expect, it } from 'vitest';
import { PATH_MTU_LIFETIME_MS, PathMtus } from '../../../src/flow/path-mtus.js';
import { int32 } from '../support/wire.js';

const SLOTS = 1024;
const V4 = int32('203.0.113.7');
const V6 = int32('2001:db8::7');

/** One address of as many as a test wants. */
function numbered(i: number): Int32Array {
  return int32(`2001:db8::${(i + 1).toString(16)}`);
}

describe('PathMtus', () => {
  it('no MTU is known of a path that none was told of', () => {
    const mtus = new PathMtus(0x5eed);
    for (const address of [V4, V6, int32('::'), int32('0.0.0.0')]) expect(mtus.get(address, 0, 0)).toBe(0);
  });

  it('the MTU that was told of a path is known, in either family', () => {
    const mtus = new PathMtus(0x5eed);
    mtus.learn(V4, 0, 1400, 0);
    mtus.learn(V6, 0, 1280, 0);
    expect([mtus.get(V4, 0, 5), mtus.get(V6, 0, 5)]).toEqual([1400, 1280]);
    for (const other of [
      '203.0.113.8',
      '2001:db8::8',
      '2001:db9::7',
      '2001:db8:0:1::7',
      '2001:db8::1:0:7',
      '::cb00:7107',
    ])
      expect(mtus.get(int32(other), 0, 5), other).toBe(0);
  });

  it('an address is read at its index in an array', () => {
    const mtus = new PathMtus(0x5eed);
    mtus.learn(int32('192.0.2.1', '203.0.113.7', '192.0.2.2'), 4, 1400, 0);
    expect(mtus.get(int32('192.0.2.1', '192.0.2.2', '203.0.113.7'), 8, 0)).toBe(1400);
    expect(mtus.get(int32('192.0.2.1'), 0, 0)).toBe(0);
  });

  it('the MTU told last holds, smaller or larger', () => {
    const mtus = new PathMtus(0x5eed);
    for (const mtu of [1400, 1280, 1492]) {
      mtus.learn(V6, 0, mtu, 0);
      expect(mtus.get(V6, 0, 0)).toBe(mtu);
    }
  });

  it('an MTU of less than 68 bytes is ignored', () => {
    const mtus = new PathMtus(0x5eed);
    for (const mtu of [0, 1, 67]) mtus.learn(V4, 0, mtu, 0);
    expect(mtus.get(V4, 0, 0)).toBe(0);
    mtus.learn(V4, 0, 68, 0);
    mtus.learn(V4, 0, 67, 1);
    expect(mtus.get(V4, 0, 1)).toBe(68);
  });

  it.each([0, 0x7fffffff - 5, -5])('an MTU holds for ten minutes, from tick %i on', start => {
    const mtus = new PathMtus(0x5eed);
    mtus.learn(V4, 0, 1400, start);
    expect(mtus.get(V4, 0, (start + PATH_MTU_LIFETIME_MS - 1) | 0)).toBe(1400);
    expect(mtus.get(V4, 0, (start + PATH_MTU_LIFETIME_MS) | 0)).toBe(0);
    mtus.learn(V4, 0, 1300, (start + PATH_MTU_LIFETIME_MS) | 0);
    expect(mtus.get(V4, 0, (start + 2 * PATH_MTU_LIFETIME_MS - 1) | 0)).toBe(1300);
  });

  it('an MTU holds for the lifetime that was asked for', () => {
    const mtus = new PathMtus(1, 5000);
    mtus.learn(V6, 0, 1400, 0);
    expect([mtus.get(V6, 0, 4999), mtus.get(V6, 0, 5000)]).toEqual([1400, 0]);
  });

  it('where two paths meet in a slot the older is forgotten, and none gets the other’s MTU', () => {
    const mtus = new PathMtus(0x5eed);
    const total = 5000;
    for (let i = 0; i < total; i++) {
      mtus.learn(numbered(i), 0, 1000 + i, 0);
      expect(mtus.get(numbered(i), 0, 0)).toBe(1000 + i);
    }
    let known = 0;
    for (let i = 0; i < total; i++) {
      const mtu = mtus.get(numbered(i), 0, 0);
      expect([0, 1000 + i]).toContain(mtu);
      if (mtu > 0) known++;
    }
    expect(known).toBeGreaterThan(SLOTS * 0.9);
    expect(known).toBeLessThanOrEqual(SLOTS);
  });

  it('which paths meet in a slot depends on the seed', () => {
    const survivors = [1, 2].map(seed => {
      const mtus = new PathMtus(seed);
      for (let i = 0; i < 2000; i++) mtus.learn(numbered(i), 0, 1400, 0);
      return Array.from({ length: 2000 }, (_, i) => mtus.get(numbered(i), 0, 0)).join();
    });
    expect(survivors[0]).not.toBe(survivors[1]);
  });
});
