/**
 * The seeded hash of a flow's key: lookup3 by Bob Jenkins (2006, public domain), which Linux has as jhash.
 *
 * Clients choose half of a key. The seed keeps them from choosing keys that collide.
 */

import { isMapped } from '../codec/addresses.js';

/** Hash of two addresses of either family at `a` and `b` in `words`, and one word of ports. */
export function hashEnds(words: Int32Array, a: number, b: number, ports: number, seed: number): number {
  return isMapped(words, a) && isMapped(words, b)
    ? hash3(words[a + 3], words[b + 3], ports, seed)
    : hash9(words, a, b, ports, seed);
}

/** Hash of a key of IPv4 addresses: two words of address and one of ports. */
export function hash3(first: number, second: number, third: number, seed: number): number {
  return final((first + seed) | 0, (second + seed) | 0, (third + seed) | 0);
}

/** Hash of nine words: two IPv6 addresses at `a` and `b` in `words`, and one word of ports. */
export function hash9(words: Int32Array, a: number, b: number, ports: number, seed: number): number {
  const first = hash3(words[a], words[a + 1], words[a + 2], seed);
  const second = hash3(words[a + 3], words[b], words[b + 1], first);
  return hash3(words[b + 2], words[b + 3], ports, second);
}

/** The final mixing of three words, with its rotations written out: V8 inlines this as one function instead of eight. */
function final(a: number, b: number, c: number): number {
  c = ((c ^ b) - ((b << 14) | (b >>> 18))) | 0;
  a = ((a ^ c) - ((c << 11) | (c >>> 21))) | 0;
  b = ((b ^ a) - ((a << 25) | (a >>> 7))) | 0;
  c = ((c ^ b) - ((b << 16) | (b >>> 16))) | 0;
  a = ((a ^ c) - ((c << 4) | (c >>> 28))) | 0;
  b = ((b ^ a) - ((a << 14) | (a >>> 18))) | 0;
  return ((c ^ b) - ((b << 24) | (b >>> 8))) | 0;
}
