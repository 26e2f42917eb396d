/**
 * Neighbours of one flow become one super-packet, which costs one write() and one way through the stack for all of them.
 * Their order stays. Only datagrams whose checksums are known to be right are merged: a super-packet gets a new one, and
 * so would a wrong one become right.
 */
import { fold, sumWords } from '../codec/checksum.js';
import { MAX_PACKET } from '../codec/ip-header.js';
import * as ipv4 from '../codec/ipv4.js';
import * as ipv6 from '../codec/ipv6.js';
import { Checksum, Kind, type Packet } from '../codec/packet.js';
import * as udp from '../codec/udp.js';
import type { Arena } from './arena.js';
import type { PacketList } from './lists.js';

/** UDP_MAX_SEGMENTS of older kernels; newer ones take 128. */
const MAX_DATAGRAMS = 64;

export class Merger {
  constructor(private readonly arena: Arena) {}

  /** Merges neighbours in place: the list gets shorter, and the packets that stay on it longer. */
  merge(packets: PacketList): void {
    const { items, count } = packets;
    if (count < 2) return;
    let last = 0;
    let datagrams = 1;
    for (let i = 1; i < count; i++) {
      if (this.takes(items[last], items[i], datagrams)) {
        append(items[last], items[i]);
        datagrams++;
        continue;
      }
      if (datagrams > 1) seal(items[last]);
      datagrams = 1;
      items[++last] = items[i];
    }
    if (datagrams > 1) seal(items[last]);
    packets.count = last + 1;
  }

  /** Whether `next` may go behind the `datagrams` that are in `last` already. */
  private takes(last: Packet, next: Packet, datagrams: number): boolean {
    if (datagrams === MAX_DATAGRAMS || !isPlain(next)) return false;
    // All but the last datagram are of one size. So nothing goes behind a shorter one, nor behind the sender's own
    // super-packet, whose last datagram may be shorter.
    if (datagrams === 1 ? !isPlain(last) : payloadBytes(last) !== datagrams * last.segment) return false;
    const payload = payloadBytes(next);
    if (payload === 0 || payload > (datagrams === 1 ? payloadBytes(last) : last.segment)) return false;
    const end = last.end + payload;
    if (end - last.start > MAX_PACKET || end > this.arena.slotEnd(last.start)) return false;
    return areAlike(last, next);
  }
}

/**
 * Whether it is one datagram with nothing but IP's fixed header in front and nothing behind (RFC 9868 puts UDP options
 * there), and with a checksum known to be right.
 */
function isPlain(packet: Packet): boolean {
  const { kind, checksum, segment, fragmented, v6, start, udp: header } = packet;
  if (kind !== Kind.udp || checksum === Checksum.full || segment !== 0 || fragmented) return false;
  if (header - start !== (v6 ? ipv6.HEADER : ipv4.MIN_HEADER)) return false;
  return packet.payloadLength === payloadBytes(packet);
}

function payloadBytes(packet: Packet): number {
  return packet.end - packet.udp - udp.HEADER;
}

/** Whether both have the same headers, but for lengths, checksums and IPv4's identification. */
function areAlike(a: Packet, b: Packet): boolean {
  const { view } = a;
  if (a.v6 !== b.v6 || view.getInt32(a.udp) !== view.getInt32(b.udp)) return false;
  return a.v6 ? areAlike6(view, a.start, b.start) : areAlike4(view, a.start, b.start);
}

function areAlike4(view: DataView, a: number, b: number): boolean {
  return (
    view.getUint16(a) === view.getUint16(b) &&
    view.getInt32(a + ipv4.SOURCE) === view.getInt32(b + ipv4.SOURCE) &&
    view.getInt32(a + ipv4.DESTINATION) === view.getInt32(b + ipv4.DESTINATION) &&
    view.getUint16(a + ipv4.TTL) === view.getUint16(b + ipv4.TTL) &&
    view.getUint16(a + ipv4.FRAGMENT) === view.getUint16(b + ipv4.FRAGMENT)
  );
}

function areAlike6(view: DataView, a: number, b: number): boolean {
  if (view.getInt32(a) !== view.getInt32(b)) return false;
  if (view.getUint16(a + ipv6.NEXT_HEADER) !== view.getUint16(b + ipv6.NEXT_HEADER)) return false;
  for (let at = ipv6.SOURCE; at < ipv6.HEADER; at += 4)
    if (view.getInt32(a + at) !== view.getInt32(b + at)) return false;
  return true;
}

function append(last: Packet, next: Packet): void {
  if (last.segment === 0) last.segment = payloadBytes(last);
  last.bytes.copyWithin(last.end, next.udp + udp.HEADER, next.end);
  last.end += payloadBytes(next);
}

/** Writes the lengths and checksums of a packet that others were appended to. */
function seal(packet: Packet): void {
  const { view, v6, start, end, udp: header } = packet;
  if (v6) view.setUint16(start + ipv6.PAYLOAD_LENGTH, end - start - ipv6.HEADER);
  else {
    view.setUint16(start + ipv4.TOTAL_LENGTH, end - start);
    ipv4.writeHeaderChecksum(view, start, ipv4.MIN_HEADER);
  }
  const length = end - header;
  view.setUint16(header + udp.LENGTH, length);
  const addresses = start + (v6 ? ipv6.SOURCE : ipv4.SOURCE);
  view.setUint16(header + udp.CHECKSUM, fold(sumWords(view, addresses, header, udp.PROTOCOL + length)));
  packet.checksum = Checksum.partial;
}
