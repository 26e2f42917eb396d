/**
 * Taking a mark out of a packet and putting one in, in place.
 *
 * Works on a `Packet` that was parsed as UDP and keeps it valid: offsets follow the bytes, lengths, checksums and next
 * headers stay right. What carries a mark stands in front of UDP, so a packet only ever moves its start; inserting
 * needs that much room (the carrier's bytes) in front of it. UDP's checksum does not know of marks, and stays.
 */
import { Carrier, carrierLength, writeOption } from './carriers.js';
import * as icmp from './icmp.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import { Mark, type Packet } from './packet.js';
import * as udp from './udp.js';
import * as uoa from './uoa.js';

/**
 * Takes the mark out: an option with the padding around it that it needs no longer, and the whole header that carried
 * it if that has nothing else. Payload and other options stay. Gives how many bytes went from behind the fixed header.
 */
export function strip(packet: Packet): number {
  const before = packet.start;
  if (packet.carrier === Carrier.opp) stripHeader(packet, packet.transport, packet.udp, packet.protocolAt);
  else if (packet.mark === Mark.found)
    if (packet.carrier === Carrier.ipo) stripOption(packet);
    else stripDestinationOption(packet);
  packet.carrier = Carrier.none;
  packet.mark = Mark.none;
  return packet.start - before;
}

function stripOption(packet: Packet): void {
  // What stands before the option moves up over it: 8 and 20 are multiples of 4, so the header stays whole words.
  moveFront(packet, packet.option, packet.optionLength);
  writeLengths(packet);
}

function stripDestinationOption(packet: Packet): void {
  const { view, options, option } = packet;
  const first = options + ipv6.EXTENSION_OPTIONS;
  const end = options + ipv6.extensionLength(view, options);
  const from = ipv6.paddingBefore(view, first, option);
  const to = ipv6.paddingBehind(view, option + packet.optionLength, end);
  if (from === first && to === end) {
    stripHeader(packet, options, end, packet.optionsAt);
    packet.options = 0;
    return;
  }
  // By multiples of 8, so that the other options keep their alignment; what is left over becomes padding.
  const removed = (to - from) & ~7;
  view.setUint8(options + ipv6.EXTENSION_LENGTH, (end - options - removed) / 8 - 1);
  moveFront(packet, from, removed);
  packet.options += removed;
  ipv6.writePadding(view, from + removed, to - from - removed);
  writeLengths(packet);
}

/** Takes out the header in `[from, to)`, which stands in front of UDP; `nextAt` is where its number is written. */
function stripHeader(packet: Packet, from: number, to: number, nextAt: number): void {
  packet.view.setUint8(nextAt, udp.PROTOCOL);
  packet.protocol = udp.PROTOCOL;
  packet.protocolAt = nextAt;
  moveFront(packet, from, to - from);
  packet.transport = packet.udp;
  writeLengths(packet);
}

/**
 * Takes the mark out of what an ICMP error quotes, and says how many bytes that were: 0 where there is none of ours. So
 * the error is about the packet as it was before.
 */
export function stripQuoted(packet: Packet): number {
  const { view, quoted } = packet;
  const [from, to] = quotedMark(packet);
  const removed = to - from;
  if (removed === 0) return 0;
  const declared = quoted.declaredLength(view) - removed;
  if (packet.carrier !== Carrier.ipo)
    view.setUint8(packet.carrier === Carrier.opp ? quoted.protocolAt : quoted.optionsAt, udp.PROTOCOL);
  moveFront(packet, from, removed);
  packet.transport += removed;
  quoted.start += removed;
  quoted.transport = packet.udp;
  writeLengths(packet);
  if (quoted.v6) view.setUint16(quoted.start + ipv6.PAYLOAD_LENGTH, declared - ipv6.HEADER);
  else writeHeader4(view, quoted.start, quoted.headerLength, declared);
  icmp.writeChecksum(view, packet);
  packet.carrier = Carrier.none;
  packet.mark = Mark.none;
  return removed;
}

/** Where the quoted mark, or the header that holds it alone, begins and ends. */
function quotedMark(packet: Packet): readonly [number, number] {
  const { view, quoted, option } = packet;
  if (packet.mark !== Mark.found) return NOWHERE;
  const end = option + packet.optionLength;
  if (packet.carrier === Carrier.ipo) return [option, end];
  if (packet.carrier === Carrier.opp) return [quoted.transport, packet.udp];
  const isAlone = ipv6.paddingBehind(view, end, packet.udp) === packet.udp;
  return isAlone && option === quoted.options + ipv6.EXTENSION_OPTIONS
    ? [quoted.options, packet.udp]
    : NOWHERE;
}

const NOWHERE = [0, 0] as const;

/** Takes out all marks that the sender put there itself, well-formed or not, and says how many there were. */
export function eraseMarks(packet: Packet): number {
  let erased = 0;
  while (packet.carrier === Carrier.opp || isRemovable(packet)) {
    strip(packet);
    packet.parse(packet.start, packet.end);
    erased++;
  }
  const options = packet.v6 ? eraseDestinationOptions(packet) : eraseOptions(packet);
  if (options > 0) {
    packet.carrier = Carrier.none;
    packet.mark = Mark.none;
  }
  return erased + options;
}

/** Not in a fragment: the others would no longer fit behind a first one that is shorter. */
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
 * Makes every destination option of UOA's number one that nobody knows, whatever its length and in whichever header:
 * once fragments are put together, another one may stand right before UDP. Padding is no way: Linux takes up to 7 bytes.
 */
function eraseDestinationOptions({ view, start, transport }: Packet): number {
  let erased = 0;
  let next = view.getUint8(start + ipv6.NEXT_HEADER);
  for (let header = start + ipv6.HEADER; header < transport; ) {
    const isFragment = next === ipv6.FRAGMENT;
    const end = header + (isFragment ? ipv6.FRAGMENT_HEADER : ipv6.extensionLength(view, header));
    if (next === ipv6.DESTINATION_OPTIONS) erased += disown(view, header + ipv6.EXTENSION_OPTIONS, end);
    next = view.getUint8(header);
    header = end;
  }
  return erased;
}

function disown(view: DataView, start: number, end: number): number {
  let count = 0;
  for (;;) {
    const option = ipv6.findOption(view, start, end, uoa.OPTION);
    if (option < 0) return count;
    view.setUint8(option, ipv6.OPTION_NOBODY_S);
    count++;
  }
}

/** Whether `client`'s mark finds room: in the headers of such a packet, and in one of `mtu` bytes. */
export function fitsMark(packet: Packet, carrier: Carrier, client: uoa.Client, mtu: number): boolean {
  const option = client.v6 ? uoa.OPTION_V6 : uoa.OPTION_V4;
  const isIpo = carrier === Carrier.ipo;
  if (isIpo && packet.headerLength + option > ipv4.MAX_HEADER) return false;
  // IPv6 has `opp` without extension headers only.
  if (carrier === Carrier.opp && packet.v6 && packet.headerLength > ipv6.HEADER) return false;
  return packet.end - packet.start + (isIpo ? option : carrierLength(carrier, option)) <= mtu;
}

/** Puts the client in as `ipo`, right behind the fixed header, before options that were there; else before UDP. */
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
  const at = packet.transport - length;
  if (carrier === Carrier.opp) {
    uoa.writeOppHeader(view, at, optionLength);
    writeMark(packet, carrier, at + uoa.OPP_HEADER, client);
    packet.transport = at;
    packet.protocol = uoa.OPP_PROTOCOL;
    view.setUint8(packet.protocolAt, uoa.OPP_PROTOCOL);
    return;
  }
  uoa.writeDstoptHeader(view, at, optionLength);
  writeMark(packet, carrier, at + ipv6.EXTENSION_OPTIONS, client);
  view.setUint8(packet.protocolAt, ipv6.DESTINATION_OPTIONS);
  packet.optionsAt = packet.protocolAt;
  packet.options = at;
  packet.protocolAt = at;
}

function writeMark(packet: Packet, carrier: Carrier, option: number, client: uoa.Client): void {
  packet.carrier = carrier;
  packet.mark = Mark.found;
  packet.option = option;
  packet.optionLength = writeOption(packet.view, option, client, carrier);
}

/** Moves what stands in front of `until` by `distance` bytes, towards the end if that is positive. */
function moveFront(packet: Packet, until: number, distance: number): void {
  packet.bytes.copyWithin(packet.start + distance, packet.start, until);
  packet.start += distance;
  if (packet.protocolAt < until) packet.protocolAt += distance;
  if (packet.optionsAt < until) packet.optionsAt += distance;
  if (packet.fragmentHeader > 0) packet.fragmentHeader += distance;
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
