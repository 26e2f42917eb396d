/** The IPv6 header and extension headers (RFC 8200). Byte offsets are from their first byte; all fields are in network order. */
import { BROKEN, type ByteOffset, NONE } from './units.js';

export const VERSION_CLASS_FLOW: ByteOffset = 0;
export const PAYLOAD_LENGTH: ByteOffset = 4;
export const NEXT_HEADER: ByteOffset = 6;
export const HOP_LIMIT: ByteOffset = 7;
export const SOURCE: ByteOffset = 8;
export const DESTINATION: ByteOffset = 24;

/** Every path takes packets of this size (RFC 8200, 5). */
export const MIN_PATH_MTU = 1280;

/** Bytes of the header without extension headers. */
export const HEADER = 40;

/** Numbers of extension headers, as the header in front of one names it. */
export const HOP_BY_HOP = 0;
export const ROUTING = 43;
export const FRAGMENT = 44;
export const DESTINATION_OPTIONS = 60;

/** An extension header: the number of the next header, and the length in units of 8 bytes without the first 8. */
export const EXTENSION_NEXT: ByteOffset = 0;
export const EXTENSION_LENGTH: ByteOffset = 1;
/** Where the options of an options header begin. */
export const EXTENSION_OPTIONS: ByteOffset = 2;

/** A fragment header: the offset in the field's upper 13 bits (units of 8 bytes), and the identification (32 bits). */
export const FRAGMENT_FIELD: ByteOffset = 2;
export const FRAGMENT_ID: ByteOffset = 4;
export const FRAGMENT_HEADER = 8;
export const MORE_FRAGMENTS = 0x0001;
export const FRAGMENT_OFFSET = 0xfff8;

const PAD1 = 0;
const PADN = 1;
/** Bytes of an option's type and length, in front of its data. */
const OPTION_HEADER = 2;

/** RFC 4727 experimental option. Its two high bits are 00, so a node that does not know it skips it. */
export const OPTION_EXPERIMENT = 0x1e;

/** The length in bytes of the options or routing header at `header`. */
export function extensionLength(view: DataView, header: ByteOffset): number {
  return (view.getUint8(header + EXTENSION_LENGTH) + 1) * 8;
}

/**
 * Walks the options in `[start, end)` of an options header and gives the offset of the first one of `kind`,
 * NONE, or BROKEN where one reaches past the end. The found one ends inside.
 */
export function findOption(view: DataView, start: ByteOffset, end: ByteOffset, kind: number): ByteOffset {
  for (let offset = start; offset < end; offset = following(view, offset)) {
    const code = view.getUint8(offset);
    if (code === PAD1) continue;
    if (offset + OPTION_HEADER > end || following(view, offset) > end) return BROKEN;
    if (code === kind) return offset;
  }
  return NONE;
}

/**
 * Where the padding begins that reaches up to `option`. The options from `start`, the first, to there must be whole.
 */
export function paddingBefore(view: DataView, start: ByteOffset, option: ByteOffset): ByteOffset {
  let padding = start;
  for (let offset = start; offset < option; ) {
    const isPad = view.getUint8(offset) <= PADN;
    offset = following(view, offset);
    if (!isPad) padding = offset;
  }
  return padding;
}

/** Where the padding ends that begins at `start`; `start` itself if there is none. */
export function paddingBehind(view: DataView, start: ByteOffset, end: ByteOffset): ByteOffset {
  let offset = start;
  while (offset < end && view.getUint8(offset) <= PADN) {
    if (view.getUint8(offset) === PADN && (offset + OPTION_HEADER > end || following(view, offset) > end))
      break;
    offset = following(view, offset);
  }
  return offset;
}

/** Writes padding of `length` bytes. Linux takes up to 7 in a row (ip6_parse_tlv). */
export function writePadding(view: DataView, offset: ByteOffset, length: number): void {
  for (let i = 0; i < length; i++) view.setUint8(offset + i, 0);
  if (length < OPTION_HEADER) return;
  view.setUint8(offset, PADN);
  view.setUint8(offset + 1, length - OPTION_HEADER);
}

/** Where the option at `option` ends. Its length byte must be inside the header. */
function following(view: DataView, option: ByteOffset): ByteOffset {
  return view.getUint8(option) === PAD1 ? option + 1 : option + OPTION_HEADER + view.getUint8(option + 1);
}
