/**
 * Completes checksums and cuts super-packets into their datagrams, for where the kernel does not do it
 * (linux/net/ipv4/udp_offload.c, __udp_gso_segment).
 */
import { complement, sumLongs, sumWords } from '../codec/checksum.js';
import * as ipv4 from '../codec/ipv4.js';
import * as ipv6 from '../codec/ipv6.js';
import type { Packet } from '../codec/packet.js';
import * as udp from '../codec/udp.js';
import type { ByteOffset } from '../codec/units.js';

/** Writes the whole UDP checksum of a packet in `[start, end)`, whose UDP header is at `header`. */
export function completeChecksum(
  view: DataView,
  v6: boolean,
  start: ByteOffset,
  header: ByteOffset,
  end: ByteOffset,
): void {
  const addresses = v6
    ? sumWords(view, start + ipv6.SOURCE, start + ipv6.HEADER)
    : sumWords(view, start + ipv4.SOURCE, start + ipv4.OPTIONS);
  view.setUint16(header + udp.CHECKSUM, 0);
  const sum = sumLongs(view, header, end, addresses + udp.PROTOCOL + end - header);
  view.setUint16(header + udp.CHECKSUM, complement(sum) || 0xffff);
}

/** How many datagrams a super-packet is cut into. */
export function datagramCount(packet: Packet): number {
  return Math.ceil((packet.end - payloadOffset(packet)) / packet.segment);
}

/** The length in bytes of a super-packet's datagram `i`, headers and all. */
export function datagramLength(packet: Packet, i: number): number {
  const { start, end, segment } = packet;
  const payload = payloadOffset(packet);
  return payload - start + Math.min(segment, end - payload - i * segment);
}

/** Writes a super-packet's datagram `i` at `to` in the same buffer, and gives its length in bytes. */
export function writeDatagram(packet: Packet, i: number, to: ByteOffset): number {
  const { bytes, view, v6, start, headerLength, segment, udp: header } = packet;
  const length = datagramLength(packet, i);
  const payload = payloadOffset(packet);
  const headers = payload - start;
  const from = payload + i * segment;
  bytes.copyWithin(to, start, payload);
  bytes.copyWithin(to + headers, from, from + length - headers);
  if (v6) view.setUint16(to + ipv6.PAYLOAD_LENGTH, length - ipv6.HEADER);
  else {
    view.setUint16(to + ipv4.TOTAL_LENGTH, length);
    view.setUint16(to + ipv4.IDENTIFICATION, view.getUint16(to + ipv4.IDENTIFICATION) + i);
    ipv4.writeHeaderChecksum(view, to, headerLength);
  }
  const udpOffset = header - start;
  view.setUint16(to + udpOffset + udp.LENGTH, length - udpOffset);
  completeChecksum(view, v6, to, to + udpOffset, to + length);
  return length;
}

function payloadOffset(packet: Packet): ByteOffset {
  return packet.udp + udp.HEADER;
}
