/**
 * Changes to a packet in place: other addresses and ports, another hop limit.
 *
 * Each function takes a `Packet` of the kind that its comment names, and keeps it valid: checksums stay right. Without a
 * kind in its comment it takes `Kind.udp`. A new address is given by its array and the index of its first word
 * (addresses.ts), a port in host order.
 */
import { ADDRESS_WORDS, copyAddress } from './addresses.js';
import { applyChange, applyUdpChange, fold, longChange, wordChange } from './checksum.js';
import * as icmp from './icmp.js';
import { DESTINATION_AT, type IpHeader, SOURCE_AT } from './ip-header.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import { Checksum, type Packet } from './packet.js';
import * as udp from './udp.js';
import type { ByteOffset, Port, WordIndex } from './units.js';

const MAX_HOPS = 255;

/** Gives back the hop that forwarding to the TUN took, to an IP packet of any kind. One that has 255 keeps them. */
export function restoreHop(packet: Packet): void {
  const { view, start, v6 } = packet;
  const offset = start + (v6 ? ipv6.HOP_LIMIT : ipv4.TTL);
  const hops = view.getUint8(offset);
  if (hops === MAX_HOPS) return;
  view.setUint8(offset, hops + 1);
  // TTL is the high byte of its word.
  if (!v6) changeHeaderChecksum(view, start, 0x0100);
}

/** Gives the packet another source; the port too, with UDP's checksum. */
export function setSource(packet: Packet, words: Int32Array, at: WordIndex, port: Port): void {
  const change = replaceAddress(packet, SOURCE_AT, words, at);
  replacePort(packet, udp.SOURCE_PORT, port, change);
}

/** Gives the packet another destination; the port too, with UDP's checksum. */
export function setDestination(packet: Packet, words: Int32Array, at: WordIndex, port: Port): void {
  const change = replaceAddress(packet, DESTINATION_AT, words, at);
  replacePort(packet, udp.DESTINATION_PORT, port, change);
}

/** Gives a later fragment, which has no ports, another source and destination: eight words (`Kind.fragment`). */
export function setFragmentAddresses(packet: Packet, words: Int32Array, at: WordIndex): void {
  replaceAddress(packet, SOURCE_AT, words, at);
  replaceAddress(packet, DESTINATION_AT, words, at + ADDRESS_WORDS);
}

/** Moves an IPv6 fragment by `bytes`, a multiple of 8, to the front of its datagram (`Kind.fragment`). */
export function moveFragment(packet: Packet, bytes: number): void {
  const offset = packet.fragmentHeader + ipv6.FRAGMENT_FIELD;
  packet.view.setUint16(offset, packet.view.getUint16(offset) - bytes);
}

/** Gives the datagram that an error quotes another source, with all checksums (`Kind.error`). */
export function setQuotedSource(packet: Packet, words: Int32Array, at: WordIndex, port: Port): void {
  replaceQuoted(packet, SOURCE_AT, udp.SOURCE_PORT, words, at, port);
}

/** Gives the datagram that an error quotes another destination, with all checksums (`Kind.error`). */
export function setQuotedDestination(packet: Packet, words: Int32Array, at: WordIndex, port: Port): void {
  replaceQuoted(packet, DESTINATION_AT, udp.DESTINATION_PORT, words, at, port);
}

/** Gives an error another destination (`Kind.error`). IPv6's ICMP checksum covers it (RFC 4443, 2.3), IPv4's does not. */
export function setErrorDestination(packet: Packet, words: Int32Array, at: WordIndex): void {
  const change = replaceAddress(packet, DESTINATION_AT, words, at);
  if (packet.v6) changeIcmpChecksum(packet, change);
}

/** `end` is SOURCE_AT or DESTINATION_AT, `portField` the port's field that goes with it. */
function replaceQuoted(
  packet: Packet,
  end: WordIndex,
  portField: ByteOffset,
  words: Int32Array,
  at: WordIndex,
  port: Port,
): void {
  const { view, quoted } = packet;
  const portOffset = quoted.udp + portField;
  const ipChecksumOffset = quoted.start + ipv4.CHECKSUM;
  const udpChecksumOffset = quoted.udp + udp.CHECKSUM;
  const ipChecksum = quoted.v6 ? 0 : view.getUint16(ipChecksumOffset);
  const udpChecksum = view.getUint16(udpChecksumOffset);
  const addressChange = replaceAddress(quoted, end, words, at);
  const portChange = wordChange(view.getUint16(portOffset), port);
  view.setUint16(portOffset, port);
  view.setUint16(udpChecksumOffset, applyUdpChange(udpChecksum, addressChange + portChange));
  // ICMP's checksum covers the quoted headers with their checksums.
  const checksumChange = wordChange(udpChecksum, view.getUint16(udpChecksumOffset));
  const headerChange = quoted.v6 ? 0 : wordChange(ipChecksum, view.getUint16(ipChecksumOffset));
  changeIcmpChecksum(packet, addressChange + portChange + checksumChange + headerChange);
}

/** Replaces one end of a header, with IPv4's checksum, and gives what that adds to a sum over the addresses. */
function replaceAddress(header: IpHeader, end: WordIndex, words: Int32Array, at: WordIndex): number {
  const change = header.v6 ? writeAddress6(header, end, words, at) : writeAddress4(header, end, words, at);
  copyAddress(words, at, header.addresses, end);
  return change;
}

function writeAddress4(header: IpHeader, end: WordIndex, words: Int32Array, at: WordIndex): number {
  const { view, start, addresses } = header;
  const change = longChange(addresses[end + 3], words[at + 3]);
  view.setInt32(start + (end === SOURCE_AT ? ipv4.SOURCE : ipv4.DESTINATION), words[at + 3]);
  changeHeaderChecksum(view, start, change);
  return change;
}

function writeAddress6(header: IpHeader, end: WordIndex, words: Int32Array, at: WordIndex): number {
  const { view, start, addresses } = header;
  const offset = start + (end === SOURCE_AT ? ipv6.SOURCE : ipv6.DESTINATION);
  let change = 0;
  for (let i = 0; i < ADDRESS_WORDS; i++) {
    change += longChange(addresses[end + i], words[at + i]);
    view.setInt32(offset + i * 4, words[at + i]);
  }
  return change;
}

function replacePort(packet: Packet, field: ByteOffset, port: Port, addressChange: number): void {
  const { view, udp: header } = packet;
  const checksum = view.getUint16(header + udp.CHECKSUM);
  const change = addressChange + wordChange(view.getUint16(header + field), port);
  view.setUint16(header + field, port);
  // A partial checksum is that of the pseudo header, which has no ports.
  const changed =
    packet.checksum === Checksum.partial ? fold(checksum + addressChange) : applyUdpChange(checksum, change);
  view.setUint16(header + udp.CHECKSUM, changed);
}

function changeHeaderChecksum(view: DataView, start: ByteOffset, change: number): void {
  const offset = start + ipv4.CHECKSUM;
  view.setUint16(offset, applyChange(view.getUint16(offset), change));
}

function changeIcmpChecksum({ view, transport }: Packet, change: number): void {
  const offset = transport + icmp.CHECKSUM;
  view.setUint16(offset, applyChange(view.getUint16(offset), change));
}
