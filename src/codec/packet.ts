/**
 * A decoded view of a packet, made once and reused for packet after packet: numbers and offsets, no copies.
 *
 * `parse` is the only place where bounds are checked; whatever it says is there can be read without further
 * checks. Malformed input is an outcome (`Kind.malformed`), never an exception.
 */
import { Carrier } from './carriers.js';
import * as icmp from './icmp.js';
import { IpHeader, Read } from './ip-header.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import * as udp from './udp.js';
import { type FlowId, NONE } from './units.js';
import * as uoa from './uoa.js';

export { DESTINATION, SOURCE } from './ip-header.js';

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

/** What is known of the checksum of a packet's UDP header. */
export const Checksum = {
  /** It is there, right or not. */
  full: 0,
  /** It is there, and was found right. */
  good: 1,
  /** The field holds the sum of the pseudo header, not complemented: the rest is left to whoever sends it on. */
  partial: 2,
} as const;
export type Checksum = (typeof Checksum)[keyof typeof Checksum];

export class Packet extends IpHeader {
  kind: Kind = Kind.malformed;
  checksum: Checksum = Checksum.full;
  /** A super-packet's bytes of payload per datagram, but for the last one; 0: it is one datagram. */
  segment = 0;
  /** Offset of the UDP header (behind the `opp` header, if there is one), or of the one that an error quotes. */
  udp = 0;
  /** The IP header that an error quotes. */
  readonly quoted = new IpHeader();
  carrier: Carrier = Carrier.none;
  mark: Mark = Mark.none;
  /** Offset and length of the option, in an error of the one that is quoted; only for `Mark.found`. */
  option = 0;
  optionLength = 0;
  /**
   * What the role's look at the whole batch found out (role/role.ts): whether it goes to this host, its flow, and the
   * number of the query whose answer says whose it is.
   */
  isInbound = false;
  hint: FlowId = NONE;
  query = NONE;

  /** A view of packets in `buffer`; several of one buffer may share `bytes` and `view`. */
  constructor(
    buffer: ArrayBufferLike,
    readonly bytes = new Uint8Array(buffer),
    readonly view = new DataView(buffer),
  ) {
    super();
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

  /** How many datagrams it stands for. */
  get datagrams(): number {
    return this.segment === 0 ? 1 : Math.ceil(this.payloadLength / this.segment);
  }

  /** Reads the packet in `[start, end)`; what lies behind the packet's own length is cut off. */
  parse(start: number, end: number, checksum: Checksum = Checksum.full, segment = 0): Kind {
    this.checksum = checksum;
    this.segment = segment;
    this.carrier = Carrier.none;
    this.mark = Mark.none;
    this.hint = NONE;
    this.query = NONE;
    this.kind = this.classify(start, end);
    return this.kind;
  }

  private classify(start: number, end: number): Kind {
    const read = this.readHeader(this.view, start, end, true);
    if (read === Read.malformed) return Kind.malformed;
    if (read === Read.foreign) return Kind.other;
    if (this.protocol === icmp.protocol(this.v6)) return this.readError();
    if (read === Read.laterFragment) return mayHoldUdp(this) ? Kind.fragment : Kind.other;
    if (this.protocol !== udp.PROTOCOL && this.protocol !== uoa.OPP_PROTOCOL) return Kind.other;
    if (!this.readUdp(this)) return Kind.malformed;
    const length = this.view.getUint16(this.udp + udp.LENGTH);
    // A first fragment holds only part of it.
    const fits = length >= udp.HEADER && (this.fragmented || this.udp + length <= this.end);
    return fits ? Kind.udp : Kind.malformed;
  }

  /** An error, if it quotes the whole headers of a UDP datagram (its first fragment, if it came in several). */
  private readError(): Kind {
    const { view, transport, end, quoted } = this;
    const start = transport + icmp.QUOTED;
    if (this.fragmented || start > end || !icmp.isError(view.getUint8(transport + icmp.TYPE), this.v6))
      return Kind.other;
    const isFirst = quoted.readHeader(view, start, end, false) === Read.whole && quoted.v6 === this.v6;
    const isUdp = quoted.protocol === udp.PROTOCOL || quoted.protocol === uoa.OPP_PROTOCOL;
    if (isFirst && isUdp && this.readUdp(quoted)) return Kind.error;
    this.carrier = Carrier.none;
    this.mark = Mark.none;
    return Kind.other;
  }

  /** Finds the UDP header behind `header`, and the mark that is with it; false if there is no whole UDP header. */
  private readUdp(header: IpHeader): boolean {
    this.udp = header.transport;
    const isPlain = header.v6 ? header.options === 0 : header.headerLength === ipv4.MIN_HEADER;
    if ((!isPlain || header.protocol === uoa.OPP_PROTOCOL) && !this.readCarrier(header)) return false;
    return this.udp + udp.HEADER <= header.end;
  }

  /** Reads what stands in front of the UDP header; false if that contradicts itself. */
  private readCarrier(header: IpHeader): boolean {
    const { view } = this;
    if (header.protocol === uoa.OPP_PROTOCOL) {
      const length = uoa.oppLength(view, header.transport, header.end);
      this.carrier = Carrier.opp;
      this.mark = Mark.broken;
      if (length === 0) return false;
      this.udp += length;
      this.readMark(Carrier.opp, uoa.findMark(view, header.transport + uoa.OPP_HEADER, this.udp));
    } else if (header.v6) this.readMark(Carrier.dstopt, uoa.findMark6(view, header.options));
    else this.readMark(Carrier.ipo, uoa.findMark(view, header.start + ipv4.OPTIONS, header.transport));
    return true;
  }

  private readMark(carrier: Carrier, offset: number): void {
    if (offset === uoa.MARK_ABSENT && carrier !== Carrier.opp) return;
    this.carrier = carrier;
    this.mark = offset < 0 ? Mark.broken : Mark.found;
    this.option = offset;
    if (offset < 0) return;
    this.optionLength =
      carrier === Carrier.dstopt
        ? uoa.dstoptOptionLength(this.view, offset)
        : uoa.optionLength(this.view, offset);
  }
}

/** Whether a later fragment may be one of a UDP datagram: in IPv6 more headers may come before UDP. */
function mayHoldUdp({ protocol, v6 }: IpHeader): boolean {
  return (
    protocol === udp.PROTOCOL ||
    protocol === uoa.OPP_PROTOCOL ||
    (v6 && protocol === ipv6.DESTINATION_OPTIONS)
  );
}
