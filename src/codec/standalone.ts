/** Standalone packets: empty UDP datagrams whose only purpose is their mark. An ACK is one of them. */
import { Carrier, carrierLength, writeOption } from './carriers.js';
import { complement, sumWords } from './checksum.js';
import { DESTINATION_AT, SOURCE_AT } from './ip-header.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import type { Packet } from './packet.js';
import * as udp from './udp.js';
import type { ByteOffset, WordIndex } from './units.js';
import * as uoa from './uoa.js';

const HOPS = 64;
const VERSION_6 = 6 << 28;

/**
 * Writes the ACK for a marked packet at `offset` in `out` and gives its length in bytes, MAX_STANDALONE at most: from
 * RIP:rport to LIP:lport in the same carrier, UDP length 8, the option (and the version of `opp`) echoed byte for byte.
 */
export function writeAck(packet: Packet, out: DataView, offset: ByteOffset): number {
  const { view, carrier, optionLength } = packet;
  const option = optionOffset(packet, carrier, offset);
  for (let i = 0; i < optionLength; i++) out.setUint8(option + i, view.getUint8(packet.option + i));
  const end = writeAround(packet, carrier, out, offset, optionLength, DESTINATION_AT);
  if (carrier === Carrier.opp) out.setUint8(option - uoa.OPP_HEADER, view.getUint8(packet.transport));
  return end;
}

/** Names nobody: what an ask has in the place of a client. */
const NOBODY = [false, true].map(v6 => ({ v6, words: [0, 0, 0, 0], port: 0 }));

/**
 * Writes, at `offset` in `out`, the real server's question for the client of a flow, and gives its length in bytes,
 * MAX_STANDALONE at most: from RIP:rport to LIP:lport, UDP length 8, an option whose address and port are 0. `serverAt` says
 * which end of `packet` is the real server, SOURCE_AT or DESTINATION_AT.
 */
export function writeAsk(
  packet: Packet,
  carrier: Carrier,
  serverAt: WordIndex,
  out: DataView,
  offset: ByteOffset,
): number {
  const nobody = NOBODY[packet.v6 ? 1 : 0];
  const optionLength = writeOption(out, optionOffset(packet, carrier, offset), nobody, carrier);
  return writeAround(packet, carrier, out, offset, optionLength, serverAt);
}

/** Writes the answer to an ask, likewise: a standalone that goes back to its sender, and names `client`. */
export function writeAnswer(
  ask: Packet,
  carrier: Carrier,
  client: uoa.Client,
  out: DataView,
  offset: ByteOffset,
): number {
  const optionLength = writeOption(out, optionOffset(ask, carrier, offset), client, carrier);
  return writeAround(ask, carrier, out, offset, optionLength, DESTINATION_AT);
}

/**
 * Writes, at `offset` in `out`, the standalone that goes ahead of `packet` when the mark finds no room in it: same
 * addresses and ports, naming `client`. Gives its length in bytes, MAX_STANDALONE at most.
 */
export function writeStandalone(
  packet: Packet,
  carrier: Carrier,
  client: uoa.Client,
  out: DataView,
  offset: ByteOffset,
): number {
  const optionLength = writeOption(out, optionOffset(packet, carrier, offset), client, carrier);
  return writeAround(packet, carrier, out, offset, optionLength, SOURCE_AT);
}

/** Where the option goes in a standalone of `packet`'s family that begins at `offset`. */
function optionOffset({ v6 }: Packet, carrier: Carrier, offset: ByteOffset): number {
  const headers = offset + (v6 ? ipv6.HEADER : ipv4.MIN_HEADER);
  if (carrier === Carrier.ipo) return headers;
  return headers + (carrier === Carrier.opp ? uoa.OPP_HEADER : ipv6.EXTENSION_OPTIONS);
}

/**
 * Writes all but the option, which is there already: to `packet`'s destination if `from` is SOURCE_AT, back to its source
 * if it is DESTINATION_AT. Gives the length of the whole packet in bytes.
 */
function writeAround(
  packet: Packet,
  carrier: Carrier,
  out: DataView,
  offset: ByteOffset,
  optionLength: number,
  from: WordIndex,
): number {
  const isForward = from === SOURCE_AT;
  const carried = carrierLength(carrier, optionLength);
  const header = packet.v6 ? ipv6.HEADER : ipv4.MIN_HEADER + (carrier === Carrier.ipo ? optionLength : 0);
  const datagram = offset + header + carried;
  const end = datagram + udp.HEADER;

  if (carrier === Carrier.opp) uoa.writeOppHeader(out, offset + header, optionLength);
  if (carrier === Carrier.dstopt) uoa.writeDstoptHeader(out, offset + header, optionLength);
  out.setUint16(datagram + udp.SOURCE_PORT, isForward ? packet.sourcePort : packet.destinationPort);
  out.setUint16(datagram + udp.DESTINATION_PORT, isForward ? packet.destinationPort : packet.sourcePort);
  out.setUint16(datagram + udp.LENGTH, udp.HEADER);
  out.setUint16(datagram + udp.CHECKSUM, 0);

  const to = isForward ? DESTINATION_AT : SOURCE_AT;
  const { addresses } = packet;
  const pseudoHeader = packet.v6
    ? writeIpv6(out, offset, end, nextHeader(carrier), addresses, from, to)
    : writeIpv4(out, offset, end, nextHeader(carrier), header, addresses, from, to);
  const sum = pseudoHeader + udp.PROTOCOL + udp.HEADER;
  out.setUint16(datagram + udp.CHECKSUM, complement(sumWords(out, datagram, end, sum)) || 0xffff);
  return end - offset;
}

function nextHeader(carrier: Carrier): number {
  if (carrier === Carrier.opp) return uoa.OPP_PROTOCOL;
  return carrier === Carrier.dstopt ? ipv6.DESTINATION_OPTIONS : udp.PROTOCOL;
}

/** Writes the fixed header of a packet that ends at `end`, and gives the sum of its addresses. */
function writeIpv4(
  out: DataView,
  offset: ByteOffset,
  end: ByteOffset,
  protocol: number,
  headerLength: number,
  addresses: Int32Array,
  from: WordIndex,
  to: WordIndex,
): number {
  out.setUint8(offset + ipv4.VERSION_IHL, 0x40 | (headerLength >>> 2));
  out.setUint8(offset + ipv4.TOS, 0);
  out.setUint16(offset + ipv4.TOTAL_LENGTH, end - offset);
  // A raw socket fills it in (raw(7)).
  out.setUint16(offset + ipv4.IDENTIFICATION, 0);
  out.setUint16(offset + ipv4.FRAGMENT, ipv4.DONT_FRAGMENT);
  out.setUint8(offset + ipv4.TTL, HOPS);
  out.setUint8(offset + ipv4.PROTOCOL, protocol);
  out.setInt32(offset + ipv4.SOURCE, addresses[from + 3]);
  out.setInt32(offset + ipv4.DESTINATION, addresses[to + 3]);
  ipv4.writeHeaderChecksum(out, offset, headerLength);
  return sumWords(out, offset + ipv4.SOURCE, offset + ipv4.OPTIONS);
}

/** As `writeIpv4`, without options. */
function writeIpv6(
  out: DataView,
  offset: ByteOffset,
  end: ByteOffset,
  next: number,
  addresses: Int32Array,
  from: WordIndex,
  to: WordIndex,
): number {
  out.setUint32(offset + ipv6.VERSION_CLASS_FLOW, VERSION_6);
  out.setUint16(offset + ipv6.PAYLOAD_LENGTH, end - offset - ipv6.HEADER);
  out.setUint8(offset + ipv6.NEXT_HEADER, next);
  out.setUint8(offset + ipv6.HOP_LIMIT, HOPS);
  for (let i = 0; i < 4; i++) {
    out.setInt32(offset + ipv6.SOURCE + i * 4, addresses[from + i]);
    out.setInt32(offset + ipv6.DESTINATION + i * 4, addresses[to + i]);
  }
  return sumWords(out, offset + ipv6.SOURCE, offset + ipv6.HEADER);
}
