/**
 * ICMP errors (RFC 792, RFC 4443) about UDP datagrams. Byte offsets are from the ICMP header's first byte; all fields are
 * in network order. An error quotes the header of the datagram that it is about, and 8 bytes or more behind it: UDP's
 * whole header.
 */
import { complement, sumWords } from './checksum.js';
import type { IpHeader } from './ip-header.js';
import * as ipv6 from './ipv6.js';
import type { ByteOffset } from './units.js';

export const TYPE: ByteOffset = 0;
export const CODE: ByteOffset = 1;
export const CHECKSUM: ByteOffset = 2;
/** The MTU of the next hop: 16 bits with IPv4 (RFC 1191), 32 with IPv6. */
const NEXT_HOP_MTU4: ByteOffset = 6;
const NEXT_HOP_MTU6: ByteOffset = 4;
/** Where the quoted datagram begins. */
export const QUOTED: ByteOffset = 8;

export const PROTOCOL = 1;
export const PROTOCOL_V6 = 58;

const DESTINATION_UNREACHABLE = 3;
const FRAGMENTATION_NEEDED = 4;
const TIME_EXCEEDED = 11;
const PARAMETER_PROBLEM = 12;
/** IPv6's errors about datagrams are 1 (unreachable), 2 (too big), 3 (time exceeded) and 4 (parameter problem). */
const PACKET_TOO_BIG = 2;
const LAST_ERROR_V6 = 4;

export function protocol(v6: boolean): number {
  return v6 ? PROTOCOL_V6 : PROTOCOL;
}

/** Whether messages of this type quote a datagram that could not be delivered. */
export function isError(type: number, v6: boolean): boolean {
  if (v6) return type > 0 && type <= LAST_ERROR_V6;
  return type === DESTINATION_UNREACHABLE || type === TIME_EXCEEDED || type === PARAMETER_PROBLEM;
}

/** The MTU in bytes that the error at `offset` tells; 0 if it tells none, as routers older than RFC 1191 don't. */
export function nextHopMtu(view: DataView, offset: ByteOffset, v6: boolean): number {
  const type = view.getUint8(offset + TYPE);
  if (v6) return type === PACKET_TOO_BIG ? view.getUint32(offset + NEXT_HOP_MTU6) : 0;
  const isTooBig = type === DESTINATION_UNREACHABLE && view.getUint8(offset + CODE) === FRAGMENTATION_NEEDED;
  return isTooBig ? view.getUint16(offset + NEXT_HOP_MTU4) : 0;
}

/** Writes the checksum of the ICMP message behind an IP header. IPv6's covers the addresses too (RFC 4443, 2.3). */
export function writeChecksum({ view, start, transport, end, v6 }: IpHeader): void {
  const addresses = v6 ? sumWords(view, start + ipv6.SOURCE, start + ipv6.HEADER) : 0;
  const pseudoHeader = v6 ? addresses + PROTOCOL_V6 + end - transport : 0;
  view.setUint16(transport + CHECKSUM, 0);
  view.setUint16(transport + CHECKSUM, complement(sumWords(view, transport, end, pseudoHeader)));
}
