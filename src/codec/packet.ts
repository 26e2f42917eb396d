/**
 * One decoded view of a packet, made once and reused for every packet: numbers and offsets, no copies.
 *
 * `parse` is the only place where bounds are checked; whatever it says is there can be read without further
 * checks. Malformed input is an outcome (`Kind.malformed`), never an exception.
 */
import * as icmp from './icmp.js';
import * as ipv4 from './ipv4.js';
import * as udp from './udp.js';
import * as uoa from './uoa.js';

/** What a packet turned out to be. */
export const Kind = {
  /** Lengths that contradict each other, or `opp` with no UDP to be found in it. */
  malformed: 0,
  /** UDP with its header, marked or not; also the first of several fragments. */
  udp: 1,
  /** A fragment other than the first: no ports, no mark. */
  fragment: 2,
  /** Anything else: another protocol, another IP version. */
  other: 3,
  /** An ICMP error about a UDP datagram, quoting its headers. */
  error: 4,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Whether the packet carries a mark, and in what state. */
export const Mark = { none: 0, found: 1, broken: 2 } as const;
export type Mark = (typeof Mark)[keyof typeof Mark];

const FRAGMENTED = ipv4.MORE_FRAGMENTS | ipv4.FRAGMENT_OFFSET;

export class Packet {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  kind: Kind = Kind.malformed;
  /** Offsets into the buffer, in bytes: `[start, end)` is the IP packet, `transport` follows the IP header. */
  start = 0;
  end = 0;
  transport = 0;
  /** Offset of the UDP header (behind the `opp` header, if there is one), or of the one that an error quotes. */
  udp = 0;
  /** Offset of the IP header that an error quotes. */
  quoted = 0;
  protocol = 0;
  /** Addresses as signed 32-bit words. */
  source = 0;
  destination = 0;
  /** More than one fragment: this one has others before or behind it. */
  fragmented = false;
  carrier: uoa.Carrier = uoa.Carrier.none;
  mark: Mark = Mark.none;
  /** Offset and length of the option; only for `Mark.found`. */
  option = 0;
  optionLength = 0;

  constructor(buffer: ArrayBufferLike) {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
  }

  get sourcePort(): number {
    return this.view.getUint16(this.udp + udp.SOURCE_PORT);
  }

  get destinationPort(): number {
    return this.view.getUint16(this.udp + udp.DESTINATION_PORT);
  }

  /** Bytes of UDP payload, as the UDP header has it. */
  get payloadLength(): number {
    return this.view.getUint16(this.udp + udp.LENGTH) - udp.HEADER;
  }

  /** Reads the packet in `[start, end)`; what lies behind the IP header's total length is cut off. */
  parse(start: number, end: number): Kind {
    this.start = start;
    this.end = end;
    this.carrier = uoa.Carrier.none;
    this.mark = Mark.none;
    this.kind = this.classify();
    return this.kind;
  }

  private classify(): Kind {
    const { view, start } = this;
    const captured = this.end - start;
    if (captured < 1) return Kind.malformed;
    if (view.getUint8(start) >>> 4 !== 4) return Kind.other;
    if (captured < ipv4.MIN_HEADER) return Kind.malformed;

    const headerLength = (view.getUint8(start) & 0x0f) * 4;
    const totalLength = view.getUint16(start + ipv4.TOTAL_LENGTH);
    if (headerLength < ipv4.MIN_HEADER || headerLength > totalLength || totalLength > captured)
      return Kind.malformed;

    this.end = start + totalLength;
    this.transport = start + headerLength;
    this.protocol = view.getUint8(start + ipv4.PROTOCOL);
    this.source = view.getInt32(start + ipv4.SOURCE);
    this.destination = view.getInt32(start + ipv4.DESTINATION);
    if (this.protocol === icmp.PROTOCOL) return this.readError();
    if (this.protocol !== udp.PROTOCOL && this.protocol !== uoa.OPP_PROTOCOL) return Kind.other;

    const fragment = view.getUint16(start + ipv4.FRAGMENT);
    this.fragmented = (fragment & FRAGMENTED) !== 0;
    if ((fragment & ipv4.FRAGMENT_OFFSET) !== 0) return Kind.fragment;

    if (this.protocol === uoa.OPP_PROTOCOL) return this.readOpp();
    this.udp = this.transport;
    if (headerLength > ipv4.MIN_HEADER) this.readMark(uoa.Carrier.ipo, start + ipv4.OPTIONS, this.transport);
    return this.udpFits() ? Kind.udp : Kind.malformed;
  }

  /** An error, if it quotes the whole headers of a UDP datagram (its first fragment, if it came in several). */
  private readError(): Kind {
    const { view, transport, end } = this;
    this.fragmented = (view.getUint16(this.start + ipv4.FRAGMENT) & FRAGMENTED) !== 0;
    const quoted = transport + icmp.QUOTED;
    if (
      this.fragmented ||
      quoted + ipv4.MIN_HEADER > end ||
      !icmp.isError(view.getUint8(transport + icmp.TYPE))
    )
      return Kind.other;
    const first = view.getUint8(quoted);
    const header = quoted + (first & 0x0f) * 4;
    const isFirst = (view.getUint16(quoted + ipv4.FRAGMENT) & ipv4.FRAGMENT_OFFSET) === 0;
    const isUdp = first >>> 4 === 4 && view.getUint8(quoted + ipv4.PROTOCOL) === udp.PROTOCOL && isFirst;
    if (!isUdp || header < quoted + ipv4.MIN_HEADER || header + udp.HEADER > end) return Kind.other;
    this.quoted = quoted;
    this.udp = header;
    return Kind.error;
  }

  private readOpp(): Kind {
    const length = uoa.oppLength(this.view, this.transport, this.end);
    this.carrier = uoa.Carrier.opp;
    this.mark = Mark.broken;
    if (length === 0) return Kind.malformed;
    this.udp = this.transport + length;
    this.readMark(uoa.Carrier.opp, this.transport + uoa.OPP_HEADER, this.udp);
    return this.udpFits() ? Kind.udp : Kind.malformed;
  }

  private readMark(carrier: uoa.Carrier, start: number, end: number): void {
    const offset = uoa.findMark(this.view, start, end);
    if (offset === uoa.MARK_ABSENT && carrier === uoa.Carrier.ipo) return;
    this.carrier = carrier;
    if (offset < 0) {
      this.mark = Mark.broken;
      return;
    }
    this.mark = Mark.found;
    this.option = offset;
    this.optionLength = this.view.getUint8(offset + uoa.OPTION_LENGTH);
  }

  /** The UDP header is there, and its length stays inside (a first fragment holds only part of it). */
  private udpFits(): boolean {
    if (this.udp + udp.HEADER > this.end) return false;
    const length = this.view.getUint16(this.udp + udp.LENGTH);
    return length >= udp.HEADER && (this.fragmented || this.udp + length <= this.end);
  }
}
