/**
 * UOA on the wire: the option and the `opp` header around it. `ipo` is the option inside the IPv4 header, `dstopt` the
 * same in an IPv6 destination options header, whose length byte does not count itself and the type.
 *
 * Option: code 31, length (8 or 20), client port, client address. Header of `opp`: version << 4, next protocol,
 * length of header plus options (16 bits), then the options. All fields in network order.
 */
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import * as udp from './udp.js';
import { BROKEN, type ByteOffset, type Port } from './units.js';

export const OPTION = 31;
export const OPTION_LENGTH: ByteOffset = 1;
export const OPTION_PORT: ByteOffset = 2;
export const OPTION_ADDRESS: ByteOffset = 4;

/** Bytes of the whole option, for a client of either family. */
export const OPTION_V4 = 8;
export const OPTION_V6 = 20;

/** Type and length, which the length byte of an IPv6 option does not count. */
const DSTOPT_UNCOUNTED = 2;

/** IP protocol (next header) of the `opp` carrier. */
export const OPP_PROTOCOL = 248;
export const OPP_NEXT: ByteOffset = 1;
export const OPP_LENGTH: ByteOffset = 2;
export const OPP_HEADER = 4;
/** `version` of an `opp` header, by the family of the client in it. */
export const OPP_VERSION_V4 = 1;
export const OPP_VERSION_V6 = 2;

/** The offset of the mark among the IPv4 options in `[start, end)`, NONE or BROKEN. */
export function findMark(view: DataView, start: ByteOffset, end: ByteOffset): ByteOffset {
  const option = ipv4.findOption(view, start, end, OPTION);
  if (option < 0) return option;
  return isMarkLength(optionLength(view, option)) ? option : BROKEN;
}

/** The offset of the mark in the destination options header at `header`, NONE or BROKEN. */
export function findMark6(view: DataView, header: ByteOffset): ByteOffset {
  const end = header + ipv6.extensionLength(view, header);
  const option = ipv6.findOption(view, header + ipv6.EXTENSION_OPTIONS, end, OPTION);
  if (option < 0) return option;
  return isMarkLength(dstoptOptionLength(view, option)) ? option : BROKEN;
}

function isMarkLength(bytes: number): boolean {
  return bytes === OPTION_V4 || bytes === OPTION_V6;
}

/** The length in bytes of the whole option at `option`, in `ipo` or `opp`. */
export function optionLength(view: DataView, option: ByteOffset): number {
  return view.getUint8(option + OPTION_LENGTH);
}

/** The length in bytes of the whole option at `option`, in `dstopt`. */
export function dstoptOptionLength(view: DataView, option: ByteOffset): number {
  return view.getUint8(option + OPTION_LENGTH) + DSTOPT_UNCOUNTED;
}

/** The length in bytes of a destination options header around an option of `option` bytes alone. */
export function dstoptLength(option: number): number {
  return (ipv6.EXTENSION_OPTIONS + option + 7) & ~7;
}

/**
 * The length in bytes of the `opp` header with its options at `start`, or 0 if UDP can't be found behind it:
 * shorter than a header, past `end`, another version or another protocol than UDP.
 */
export function oppLength(view: DataView, start: ByteOffset, end: ByteOffset): number {
  if (start + OPP_HEADER > end) return 0;
  const version = view.getUint8(start) >>> 4;
  if (version !== OPP_VERSION_V4 && version !== OPP_VERSION_V6) return 0;
  if (view.getUint8(start + OPP_NEXT) !== udp.PROTOCOL) return 0;
  const length = view.getUint16(start + OPP_LENGTH);
  return length >= OPP_HEADER && start + length <= end ? length : 0;
}

/** A client to be named by a mark. */
export interface Client {
  /** Whether all four words are its IPv6 address; else the last one is its IPv4 address. */
  v6: boolean;
  /** Four 32-bit words, the first the highest. */
  words: ArrayLike<number>;
  port: Port;
}

/** Writes the option for `client` at `offset`, for `ipo` or `opp`, and gives its length in bytes. */
export function writeOption(view: DataView, offset: ByteOffset, client: Client): number {
  const length = client.v6 ? OPTION_V6 : OPTION_V4;
  view.setUint8(offset, OPTION);
  view.setUint8(offset + OPTION_LENGTH, length);
  view.setUint16(offset + OPTION_PORT, client.port);
  for (let word = client.v6 ? 0 : 3, to = offset + OPTION_ADDRESS; word < 4; word++, to += 4)
    view.setInt32(to, client.words[word]);
  return length;
}

/** Writes the option for `client` at `offset`, for `dstopt`, and gives its length in bytes. */
export function writeDstoptOption(view: DataView, offset: ByteOffset, client: Client): number {
  const length = writeOption(view, offset, client);
  view.setUint8(offset + OPTION_LENGTH, length - DSTOPT_UNCOUNTED);
  return length;
}

/** Writes the destination options header around an option of `optionLength` bytes, in front of UDP. */
export function writeDstoptHeader(view: DataView, offset: ByteOffset, optionLength: number): void {
  const length = dstoptLength(optionLength);
  const used = ipv6.EXTENSION_OPTIONS + optionLength;
  view.setUint8(offset + ipv6.EXTENSION_NEXT, udp.PROTOCOL);
  view.setUint8(offset + ipv6.EXTENSION_LENGTH, length / 8 - 1);
  ipv6.writePadding(view, offset + used, length - used);
}

/** Writes an `opp` header for options of `optionLength` bytes at `offset`. */
export function writeOppHeader(view: DataView, offset: ByteOffset, optionLength: number): void {
  const version = optionLength === OPTION_V6 ? OPP_VERSION_V6 : OPP_VERSION_V4;
  view.setUint8(offset, version << 4);
  view.setUint8(offset + OPP_NEXT, udp.PROTOCOL);
  view.setUint16(offset + OPP_LENGTH, OPP_HEADER + optionLength);
}
