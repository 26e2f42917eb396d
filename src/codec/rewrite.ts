/**
 * Changes to a packet in place: other addresses and ports, another hop limit.
 *
 * Everything here works on a `Packet` that was parsed as UDP (as a fragment, for addresses alone; as an error, for what
 * it quotes) and keeps it valid: checksums stay right. Addresses are four words (addresses.ts) at an index.
 */
import { ADDRESS_WORDS, copyAddress } from './addresses.js';
import { applyChange, applyUdpChange, fold, longChange, wordChange } from './checksum.js';
import * as icmp from './icmp.js';
import { DESTINATION_AT, type IpHeader, SOURCE_AT } from './ip-header.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import { Checksum, type Packet } from './packet.js';
import * as udp from './udp.js';

/** Gives back the hop that forwarding the packet to the TUN took. A packet that has the most hops already keeps them. */
export function restoreHop(packet: Packet): void {
  const { view, start, v6 } = packet;
  const at = start + (v6 ? ipv6.HOP_LIMIT : ipv4.TTL);
  const hops = view.getUint8(at);
  if (hops === 0xff) return;
  view.setUint8(at, hops + 1);
  if (!v6) changeHeaderChecksum(view, start, 0x0100);
}

/** Gives the packet another source; the port too, with UDP's checksum. */
export function setSource(packet: Packet, words: Int32Array, at: number, port: number): void {
  const change = replaceAddress(packet.view, packet, SOURCE_AT, words, at);
  replacePort(packet, udp.SOURCE_PORT, port, change);
}

/** Gives the packet another destination; the port too, with UDP's checksum. */
export function setDestination(packet: Packet, words: Int32Array, at: number, port: number): void {
  const change = replaceAddress(packet.view, packet, DESTINATION_AT, words, at);
  replacePort(packet, udp.DESTINATION_PORT, port, change);
}

/** Gives a later fragment, which has no ports, another source and destination: eight words. */
export function setFragmentAddresses(packet: Packet, words: Int32Array, at: number): void {
  replaceAddress(packet.view, packet, SOURCE_AT, words, at);
  replaceAddress(packet.view, packet, DESTINATION_AT, words, at + ADDRESS_WORDS);
}

/** Moves an IPv6 fragment by `bytes` (a multiple of 8) to the front of its datagram. */
export function moveFragment(packet: Packet, bytes: number): void {
  const at = packet.fragmentHeader + ipv6.FRAGMENT_FIELD;
  packet.view.setUint16(at, packet.view.getUint16(at) - bytes);
}

/** Gives the datagram that an error quotes another source, with all checksums. */
export function setQuotedSource(packet: Packet, words: Int32Array, at: number, port: number): void {
  replaceQuoted(packet, SOURCE_AT, udp.SOURCE_PORT, words, at, port);
}

/** Gives the datagram that an error quotes another destination, with all checksums. */
export function setQuotedDestination(packet: Packet, words: Int32Array, at: number, port: number): void {
  replaceQuoted(packet, DESTINATION_AT, udp.DESTINATION_PORT, words, at, port);
}

/** Gives an error another destination. IPv6's ICMP checksum covers it (RFC 4443, 2.3), IPv4's does not. */
export function setErrorDestination(packet: Packet, words: Int32Array, at: number): void {
  const change = replaceAddress(packet.view, packet, DESTINATION_AT, words, at);
  if (packet.v6) changeIcmpChecksum(packet, change);
}

function replaceQuoted(
  packet: Packet,
  end: number,
  portField: number,
  words: Int32Array,
  at: number,
  port: number,
): void {
  const { view, quoted } = packet;
  const header = quoted.udp;
  const ipChecksumAt = quoted.start + ipv4.CHECKSUM;
  const udpChecksumAt = header + udp.CHECKSUM;
  const ipChecksum = quoted.v6 ? 0 : view.getUint16(ipChecksumAt);
  const udpChecksum = view.getUint16(udpChecksumAt);
  const addressChange = replaceAddress(view, quoted, end, words, at);
  const portChange = wordChange(view.getUint16(header + portField), port);
  view.setUint16(header + portField, port);
  view.setUint16(udpChecksumAt, applyUdpChange(udpChecksum, addressChange + portChange));
  const checksumChange = wordChange(udpChecksum, view.getUint16(udpChecksumAt));
  const headerChange = quoted.v6 ? 0 : wordChange(ipChecksum, view.getUint16(ipChecksumAt));
  changeIcmpChecksum(packet, addressChange + portChange + checksumChange + headerChange);
}

/** Replaces one end of a header, with IPv4's checksum, and gives what that adds to a sum over the addresses. */
function replaceAddress(
  view: DataView,
  header: IpHeader,
  end: number,
  words: Int32Array,
  at: number,
): number {
  const { addresses } = header;
  const change = header.v6
    ? writeAddress6(view, header, end, words, at)
    : writeAddress4(view, header, end, words, at);
  copyAddress(words, at, addresses, end);
  return change;
}

function writeAddress4(view: DataView, header: IpHeader, end: number, words: Int32Array, at: number): number {
  const change = longChange(header.addresses[end + 3], words[at + 3]);
  view.setInt32(header.start + (end === SOURCE_AT ? ipv4.SOURCE : ipv4.DESTINATION), words[at + 3]);
  changeHeaderChecksum(view, header.start, change);
  return change;
}

function writeAddress6(view: DataView, header: IpHeader, end: number, words: Int32Array, at: number): number {
  const offset = header.start + (end === SOURCE_AT ? ipv6.SOURCE : ipv6.DESTINATION);
  let change = 0;
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    change += longChange(header.addresses[end + i], words[at + i]);
    view.setInt32(offset + i * 4, words[at + i]);
  }
  return change;
}

function replacePort(packet: Packet, field: number, port: number, addressChange: number): void {
  const { view, udp: header } = packet;
  const checksum = view.getUint16(header + udp.CHECKSUM);
  const change = addressChange + wordChange(view.getUint16(header + field), port);
  view.setUint16(header + field, port);
  // A pseudo header's sum knows no ports.
  const changed =
    packet.checksum === Checksum.partial ? fold(checksum + addressChange) : applyUdpChange(checksum, change);
  view.setUint16(header + udp.CHECKSUM, changed);
}

function changeHeaderChecksum(view: DataView, start: number, change: number): void {
  const at = start + ipv4.CHECKSUM;
  view.setUint16(at, applyChange(view.getUint16(at), change));
}

function changeIcmpChecksum({ view, transport }: Packet, change: number): void {
  const at = transport + icmp.CHECKSUM;
  view.setUint16(at, applyChange(view.getUint16(at), change));
}
