/**
 * What the kernel would do for us, done by us where it can't: completing a checksum, cutting a super-packet into its
 * datagrams (linux/net/ipv4/udp_offload.c, __udp_gso_segment).
 */
import { complement, sumLongs, sumWords } from '../codec/checksum.js';
import * as ipv4 from '../codec/ipv4.js';
import * as ipv6 from '../codec/ipv6.js';
import * as udp from '../codec/udp.js';

/** Writes the whole UDP checksum of a packet at `start`, whose UDP header is at `header` and which ends at `end`. */
export function completeChecksum(view: DataView, start: number, header: number, end: number): void {
  const isV6 = view.getUint8(start) >>> 4 === 6;
  const addresses = isV6
    ? sumWords(view, start + ipv6.SOURCE, start + ipv6.HEADER)
    : sumWords(view, start + ipv4.SOURCE, start + ipv4.OPTIONS);
  view.setUint16(header + udp.CHECKSUM, 0);
  const sum = sumLongs(view, header, end, addresses + udp.PROTOCOL + end - header);
  view.setUint16(header + udp.CHECKSUM, complement(sum) || 0xffff);
}

/** Cuts a super-packet: one datagram after the other is written to a place that the caller chooses. */
export class Cutter {
  /** Bytes of payload that are still to come. */
  left = 0;
  private start = 0;
  private headers = 0;
  private transport = 0;
  private segment = 0;
  private index = 0;

  constructor(
    private readonly bytes: Uint8Array,
    private readonly view: DataView,
  ) {}

  /** Begins with the packet at `start`, whose UDP header is `transport` bytes further. */
  begin(start: number, length: number, transport: number, segment: number): void {
    this.start = start;
    this.transport = transport;
    this.headers = transport + udp.HEADER;
    this.segment = segment;
    this.left = length - this.headers;
    this.index = 0;
  }

  /** The length in bytes of the next datagram. */
  get nextLength(): number {
    return this.headers + Math.min(this.segment, this.left);
  }

  /** Writes the next datagram at `to`, and gives its length in bytes. */
  next(to: number): number {
    const { bytes, view, start, headers } = this;
    const length = this.nextLength;
    const payload = start + headers + this.index * this.segment;
    bytes.copyWithin(to, start, start + headers);
    bytes.copyWithin(to + headers, payload, payload + length - headers);
    if (view.getUint8(to) >>> 4 === 6) view.setUint16(to + ipv6.PAYLOAD_LENGTH, length - ipv6.HEADER);
    else {
      view.setUint16(to + ipv4.TOTAL_LENGTH, length);
      view.setUint16(to + ipv4.IDENTIFICATION, view.getUint16(to + ipv4.IDENTIFICATION) + this.index);
      ipv4.writeHeaderChecksum(view, to, (view.getUint8(to) & 0x0f) * 4);
    }
    view.setUint16(to + this.transport + udp.LENGTH, length - this.transport);
    completeChecksum(view, to, to + this.transport, to + length);
    this.index++;
    this.left -= length - headers;
    return length;
  }
}
