import { BROKEN, type ByteOffset, NONE } from './units.js';

/** IPv6 header and extension headers (RFC 8200): byte offsets from their first byte; all fields in network order. */
export const VERSION_CLASS_FLOW = 0;
export const PAYLOAD_LENGTH = 4;
export const NEXT_HEADER = 6;
export const HOP_LIMIT = 7;
export const SOURCE = 8;
export const DESTINATION = 24;

/** Every path takes packets of this size (RFC 8200, 5). */
export const MIN_PATH_MTU = 1280;

/** The fixed header. */
export const HEADER = 40;

/** Extension headers, by their numbers as next headers. */
export const HOP_BY_HOP = 0;
export const ROUTING = 43;
export const FRAGMENT = 44;
export const DESTINATION_OPTIONS = 60;

/** Of an extension header: its next header, and its length in units of 8 bytes without the first 8. */
export const EXTENSION_NEXT = 0;
export const EXTENSION_LENGTH = 1;
/** Where the options of an options header begin. */
export const EXTENSION_OPTIONS = 2;

/** Of a fragment header: the offset in its upper 13 bits (units of 8 bytes), and the identification (32 bits). */
export const FRAGMENT_FIELD = 2;
export const FRAGMENT_ID = 4;
export const FRAGMENT_HEADER = 8;
export const MORE_FRAGMENTS = 0x0001;
export const FRAGMENT_OFFSET = 0xfff8;

const PAD1 = 0;
const PADN = 1;
/** Type and length of an option: its data comes behind. */
const OPTION_HEADER = 2;

/** RFC 4727 experimental option. Its two high bits are 00, so a node that does not know it skips it. */
export const OPTION_EXPERIMENT = 0x1e;

/** The length in bytes of an options or routing header at `offset`. */
export function extensionLength(view: DataView, offset: number): number {
  return (view.getUint8(offset + EXTENSION_LENGTH) + 1) * 8;
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
 * Where the padding begins that reaches up to the option at `option`, whose header's options begin at `start`. All
 * options up to there are known to be whole.
 */
export function paddingBefore(view: DataView, start: number, option: number): number {
  let padding = start;
  for (let offset = start; offset < option; ) {
    const isPad = view.getUint8(offset) <= PADN;
    offset = following(view, offset);
    if (!isPad) padding = offset;
  }
  return padding;
}

/** Where the padding ends that begins at `start`. */
export function paddingBehind(view: DataView, start: number, end: number): number {
  let offset = start;
  while (offset < end && view.getUint8(offset) <= PADN) {
    if (view.getUint8(offset) === PADN && (offset + OPTION_HEADER > end || following(view, offset) > end))
      break;
    offset = following(view, offset);
  }
  return offset;
}

/** Writes padding of `length` bytes. Linux takes up to 7 in a row (ip6_parse_tlv). */
export function writePadding(view: DataView, offset: number, length: number): void {
  for (let i = 0; i < length; i++) view.setUint8(offset + i, 0);
  if (length < OPTION_HEADER) return;
  view.setUint8(offset, PADN);
  view.setUint8(offset + 1, length - OPTION_HEADER);
}

/** Where the option at `offset` ends, its length byte being inside. */
function following(view: DataView, offset: number): number {
  return view.getUint8(offset) === PAD1 ? offset + 1 : offset + OPTION_HEADER + view.getUint8(offset + 1);
}
