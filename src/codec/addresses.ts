/**
 * Addresses as four 32-bit words in an Int32Array, the first the highest, each in host order; IPv4 as ::ffff:a.b.c.d.
 * So one piece of code compares, keeps and puts back both families. An address is given by its array and the index of
 * its first word.
 */
import type { ByteOffset, WordIndex } from './units.js';

export const ADDRESS_WORDS = 4;

/** The third word of an IPv4 address. The first two are 0. */
export const MAPPED = 0x0000ffff;

/** The length of the prefix that all IPv4 addresses have here: an IPv4 prefix /24 is one of 120 bits. */
export const MAPPED_PREFIX_BITS = 96;

/** Reads 4 bytes at `offset`. */
export function readAddress4(view: DataView, offset: ByteOffset, words: Int32Array, at: WordIndex): void {
  words[at] = 0;
  words[at + 1] = 0;
  words[at + 2] = MAPPED;
  words[at + 3] = view.getInt32(offset);
}

/** Reads 16 bytes at `offset`. */
export function readAddress6(view: DataView, offset: ByteOffset, words: Int32Array, at: WordIndex): void {
  words[at] = view.getInt32(offset);
  words[at + 1] = view.getInt32(offset + 4);
  words[at + 2] = view.getInt32(offset + 8);
  words[at + 3] = view.getInt32(offset + 12);
}

/** Whether it is an IPv4 address. */
export function isMapped(words: ArrayLike<number>, at: WordIndex): boolean {
  return words[at + 2] === MAPPED && (words[at] | words[at + 1]) === 0;
}

export function sameAddress(
  a: ArrayLike<number>,
  aAt: WordIndex,
  b: ArrayLike<number>,
  bAt: WordIndex,
): boolean {
  return (
    a[aAt + 3] === b[bAt + 3] && a[aAt] === b[bAt] && a[aAt + 1] === b[bAt + 1] && a[aAt + 2] === b[bAt + 2]
  );
}

export function copyAddress(from: Int32Array, fromAt: WordIndex, to: Int32Array, toAt: WordIndex): void {
  to[toAt] = from[fromAt];
  to[toAt + 1] = from[fromAt + 1];
  to[toAt + 2] = from[fromAt + 2];
  to[toAt + 3] = from[fromAt + 3];
}
