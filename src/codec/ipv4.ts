/** The IPv4 header (RFC 791). Byte offsets are from its first byte; all fields are in network order. */
import { complement, sumWords } from './checksum.js';
import { BROKEN, type ByteOffset, NONE } from './units.js';

export const VERSION_IHL: ByteOffset = 0;
export const TOS: ByteOffset = 1;
export const TOTAL_LENGTH: ByteOffset = 2;
export const IDENTIFICATION: ByteOffset = 4;
export const FRAGMENT: ByteOffset = 6;
export const TTL: ByteOffset = 8;
export const PROTOCOL: ByteOffset = 9;
export const CHECKSUM: ByteOffset = 10;
export const SOURCE: ByteOffset = 12;
export const DESTINATION: ByteOffset = 16;
export const OPTIONS: ByteOffset = 20;

/** Linux takes no path's MTU to be smaller (net.ipv4.route.min_pmtu), so every path takes packets of this size. */
export const MIN_PATH_MTU = 552;

export const MIN_HEADER = 20;
export const MAX_HEADER = 60;

/** Bits of the FRAGMENT field; the offset counts units of 8 bytes. */
export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
export const FRAGMENT_OFFSET = 0x1fff;

const OPTION_END = 0;
export const OPTION_NOP = 1;

/**
 * Walks IP options in `[start, end)` and gives the offset of the first one of `kind`, NONE, or BROKEN where an option
 * before it has a length below 2 or reaches past the end. The found option's own length byte is inside the range and at
 * least 2, and it ends inside too.
 */
export function findOption(view: DataView, start: ByteOffset, end: ByteOffset, kind: number): ByteOffset {
  let offset = start;
  while (offset < end) {
    const code = view.getUint8(offset);
    if (code === OPTION_END) return NONE;
    if (code === OPTION_NOP) {
      offset += 1;
      continue;
    }
    if (offset + 2 > end) return BROKEN;
    const length = view.getUint8(offset + 1);
    if (length < 2 || offset + length > end) return BROKEN;
    if (code === kind) return offset;
    offset += length;
  }
  return NONE;
}

/** Writes the header checksum of a header of `length` bytes at `start`. */
export function writeHeaderChecksum(view: DataView, start: ByteOffset, length: number): void {
  view.setUint16(start + CHECKSUM, 0);
  view.setUint16(start + CHECKSUM, complement(sumWords(view, start, start + length)));
}
