/**
 * A UDP packet of one family as one of the other (RFC 7915), in place: for clients of the other family than the
 * service's network (NAT64). IP options and extension headers don't come along; class, hops and payload do.
 *
 * `words` holds the new source and destination from `at` on: eight words.
 */
import { ADDRESS_WORDS } from './addresses.js';
import { applyChange, complement, fold, longChange, sumWords } from './checksum.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import { Checksum, Kind, type Packet } from './packet.js';
import * as udp from './udp.js';
import { NONE, type WordIndex } from './units.js';

const PAIR_WORDS = 2 * ADDRESS_WORDS;

/** Up to here IPv6 takes every packet, so one of that size need not ask for not being fragmented (RFC 7915, 5.1). */
const ALWAYS_FRAGMENTABLE = 1260;

/** Bytes by which a packet grows at most on its way to IPv6, a fragment header included. */
export const GROWTH = ipv6.HEADER + ipv6.FRAGMENT_HEADER - ipv4.MIN_HEADER;

/** By how many it shrinks on its way to IPv4. */
export const SHRINKAGE = ipv6.HEADER - ipv4.MIN_HEADER;

/**
 * Makes an IPv4 packet one of IPv6; false if it can't be. IPv6 wants a UDP checksum, and that of one fragment alone can't
 * be made.
 */
export function toIpv6(packet: Packet, words: Int32Array, at: WordIndex): boolean {
  const { view, transport } = packet;
  if (hasPorts(packet) && !writeChecksum(packet, words, at)) return false;
  const { start } = packet;
  const tos = view.getUint8(start + ipv4.TOS);
  const hops = view.getUint8(start + ipv4.TTL);
  const id = view.getUint16(start + ipv4.IDENTIFICATION);
  const fragment = view.getUint16(start + ipv4.FRAGMENT);
  const fragmentHeader = packet.fragmented ? transport - ipv6.FRAGMENT_HEADER : NONE;
  const to = (packet.fragmented ? fragmentHeader : transport) - ipv6.HEADER;

  if (packet.fragmented) {
    const isMore = (fragment & ipv4.MORE_FRAGMENTS) === 0 ? 0 : ipv6.MORE_FRAGMENTS;
    view.setUint16(fragmentHeader, packet.protocol << 8);
    view.setUint16(fragmentHeader + ipv6.FRAGMENT_FIELD, ((fragment & ipv4.FRAGMENT_OFFSET) << 3) | isMore);
    view.setUint32(fragmentHeader + ipv6.FRAGMENT_ID, id);
  }
  view.setUint32(to, ((6 << 28) | (tos << 20)) >>> 0);
  view.setUint16(to + ipv6.PAYLOAD_LENGTH, packet.end - to - ipv6.HEADER);
  view.setUint8(to + ipv6.NEXT_HEADER, packet.fragmented ? ipv6.FRAGMENT : packet.protocol);
  view.setUint8(to + ipv6.HOP_LIMIT, hops);
  for (let i = 0; i < PAIR_WORDS; i++) view.setInt32(to + ipv6.SOURCE + i * 4, words[at + i]);

  packet.v6 = true;
  packet.start = to;
  packet.fragmentHeader = fragmentHeader;
  packet.protocolOffset = packet.fragmented ? fragmentHeader : to + ipv6.NEXT_HEADER;
  for (let i = 0; i < PAIR_WORDS; i++) packet.addresses[i] = words[at + i];
  return true;
}

/** Makes an IPv6 packet one of IPv4, which is always possible. */
export function toIpv4(packet: Packet, words: Int32Array, at: WordIndex): void {
  const { view, transport, start, fragmentHeader, hasFragmentHeader } = packet;
  if (hasPorts(packet)) writeChecksum(packet, words, at);
  const tos = (view.getUint16(start) >>> 4) & 0xff;
  const hops = view.getUint8(start + ipv6.HOP_LIMIT);
  const field = hasFragmentHeader ? view.getUint16(fragmentHeader + ipv6.FRAGMENT_FIELD) : 0;
  const id = hasFragmentHeader ? view.getUint16(fragmentHeader + ipv6.FRAGMENT_ID + 2) : 0;
  // A later fragment whose datagram had a mark in front of UDP names the mark's header instead.
  packet.protocol = udp.PROTOCOL;
  const to = transport - ipv4.MIN_HEADER;
  const length = packet.end - to;
  const isMore = (field & ipv6.MORE_FRAGMENTS) === 0 ? 0 : ipv4.MORE_FRAGMENTS;
  const sent = packet.isSuperPacket ? ipv4.MIN_HEADER + udp.HEADER + packet.segment : length;
  const isBig = !hasFragmentHeader && sent > ALWAYS_FRAGMENTABLE;

  view.setUint8(to + ipv4.VERSION_IHL, 0x45);
  view.setUint8(to + ipv4.TOS, tos);
  view.setUint16(to + ipv4.TOTAL_LENGTH, length);
  view.setUint16(to + ipv4.IDENTIFICATION, id);
  view.setUint16(to + ipv4.FRAGMENT, isBig ? ipv4.DONT_FRAGMENT : (field >>> 3) | isMore);
  view.setUint8(to + ipv4.TTL, hops);
  view.setUint8(to + ipv4.PROTOCOL, packet.protocol);
  view.setInt32(to + ipv4.SOURCE, words[at + 3]);
  view.setInt32(to + ipv4.DESTINATION, words[at + ADDRESS_WORDS + 3]);
  ipv4.writeHeaderChecksum(view, to, ipv4.MIN_HEADER);

  packet.v6 = false;
  packet.start = to;
  packet.fragmentHeader = NONE;
  packet.optionsHeader = NONE;
  packet.optionsNumberOffset = NONE;
  packet.protocolOffset = to + ipv4.PROTOCOL;
  for (let i = 0; i < PAIR_WORDS; i++) packet.addresses[i] = words[at + i];
}

/** A later fragment has no UDP header, and so no checksum. */
function hasPorts(packet: Packet): boolean {
  return packet.kind === Kind.udp;
}

/**
 * Writes the UDP checksum for other addresses; false if there was none, and none can be made. The words in front of an
 * IPv4 address among its four, 0 and 0xffff, add nothing to a sum of 16-bit words.
 */
function writeChecksum(packet: Packet, words: Int32Array, at: WordIndex): boolean {
  const { view, udp: header, addresses } = packet;
  const checksum = view.getUint16(header + udp.CHECKSUM);
  const isPartial = packet.checksum === Checksum.partial;
  if (checksum !== 0 || isPartial) {
    let change = 0;
    for (let i = 0; i < PAIR_WORDS; i++) change += longChange(addresses[i], words[at + i]);
    const changed = isPartial ? fold(checksum + change) : applyChange(checksum, change) || 0xffff;
    view.setUint16(header + udp.CHECKSUM, changed);
    return true;
  }
  if (packet.fragmented) return false;
  const length = view.getUint16(header + udp.LENGTH);
  let sum = udp.PROTOCOL + length;
  for (let i = 0; i < PAIR_WORDS; i++) sum += (words[at + i] >>> 16) + (words[at + i] & 0xffff);
  view.setUint16(
    header + udp.CHECKSUM,
    complement(sumWords(view, header, header + length, fold(sum))) || 0xffff,
  );
  return true;
}
