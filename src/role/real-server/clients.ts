/** Addresses that no client can have: packets from them would be dropped, or answered to the wrong host (PROTOCOL: RS 8). */
import { isMapped } from '../../codec/addresses.js';
import type { WordIndex } from '../../codec/units.js';

/** `v6` is whether the mark has an IPv6 address: ::ffff:a.b.c.d is no client's on the wire. */
export function isImpossible(words: Int32Array, at: WordIndex, v6: boolean): boolean {
  if (isMapped(words, at)) return v6 || isImpossible4(words[at + 3]);
  return isImpossible6(words, at);
}

/** 0.0.0.0/8, loopback, multicast and broadcast (RFC 1122, 3.2.1.3). */
function isImpossible4(address: number): boolean {
  const first = address >>> 24;
  return first === 0 || first === 127 || first >>> 4 === 14 || address === -1;
}

/** ::, ::1, multicast, and link-local addresses, which mean another host on each link (RFC 4291). */
function isImpossible6(words: Int32Array, at: WordIndex): boolean {
  const first = words[at] >>> 16;
  if (first >>> 8 === 0xff || first >>> 6 === 0xfe80 >>> 6) return true;
  return (words[at] | words[at + 1] | words[at + 2]) === 0 && words[at + 3] >>> 0 <= 1;
}
