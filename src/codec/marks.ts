/**
 * Taking a mark out of a packet and putting one in, in place.
 *
 * Each function takes a `Packet` of `Kind.udp` (`stripQuoted`: of `Kind.error`) and keeps it valid: offsets follow the
 * bytes; lengths, checksums and next headers stay right. What carries a mark stands in front of UDP, so only the start of
 * a packet ever moves. Inserting needs MAX_GROWTH bytes of headroom at most. UDP's checksum does not cover marks, and
 * stays.
 */
import { Carrier, carrierLength, growthOf, writeOption } from './carriers.js';
import * as icmp from './icmp.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import type { Packet } from './packet.js';
import * as udp from './udp.js';
import { Mark, type UdpHeaders } from './udp-headers.js';
import { type ByteOffset, NONE } from './units.js';
import * as uoa from './uoa.js';

/**
 * Takes the mark out: the option and the padding around it, or the whole header that carried it if nothing else is in
 * there. Payload and other options stay. Gives how many bytes shorter the packet is.
 */
export function strip(packet: Packet): number {
  const before = packet.start;
  if (packet.carrier === Carrier.opp)
    stripHeader(packet, packet.transport, packet.udp, packet.protocolOffset);
  else if (packet.mark === Mark.found)
    if (packet.carrier === Carrier.ipo) stripOption(packet);
    else stripDestinationOption(packet);
  packet.forgetMark();
  return packet.start - before;
}

function stripOption(packet: Packet): void {
  // The bytes in front of the option move up over it. 8 and 20 are multiples of 4, so the header stays whole words.
  moveFront(packet, packet.option, packet.optionLength);
  writeLengths(packet);
}

function stripDestinationOption(packet: Packet): void {
  const { view, optionsHeader, option } = packet;
  const first = optionsHeader + ipv6.EXTENSION_OPTIONS;
  const end = optionsHeader + ipv6.extensionLength(view, optionsHeader);
  const from = ipv6.paddingBefore(view, first, option);
  const to = ipv6.paddingBehind(view, option + packet.optionLength, end);
  if (from === first && to === end) {
    stripHeader(packet, optionsHeader, end, packet.optionsNumberOffset);
    // If there was another one in front of it, that holds no mark of ours, and nothing asks for it.
    packet.optionsHeader = NONE;
    packet.optionsNumberOffset = NONE;
    return;
  }
  // Multiples of 8, so that the other options keep their alignment. What is left over becomes padding.
  const removed = (to - from) & ~7;
  view.setUint8(optionsHeader + ipv6.EXTENSION_LENGTH, (end - optionsHeader - removed) / 8 - 1);
  moveFront(packet, from, removed);
  ipv6.writePadding(view, from + removed, to - from - removed);
  writeLengths(packet);
}

/** Takes out the header in `[from, to)`, which stands in front of UDP and whose number is written at `numberOffset`. */
function stripHeader(packet: Packet, from: ByteOffset, to: ByteOffset, numberOffset: ByteOffset): void {
  packet.view.setUint8(numberOffset, udp.PROTOCOL);
  packet.protocol = udp.PROTOCOL;
  packet.protocolOffset = numberOffset;
  moveFront(packet, from, to - from);
  packet.transport = packet.udp;
  writeLengths(packet);
}

/**
 * Takes the mark out of what an ICMP error quotes, so that it is about the packet as it was before. Gives how many bytes
 * that were: 0 where there is no mark of ours.
 */
export function stripQuoted(packet: Packet): number {
  const { view, quoted } = packet;
  if (quoted.mark !== Mark.found) return 0;
  if (quoted.carrier === Carrier.ipo) return removeQuoted(packet, quoted.option, quoted.optionLength);
  if (quoted.carrier === Carrier.opp) {
    view.setUint8(quoted.protocolOffset, udp.PROTOCOL);
    return removeQuoted(packet, quoted.transport, quoted.udp - quoted.transport);
  }
  if (!isAlone(quoted)) return 0;
  view.setUint8(quoted.optionsNumberOffset, udp.PROTOCOL);
  return removeQuoted(packet, quoted.optionsHeader, quoted.udp - quoted.optionsHeader);
}

/** Whether the mark is all that the destination options header in front of UDP holds, as in those that we send. */
function isAlone({ view, option, optionLength, optionsHeader, udp: end }: UdpHeaders): boolean {
  const isFirst = option === optionsHeader + ipv6.EXTENSION_OPTIONS;
  return isFirst && ipv6.paddingBehind(view, option + optionLength, end) === end;
}

/** Takes `length` bytes at `from` out of the quoted headers. */
function removeQuoted(packet: Packet, from: ByteOffset, length: number): number {
  const { view, quoted } = packet;
  const { v6 } = quoted;
  const start = quoted.start + length;
  // In IPv4 nothing but the mark is between the IP header and UDP's.
  const headerLength = quoted.udp - start;
  const declared = quoted.declaredLength - length;
  moveFront(packet, from, length);
  packet.transport += length;
  packet.udp = packet.transport;
  writeLengths(packet);
  if (v6) view.setUint16(start + ipv6.PAYLOAD_LENGTH, declared - ipv6.HEADER);
  else writeHeader4(view, start, headerLength, declared);
  quoted.readQuoted(start, quoted.end, v6);
  icmp.writeChecksum(packet);
  return length;
}

/** Takes out all marks that a packet came with, well-formed or not, and gives how many there were. */
export function eraseMarks(packet: Packet): number {
  let erased = 0;
  while (packet.carrier === Carrier.opp || isRemovable(packet)) {
    strip(packet);
    packet.parseAgain();
    erased++;
  }
  const options = packet.v6 ? eraseDestinationOptions(packet) : eraseOptions(packet);
  if (options > 0) packet.forgetMark();
  return erased + options;
}

/** Whether the mark's header can go. In a fragment it can't: the others would not fit behind a shorter first one. */
function isRemovable(packet: Packet): boolean {
  return packet.mark === Mark.found && packet.carrier === Carrier.dstopt && !packet.fragmented;
}

/** Overwrites every IPv4 option of UOA's number with NOPs, whatever its length. */
function eraseOptions(packet: Packet): number {
  const { view, start, transport } = packet;
  let erased = 0;
  for (;;) {
    const option = ipv4.findOption(view, start + ipv4.OPTIONS, transport, uoa.OPTION);
    if (option < 0) break;
    packet.bytes.fill(ipv4.OPTION_NOP, option, option + view.getUint8(option + uoa.OPTION_LENGTH));
    erased++;
  }
  if (erased > 0) ipv4.writeHeaderChecksum(view, start, transport - start);
  return erased;
}

/**
 * Gives every destination option of UOA's number that of experiments, whatever its length and in whichever header: after
 * reassembly another header may stand right before UDP. Padding would not do: Linux takes up to 7 bytes in a row.
 */
function eraseDestinationOptions({ view, start, transport }: Packet): number {
  let erased = 0;
  let next = view.getUint8(start + ipv6.NEXT_HEADER);
  for (let header = start + ipv6.HEADER; header < transport; ) {
    const isFragment = next === ipv6.FRAGMENT;
    const end = header + (isFragment ? ipv6.FRAGMENT_HEADER : ipv6.extensionLength(view, header));
    if (next === ipv6.DESTINATION_OPTIONS) erased += renumber(view, header + ipv6.EXTENSION_OPTIONS, end);
    next = view.getUint8(header);
    header = end;
  }
  return erased;
}

function renumber(view: DataView, start: ByteOffset, end: ByteOffset): number {
  let count = 0;
  for (;;) {
    const option = ipv6.findOption(view, start, end, uoa.OPTION);
    if (option < 0) return count;
    view.setUint8(option, ipv6.OPTION_EXPERIMENT);
    count++;
  }
}

/** Whether `client`'s mark fits into the packet's headers, and the result into `mtu` bytes. */
export function fitsMark(packet: Packet, carrier: Carrier, client: uoa.Client, mtu: number): boolean {
  const option = client.v6 ? uoa.OPTION_V6 : uoa.OPTION_V4;
  if (carrier === Carrier.ipo && packet.headerLength + option > ipv4.MAX_HEADER) return false;
  // IPv6 has `opp` without extension headers only.
  if (carrier === Carrier.opp && packet.v6 && packet.headerLength > ipv6.HEADER) return false;
  return packet.end - packet.start + growthOf(carrier, option) <= mtu;
}

/** Inserts `client`'s mark: with `ipo` right behind the fixed header, before other options; else right before UDP. */
export function insertMark(packet: Packet, carrier: Carrier, client: uoa.Client): void {
  const optionLength = client.v6 ? uoa.OPTION_V6 : uoa.OPTION_V4;
  if (carrier === Carrier.ipo) {
    moveFront(packet, packet.start + ipv4.MIN_HEADER, -optionLength);
    writeMark(packet, carrier, packet.start + ipv4.OPTIONS, client);
  } else insertHeader(packet, carrier, optionLength, client);
  writeLengths(packet);
}

function insertHeader(packet: Packet, carrier: Carrier, optionLength: number, client: uoa.Client): void {
  const { view } = packet;
  const length = carrierLength(carrier, optionLength);
  moveFront(packet, packet.transport, -length);
  const header = packet.transport - length;
  if (carrier === Carrier.opp) {
    uoa.writeOppHeader(view, header, optionLength);
    writeMark(packet, carrier, header + uoa.OPP_HEADER, client);
    packet.transport = header;
    packet.protocol = uoa.OPP_PROTOCOL;
    view.setUint8(packet.protocolOffset, uoa.OPP_PROTOCOL);
    return;
  }
  uoa.writeDstoptHeader(view, header, optionLength);
  writeMark(packet, carrier, header + ipv6.EXTENSION_OPTIONS, client);
  view.setUint8(packet.protocolOffset, ipv6.DESTINATION_OPTIONS);
  packet.optionsNumberOffset = packet.protocolOffset;
  packet.optionsHeader = header;
  packet.protocolOffset = header;
}

function writeMark(packet: Packet, carrier: Carrier, option: ByteOffset, client: uoa.Client): void {
  packet.carrier = carrier;
  packet.mark = Mark.found;
  packet.option = option;
  packet.optionLength = writeOption(packet.view, option, client, carrier);
}

/** Moves what stands in front of `until` by `distance` bytes, towards the end if that is positive. */
function moveFront(packet: Packet, until: ByteOffset, distance: number): void {
  packet.bytes.copyWithin(packet.start + distance, packet.start, until);
  packet.start += distance;
  packet.protocolOffset = shifted(packet.protocolOffset, until, distance);
  packet.fragmentHeader = shifted(packet.fragmentHeader, until, distance);
  packet.optionsHeader = shifted(packet.optionsHeader, until, distance);
  packet.optionsNumberOffset = shifted(packet.optionsNumberOffset, until, distance);
}

function shifted(offset: ByteOffset, until: ByteOffset, distance: number): ByteOffset {
  return offset === NONE || offset >= until ? offset : offset + distance;
}

function writeLengths(packet: Packet): void {
  const { view, start } = packet;
  if (packet.v6) {
    view.setUint16(start + ipv6.PAYLOAD_LENGTH, packet.end - start - ipv6.HEADER);
    return;
  }
  writeHeader4(view, start, packet.transport - start, packet.end - start);
}

function writeHeader4(view: DataView, start: number, headerLength: number, totalLength: number): void {
  view.setUint8(start + ipv4.VERSION_IHL, 0x40 | (headerLength >>> 2));
  view.setUint16(start + ipv4.TOTAL_LENGTH, totalLength);
  ipv4.writeHeaderChecksum(view, start, headerLength);
}
