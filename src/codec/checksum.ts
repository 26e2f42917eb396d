/**
 * The Internet checksum: RFC 1071 for whole ranges, RFC 1624 for changes.
 *
 * A "sum" here is a plain 32-bit accumulator of 16-bit words; `fold` brings it to 16 bits.
 */
import type { ByteOffset } from './units.js';

/**
 * Adds the big-endian 16-bit words of `[start, end)` to `sum`; an odd last byte counts as the high half.
 * Up to 65535 bytes and a 16-bit start value stay below 2^32.
 */
export function sumWords(view: DataView, start: ByteOffset, end: ByteOffset, sum = 0): number {
  let total = sum;
  let offset = start;
  for (; offset + 1 < end; offset += 2) total += view.getUint16(offset);
  if (offset < end) total += view.getUint8(offset) << 8;
  return total;
}

/** The same sum as `sumWords` gives, folded: faster for payloads, of up to 65535 bytes. */
export function sumLongs(view: DataView, start: ByteOffset, end: ByteOffset, sum = 0): number {
  // Integers up to 2^53 are exact, so nothing needs to be folded on the way.
  let total = sum;
  let offset = start;
  for (; offset + 3 < end; offset += 4) total += view.getUint32(offset);
  const high = Math.floor(total / 2 ** 32);
  return fold(sumWords(view, offset, end, fold(high) + fold(total >>> 0)));
}

/** A 32-bit accumulator as a 16-bit ones-complement sum. */
export function fold(sum: number): number {
  const once = (sum >>> 16) + (sum & 0xffff);
  return (once >>> 16) + (once & 0xffff);
}

/** The checksum field for a sum: its complement. */
export function complement(sum: number): number {
  return ~fold(sum) & 0xffff;
}

/** What replacing one 16-bit word adds to a sum (RFC 1624: `~m + m'`). */
export function wordChange(before: number, after: number): number {
  return (~before & 0xffff) + (after & 0xffff);
}

/** What replacing one 32-bit word adds to a sum. */
export function longChange(before: number, after: number): number {
  return (~before & 0xffff) + (~before >>> 16) + (after & 0xffff) + (after >>> 16);
}

/** A checksum field after a change (RFC 1624, equation 3, which never turns a right sum into a wrong zero). */
export function applyChange(checksum: number, change: number): number {
  return ~fold((~checksum & 0xffff) + change) & 0xffff;
}

/**
 * A UDP checksum after a change. 0 means "none" and stays (RFC 768); a computed 0 is sent as 0xffff.
 */
export function applyUdpChange(checksum: number, change: number): number {
  if (checksum === 0) return 0;
  return applyChange(checksum, change) || 0xffff;
}
