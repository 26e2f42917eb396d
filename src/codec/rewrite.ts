/**
 * Changes to a packet in place: taking a mark out, putting one in, other addresses and ports.
 *
 * Everything here works on a `Packet` that was parsed as UDP (or as a fragment, for addresses alone) and keeps
 * it valid: offsets follow the bytes, checksums stay right. Marks go in and out at the front, so a packet only
 * ever moves its start; inserting needs that much room (the mark's bytes) in front of it.
 */
import { applyChange, applyUdpChange, longChange, wordChange } from './checksum.js';
import * as icmp from './icmp.js';
import * as ipv4 from './ipv4.js';
import { Mark, type Packet } from './packet.js';
import * as udp from './udp.js';
import * as uoa from './uoa.js';

/** Takes the mark out, or for `opp` the whole header that carried it. Payload and other options stay. */
export function strip(packet: Packet): void {
  if (packet.carrier === uoa.Carrier.opp) stripOpp(packet);
  else if (packet.mark === Mark.found) stripOption(packet);
  packet.carrier = uoa.Carrier.none;
  packet.mark = Mark.none;
}

function stripOption(packet: Packet): void {
  // What stands before the option moves up over it: 8 and 20 are multiples of 4, so the header stays whole words.
  packet.bytes.copyWithin(packet.start + packet.optionLength, packet.start, packet.option);
  packet.start += packet.optionLength;
  writeLengths(packet);
}

function stripOpp(packet: Packet): void {
  const removed = packet.udp - packet.transport;
  packet.bytes.copyWithin(packet.start + removed, packet.start, packet.transport);
  packet.start += removed;
  packet.transport = packet.udp;
  setProtocol(packet, udp.PROTOCOL);
  writeLengths(packet);
}

/**
 * Overwrites every option of UOA's number in the header with NOPs, whatever its length, and says how many there
 * were: marks that the sender put there itself.
 */
export function eraseOptions(packet: Packet): number {
  const { view, start, transport } = packet;
  let erased = 0;
  for (;;) {
    const option = ipv4.findOption(view, start + ipv4.OPTIONS, transport, uoa.OPTION);
    if (option < 0) break;
    packet.bytes.fill(ipv4.OPTION_NOP, option, option + view.getUint8(option + uoa.OPTION_LENGTH));
    erased++;
  }
  if (erased === 0) return 0;
  ipv4.writeHeaderChecksum(view, start, transport - start);
  packet.carrier = uoa.Carrier.none;
  packet.mark = Mark.none;
  return erased;
}

/** Gives back a hop that the packet lost on its way to us and not in the network. */
export function restoreHop(packet: Packet): void {
  const { view, start } = packet;
  const before = view.getUint16(start + ipv4.TTL);
  if (before >>> 8 === 0xff) return;
  const after = before + 0x100;
  view.setUint16(start + ipv4.TTL, after);
  const checksum = view.getUint16(start + ipv4.CHECKSUM);
  view.setUint16(start + ipv4.CHECKSUM, applyChange(checksum, wordChange(before, after)));
}

/** Whether an option of `length` bytes finds room: in the IPv4 header, and in a packet of `mtu` bytes. */
export function fitsOption(packet: Packet, length: number, mtu: number): boolean {
  return (
    packet.transport - packet.start + length <= ipv4.MAX_HEADER && packet.end - packet.start + length <= mtu
  );
}

/** Whether an `opp` header with an option of `length` bytes finds room in a packet of `mtu` bytes. */
export function fitsOpp(packet: Packet, length: number, mtu: number): boolean {
  return packet.end - packet.start + uoa.OPP_HEADER + length <= mtu;
}

/** Puts the client in as `ipo`: right behind the fixed header, before options that were there. */
export function insertOption(packet: Packet, client: uoa.Client): void {
  const length = client.v6 ? uoa.OPTION_V6 : uoa.OPTION_V4;
  const start = packet.start - length;
  packet.bytes.copyWithin(start, packet.start, packet.start + ipv4.MIN_HEADER);
  packet.start = start;
  markInserted(packet, uoa.Carrier.ipo, start + ipv4.OPTIONS, client);
  writeLengths(packet);
}

/** Puts the client in as `opp`: between IP header and UDP. The UDP checksum stays as it was. */
export function insertOpp(packet: Packet, client: uoa.Client): void {
  const optionLength = client.v6 ? uoa.OPTION_V6 : uoa.OPTION_V4;
  const inserted = uoa.OPP_HEADER + optionLength;
  packet.bytes.copyWithin(packet.start - inserted, packet.start, packet.transport);
  packet.start -= inserted;
  packet.transport -= inserted;
  uoa.writeOppHeader(packet.view, packet.transport, optionLength);
  markInserted(packet, uoa.Carrier.opp, packet.transport + uoa.OPP_HEADER, client);
  setProtocol(packet, uoa.OPP_PROTOCOL);
  writeLengths(packet);
}

function markInserted(packet: Packet, carrier: uoa.Carrier, option: number, client: uoa.Client): void {
  packet.carrier = carrier;
  packet.mark = Mark.found;
  packet.option = option;
  packet.optionLength = uoa.writeOption(packet.view, option, client);
}

function setProtocol(packet: Packet, protocol: number): void {
  packet.protocol = protocol;
  packet.view.setUint8(packet.start + ipv4.PROTOCOL, protocol);
}

function writeLengths(packet: Packet): void {
  const { view, start } = packet;
  const headerLength = packet.transport - start;
  view.setUint8(start + ipv4.VERSION_IHL, 0x40 | (headerLength >>> 2));
  view.setUint16(start + ipv4.TOTAL_LENGTH, packet.end - start);
  ipv4.writeHeaderChecksum(view, start, headerLength);
}

/** Gives the packet another source; the port too, with UDP's checksum, unless it is a later fragment. */
export function setSource(packet: Packet, address: number, port: number): void {
  const change = replaceAddress(packet, ipv4.SOURCE, packet.source, address);
  packet.source = address;
  replacePort(packet, udp.SOURCE_PORT, port, change);
}

/** Gives the packet another destination; the port too, with UDP's checksum. */
export function setDestination(packet: Packet, address: number, port: number): void {
  const change = replaceAddress(packet, ipv4.DESTINATION, packet.destination, address);
  packet.destination = address;
  replacePort(packet, udp.DESTINATION_PORT, port, change);
}

/** Gives a later fragment, which has no ports, another source and destination. */
export function setFragmentAddresses(packet: Packet, source: number, destination: number): void {
  replaceAddress(packet, ipv4.SOURCE, packet.source, source);
  replaceAddress(packet, ipv4.DESTINATION, packet.destination, destination);
  packet.source = source;
  packet.destination = destination;
}

/** Gives the datagram that an error quotes another source, with all checksums. */
export function setQuotedSource(packet: Packet, address: number, port: number): void {
  replaceQuoted(packet, ipv4.SOURCE, udp.SOURCE_PORT, address, port);
}

/** Gives the datagram that an error quotes another destination, with all checksums. */
export function setQuotedDestination(packet: Packet, address: number, port: number): void {
  replaceQuoted(packet, ipv4.DESTINATION, udp.DESTINATION_PORT, address, port);
}

/** Gives an error another destination. ICMP's checksum has no pseudo header, so only IP's changes. */
export function setErrorDestination(packet: Packet, address: number): void {
  replaceAddress(packet, ipv4.DESTINATION, packet.destination, address);
  packet.destination = address;
}

function replaceQuoted(
  packet: Packet,
  field: number,
  portField: number,
  address: number,
  port: number,
): void {
  const { view, quoted, udp: header, transport } = packet;
  const addressChange = longChange(view.getInt32(quoted + field), address);
  const portChange = wordChange(view.getUint16(header + portField), port);
  const ipChecksum = view.getUint16(quoted + ipv4.CHECKSUM);
  const udpChecksum = view.getUint16(header + udp.CHECKSUM);
  const newIpChecksum = applyChange(ipChecksum, addressChange);
  const newUdpChecksum = applyUdpChange(udpChecksum, addressChange + portChange);
  view.setInt32(quoted + field, address);
  view.setUint16(header + portField, port);
  view.setUint16(quoted + ipv4.CHECKSUM, newIpChecksum);
  view.setUint16(header + udp.CHECKSUM, newUdpChecksum);
  const change =
    addressChange +
    portChange +
    wordChange(ipChecksum, newIpChecksum) +
    wordChange(udpChecksum, newUdpChecksum);
  view.setUint16(transport + icmp.CHECKSUM, applyChange(view.getUint16(transport + icmp.CHECKSUM), change));
}

function replaceAddress(packet: Packet, field: number, before: number, after: number): number {
  const { view, start } = packet;
  const change = longChange(before, after);
  view.setInt32(start + field, after);
  view.setUint16(start + ipv4.CHECKSUM, applyChange(view.getUint16(start + ipv4.CHECKSUM), change));
  return change;
}

function replacePort(packet: Packet, field: number, port: number, addressChange: number): void {
  const { view, udp: header } = packet;
  const change = addressChange + wordChange(view.getUint16(header + field), port);
  view.setUint16(header + field, port);
  view.setUint16(header + udp.CHECKSUM, applyUdpChange(view.getUint16(header + udp.CHECKSUM), change));
}
