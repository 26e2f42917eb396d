/**
 * ICMP errors (RFC 792) about UDP datagrams: byte offsets from the ICMP header; all fields in network order. An
 * error quotes the header of the datagram that it is about, and 8 bytes or more behind it: UDP's whole header.
 */

export const TYPE = 0;
export const CHECKSUM = 2;
/** Where the quoted datagram begins. */
export const QUOTED = 8;

export const PROTOCOL = 1;

const DESTINATION_UNREACHABLE = 3;
const TIME_EXCEEDED = 11;
const PARAMETER_PROBLEM = 12;

/** Whether messages of this type quote a datagram that could not be delivered. */
export function isError(type: number): boolean {
  return type === DESTINATION_UNREACHABLE || type === TIME_EXCEEDED || type === PARAMETER_PROBLEM;
}
