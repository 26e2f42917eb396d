/**
 * Addresses as four 32-bit words in an Int32Array, the first the highest; IPv4 as ::ffff:a.b.c.d. So one piece of code
 * compares, keeps and puts back both families. `at` is always the index of the first of the four.
 */

export const ADDRESS_WORDS = 4;

/** The third word of an IPv4 address. */
const MAPPED = 0x0000ffff;

/** Reads 4 bytes, an IPv4 address. */
export function readAddress4(view: DataView, offset: number, words: Int32Array, at: number): void {
  words[at] = 0;
  words[at + 1] = 0;
  words[at + 2] = MAPPED;
  words[at + 3] = view.getInt32(offset);
}

/** Reads 16 bytes, an IPv6 address. */
export function readAddress6(view: DataView, offset: number, words: Int32Array, at: number): void {
  words[at] = view.getInt32(offset);
  words[at + 1] = view.getInt32(offset + 4);
  words[at + 2] = view.getInt32(offset + 8);
  words[at + 3] = view.getInt32(offset + 12);
}

/** Whether the four words are an IPv4 address. */
export function isMapped(words: ArrayLike<number>, at: number): boolean {
  return words[at + 2] === MAPPED && (words[at] | words[at + 1]) === 0;
}

export function sameAddress(a: ArrayLike<number>, i: number, b: ArrayLike<number>, k: number): boolean {
  return a[i + 3] === b[k + 3] && a[i] === b[k] && a[i + 1] === b[k + 1] && a[i + 2] === b[k + 2];
}

export function copyAddress(from: Int32Array, i: number, to: Int32Array, k: number): void {
  to[k] = from[i];
  to[k + 1] = from[i + 1];
  to[k + 2] = from[i + 2];
  to[k + 3] = from[i + 3];
}
