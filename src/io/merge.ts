/**
 * Neighbours of one flow become one super-packet: one write() for all of them, and one way through the stack. Only
 * datagrams whose checksums are known to be right, because a super-packet's are made anew; the order of packets stays.
 */
import { fold, sumWords } from '../codec/checksum.js';
import * as ipv4 from '../codec/ipv4.js';
import * as ipv6 from '../codec/ipv6.js';
import { Checksum } from '../codec/packet.js';
import * as udp from '../codec/udp.js';
import type { Arena, PacketList } from './device.js';

/** UDP_MAX_SEGMENTS of older kernels; newer ones take 128. */
const MOST_DATAGRAMS = 64;
const LARGEST_PACKET = 65535;

export class Merger {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;

  constructor(private readonly arena: Arena) {
    this.bytes = arena.bytes;
    this.view = new DataView(arena.buffer);
  }

  /** Merges what can be merged in `packets`, in place: the list gets shorter. */
  merge(packets: PacketList): void {
    if (packets.count < 2) return;
    let last = 0;
    let datagrams = 1;
    for (let i = 1; i < packets.count; i++) {
      if (this.takes(packets, last, i, datagrams)) {
        this.append(packets, last, i);
        datagrams++;
        continue;
      }
      if (datagrams > 1) this.seal(packets, last);
      datagrams = 1;
      if (++last !== i) packets.move(i, last);
    }
    if (datagrams > 1) this.seal(packets, last);
    packets.count = last + 1;
  }

  /** Whether the datagram at `i` may go behind the `datagrams` that are in the packet at `last` already. */
  private takes(packets: PacketList, last: number, i: number, datagrams: number): boolean {
    const { checksums, segments, transports, lengths, offsets } = packets;
    if (checksums[i] === Checksum.full || checksums[last] === Checksum.full) return false;
    if (segments[i] !== 0 || transports[i] !== transports[last] || datagrams === MOST_DATAGRAMS) return false;
    const headers = transports[i] + udp.HEADER;
    const payload = lengths[i] - headers;
    const before = lengths[last] - headers;
    // All but the last one are of one size: a shorter one, like a super-packet from elsewhere, is complete.
    const size = datagrams === 1 ? before : segments[last];
    if (datagrams === 1 ? segments[last] !== 0 : before !== datagrams * size) return false;
    const length = lengths[last] + payload;
    if (payload === 0 || payload > size || length > LARGEST_PACKET) return false;
    if (offsets[last] + length > this.arena.slotEnd(offsets[last])) return false;
    return this.areAlike(offsets[last], offsets[i], transports[i]);
  }

  /** All of both headers but lengths, checksums and IPv4's identification. */
  private areAlike(a: number, b: number, transport: number): boolean {
    const { view } = this;
    if (view.getInt32(a + transport) !== view.getInt32(b + transport)) return false;
    if (view.getUint8(a) >>> 4 === 6) {
      if (transport !== ipv6.HEADER || view.getInt32(a) !== view.getInt32(b)) return false;
      if (view.getUint16(a + ipv6.NEXT_HEADER) !== view.getUint16(b + ipv6.NEXT_HEADER)) return false;
      for (let at = ipv6.SOURCE; at < ipv6.HEADER; at += 4)
        if (view.getInt32(a + at) !== view.getInt32(b + at)) return false;
      return true;
    }
    return (
      transport === ipv4.MIN_HEADER &&
      view.getUint16(a) === view.getUint16(b) &&
      view.getInt32(a + ipv4.SOURCE) === view.getInt32(b + ipv4.SOURCE) &&
      view.getInt32(a + ipv4.DESTINATION) === view.getInt32(b + ipv4.DESTINATION) &&
      view.getUint16(a + ipv4.TTL) === view.getUint16(b + ipv4.TTL) &&
      view.getUint16(a + ipv4.FRAGMENT) === view.getUint16(b + ipv4.FRAGMENT) &&
      (view.getUint16(a + ipv4.FRAGMENT) & ~ipv4.DONT_FRAGMENT) === 0
    );
  }

  private append({ offsets, lengths, transports, segments }: PacketList, last: number, i: number): void {
    const headers = transports[last] + udp.HEADER;
    const from = offsets[i] + headers;
    const payload = lengths[i] - headers;
    if (segments[last] === 0) segments[last] = lengths[last] - headers;
    this.bytes.copyWithin(offsets[last] + lengths[last], from, from + payload);
    lengths[last] += payload;
  }

  /** Makes the headers right for all that is in the packet now. */
  private seal({ offsets, lengths, transports, checksums }: PacketList, i: number): void {
    const { view } = this;
    const start = offsets[i];
    const header = start + transports[i];
    const isV6 = view.getUint8(start) >>> 4 === 6;
    if (isV6) view.setUint16(start + ipv6.PAYLOAD_LENGTH, lengths[i] - ipv6.HEADER);
    else {
      view.setUint16(start + ipv4.TOTAL_LENGTH, lengths[i]);
      ipv4.writeHeaderChecksum(view, start, ipv4.MIN_HEADER);
    }
    const length = lengths[i] - transports[i];
    view.setUint16(header + udp.LENGTH, length);
    const addresses = start + (isV6 ? ipv6.SOURCE : ipv4.SOURCE);
    view.setUint16(header + udp.CHECKSUM, fold(sumWords(view, addresses, header, udp.PROTOCOL + length)));
    checksums[i] = Checksum.partial;
  }
}
