/**
 * Packets for the micro-benchmarks: flow f is LIP 10.98.0.0 + f, port 40000, to 10.97.0.2:7000; its client is
 * 198.0.0.0 + f, port 5555. In IPv6 these are the last words of addresses in fd00:97::/64.
 */
import { complement, sumWords } from '#shim/codec/checksum.js';
import * as ipv4 from '#shim/codec/ipv4.js';
import * as ipv6 from '#shim/codec/ipv6.js';
import * as udp from '#shim/codec/udp.js';
import { completeChecksum } from '#shim/io/cut.js';

export const LIP_NETWORK = 0x0a620000;
export const CLIENT_NETWORK = 0xc6000000;
export const RIP = 0x0a610002;
export const LIP_PORT = 40000;
export const CLIENT_PORT = 5555;
export const RPORT = 7000;

/** Bytes of the IPv4 header of a packet with a mark. */
const MARKED_HEADER = ipv4.MIN_HEADER + 8;

export interface Ends {
  source: number;
  sourcePort: number;
  destination: number;
  destinationPort: number;
}

export function toService(flow: number): Ends {
  return { source: LIP_NETWORK + flow, sourcePort: LIP_PORT, destination: RIP, destinationPort: RPORT };
}

export function toClient(flow: number): Ends {
  return { source: RIP, sourcePort: RPORT, destination: CLIENT_NETWORK + flow, destinationPort: CLIENT_PORT };
}

export type Family = 4 | 6;

/** All but the last word of the addresses of a family. */
export const NETWORK: Readonly<Record<Family, readonly number[]>> = {
  4: [0, 0, 0xffff],
  6: [0xfd000097, 0, 0],
};

/** A UDP packet by IPv6. */
export function makePacket6(ends: Ends, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(ipv6.HEADER + udp.HEADER + payloadBytes).fill(0x61, ipv6.HEADER + udp.HEADER);
  const view = new DataView(bytes.buffer);
  view.setUint8(ipv6.VERSION_CLASS_FLOW, 0x60);
  view.setUint16(ipv6.PAYLOAD_LENGTH, udp.HEADER + payloadBytes);
  view.setUint8(ipv6.NEXT_HEADER, udp.PROTOCOL);
  view.setUint8(ipv6.HOP_LIMIT, 63);
  for (const [offset, last] of [
    [ipv6.SOURCE, ends.source],
    [ipv6.DESTINATION, ends.destination],
  ])
    for (const [i, word] of [...NETWORK[6], last].entries()) view.setUint32(offset + i * 4, word);
  writeUdp(view, ipv6.HEADER, ends, payloadBytes);
  return bytes;
}

/** A UDP packet by IPv4 with correct checksums, and with a mark in its header if `client` is given. */
export function makePacket(ends: Ends, payloadBytes: number, client?: number): Uint8Array {
  const header = client === undefined ? ipv4.MIN_HEADER : MARKED_HEADER;
  const bytes = new Uint8Array(header + udp.HEADER + payloadBytes).fill(0x61, header + udp.HEADER);
  const view = new DataView(bytes.buffer);
  view.setUint8(ipv4.VERSION_IHL, 0x40 | (header / 4));
  view.setUint16(ipv4.TOTAL_LENGTH, bytes.length);
  view.setUint8(ipv4.TTL, 63);
  view.setUint8(ipv4.PROTOCOL, udp.PROTOCOL);
  view.setUint32(ipv4.SOURCE, ends.source);
  view.setUint32(ipv4.DESTINATION, ends.destination);
  if (client !== undefined) {
    view.setUint16(ipv4.OPTIONS, 0x1f08);
    view.setUint16(ipv4.OPTIONS + 2, CLIENT_PORT);
    view.setUint32(ipv4.OPTIONS + 4, client);
  }
  view.setUint16(ipv4.CHECKSUM, complement(sumWords(view, 0, header)));
  writeUdp(view, header, ends, payloadBytes);
  return bytes;
}

function writeUdp(view: DataView, header: number, ends: Ends, payloadBytes: number): void {
  view.setUint16(header + udp.SOURCE_PORT, ends.sourcePort);
  view.setUint16(header + udp.DESTINATION_PORT, ends.destinationPort);
  view.setUint16(header + udp.LENGTH, udp.HEADER + payloadBytes);
  // The addresses are summed in the fixed header, wherever an option stands.
  completeChecksum(view, view.getUint8(0) >>> 4 === 6, 0, header, view.byteLength);
}

/** 0 to count - 1 in a random order, the same in every run. */
export function shuffled(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 1;
  for (let i = count - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const k = (state >>> 0) % (i + 1);
    [order[i], order[k]] = [order[k], order[i]];
  }
  return order;
}
