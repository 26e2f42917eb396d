/**
 * Standalone packets: an empty UDP datagram whose only purpose is its mark. An ACK is one of them.
 */
import { complement, sumWords } from './checksum.js';
import * as ipv4 from './ipv4.js';
import type { Packet } from './packet.js';
import * as udp from './udp.js';
import * as uoa from './uoa.js';

/** The largest standalone, in bytes: `opp` with an IPv6 client. */
export const MAX_STANDALONE = ipv4.MIN_HEADER + uoa.OPP_HEADER + uoa.OPTION_V6 + udp.HEADER;

const INITIAL_TTL = 64;

/**
 * Writes the ACK for a marked packet at `offset` in `out` and gives its length in bytes: from RIP:rport to
 * LIP:lport in the same carrier, UDP length 8, the option (and the version of `opp`) echoed byte for byte.
 */
export function writeAck(packet: Packet, out: DataView, offset: number): number {
  const { view, carrier, optionLength } = packet;
  const option = optionOffset(carrier, offset);
  for (let i = 0; i < optionLength; i++) out.setUint8(option + i, view.getUint8(packet.option + i));
  if (carrier === uoa.Carrier.opp) {
    uoa.writeOppHeader(out, offset + ipv4.MIN_HEADER, optionLength);
    out.setUint8(offset + ipv4.MIN_HEADER, view.getUint8(packet.transport));
  }
  writePorts(out, option + optionLength, packet.destinationPort, packet.sourcePort);
  return finish(out, offset, carrier, optionLength, packet.destination, packet.source);
}

/**
 * Writes the standalone packet that goes ahead of `packet` when the mark finds no room in it: same way, same
 * ports, naming `client`. Gives its length in bytes.
 */
export function writeStandalone(
  packet: Packet,
  carrier: uoa.Carrier,
  client: uoa.Client,
  out: DataView,
  offset: number,
): number {
  const option = optionOffset(carrier, offset);
  const optionLength = uoa.writeOption(out, option, client);
  if (carrier === uoa.Carrier.opp) uoa.writeOppHeader(out, offset + ipv4.MIN_HEADER, optionLength);
  writePorts(out, option + optionLength, packet.sourcePort, packet.destinationPort);
  return finish(out, offset, carrier, optionLength, packet.source, packet.destination);
}

function optionOffset(carrier: uoa.Carrier, offset: number): number {
  return offset + ipv4.MIN_HEADER + (carrier === uoa.Carrier.opp ? uoa.OPP_HEADER : 0);
}

function writePorts(out: DataView, datagram: number, source: number, destination: number): void {
  out.setUint16(datagram + udp.SOURCE_PORT, source);
  out.setUint16(datagram + udp.DESTINATION_PORT, destination);
  out.setUint16(datagram + udp.LENGTH, udp.HEADER);
  out.setUint16(datagram + udp.CHECKSUM, 0);
}

/** Writes the IPv4 header around a mark and ports that are there already, and both checksums. */
function finish(
  out: DataView,
  offset: number,
  carrier: uoa.Carrier,
  optionLength: number,
  source: number,
  destination: number,
): number {
  const isOpp = carrier === uoa.Carrier.opp;
  const headerLength = ipv4.MIN_HEADER + (isOpp ? 0 : optionLength);
  const datagram = optionOffset(carrier, offset) + optionLength;
  const end = datagram + udp.HEADER;

  out.setUint8(offset + ipv4.VERSION_IHL, 0x40 | (headerLength >>> 2));
  out.setUint8(offset + ipv4.TOS, 0);
  out.setUint16(offset + ipv4.TOTAL_LENGTH, end - offset);
  out.setUint16(offset + ipv4.IDENTIFICATION, 0); // a raw socket fills it in (raw(7))
  out.setUint16(offset + ipv4.FRAGMENT, ipv4.DONT_FRAGMENT);
  out.setUint8(offset + ipv4.TTL, INITIAL_TTL);
  out.setUint8(offset + ipv4.PROTOCOL, isOpp ? uoa.OPP_PROTOCOL : udp.PROTOCOL);
  out.setInt32(offset + ipv4.SOURCE, source);
  out.setInt32(offset + ipv4.DESTINATION, destination);
  ipv4.writeHeaderChecksum(out, offset, headerLength);

  const pseudoHeader = ipv4.pseudoHeaderSum(out, offset, udp.PROTOCOL, udp.HEADER);
  out.setUint16(datagram + udp.CHECKSUM, complement(sumWords(out, datagram, end, pseudoHeader)) || 0xffff);
  return end - offset;
}
