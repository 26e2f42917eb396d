import { describe, expect, it } from 'vitest';
import { hash3, hash9 } from '../../../src/flow/hash.js';
import { word, words } from '../support/wire.js';

/** The final mixing of lookup3, as its author's text has it, in arithmetic of any size. */
function lookup3(first: number, second: number, third: number, seed: number): number {
  const mask = 0xffff_ffffn;
  const rotate = (value: bigint, by: bigint): bigint => ((value << by) | (value >> (32n - by))) & mask;
  let a = BigInt(first + seed) & mask;
  let b = BigInt(second + seed) & mask;
  let c = BigInt(third + seed) & mask;
  c = ((c ^ b) - rotate(b, 14n)) & mask;
  a = ((a ^ c) - rotate(c, 11n)) & mask;
  b = ((b ^ a) - rotate(a, 25n)) & mask;
  c = ((c ^ b) - rotate(b, 16n)) & mask;
  a = ((a ^ c) - rotate(c, 4n)) & mask;
  b = ((b ^ a) - rotate(a, 14n)) & mask;
  c = ((c ^ b) - rotate(b, 24n)) & mask;
  return Number(BigInt.asIntN(32, c));
}

describe('hash3', () => {
  it('hash3 is the final mixing of lookup3', () => {
    const values = [0, 1, -1, 0x7fffffff, -0x80000000, 0x12345678, word('10.10.1.1')];
    for (const a of values)
      for (const b of values)
        for (const seed of values) expect(hash3(a, b, a ^ b, seed)).toBe(lookup3(a, b, a ^ b, seed));
  });

  it('hash3 spreads the flows of one load balancer, whatever the seed', () => {
    for (const seed of [0, 1, -0x5eed]) {
      const buckets = new Uint32Array(1024);
      for (let port = 0; port < 65536; port++)
        buckets[hash3(word('10.10.1.1'), word('10.10.1.2'), (port << 16) | 53, seed) & 1023]++;
      // 64 each on average; eight standard deviations are 64.
      expect(Math.max(...buckets)).toBeLessThan(128);
      expect(Math.min(...buckets)).toBeGreaterThan(0);
    }
  });

  it('keys that collide do so no longer with another seed', () => {
    const keys: number[] = [];
    for (let port = 0; keys.length < 50; port++) if ((hash3(1, 2, port, 111) & 1023) === 0) keys.push(port);
    const places = new Set(keys.map(port => hash3(1, 2, port, 222) & 1023));
    expect(places.size).toBeGreaterThan(40);
  });
});

describe('hash9', () => {
  const client = words('2001:db8:1:2:3:4:5:6').map(value => value | 0);
  const server = words('fd00:10::53').map(value => value | 0);
  const base = Int32Array.of(0, ...client, 0, ...server);

  it('hash9 depends on every word of both addresses, on the ports and on the seed', () => {
    const seen = new Set([hash9(base, 1, 6, 7, 9), hash9(base, 1, 6, 8, 9), hash9(base, 1, 6, 7, 10)]);
    for (const at of [1, 2, 3, 4, 6, 7, 8, 9]) {
      const other = Int32Array.from(base);
      other[at] ^= 1;
      seen.add(hash9(other, 1, 6, 7, 9));
    }
    expect(seen.size).toBe(11);
  });

  it('hash9 reads nothing but both addresses', () => {
    const other = Int32Array.from(base);
    other[0] = 1;
    other[5] = 1;
    expect(hash9(other, 1, 6, 7, 9)).toBe(hash9(base, 1, 6, 7, 9));
  });
});
