/**
 * A decoded view of a packet, made once and reused for packet after packet: numbers and offsets, no copies.
 *
 * `parse` is the only place where bounds are checked. What it says is there can be read without further checks. Malformed
 * input is an outcome (`Kind.malformed`), never an exception.
 */
import * as icmp from './icmp.js';
import { Read } from './ip-header.js';
import * as ipv6 from './ipv6.js';
import * as udp from './udp.js';
import { UdpHeaders } from './udp-headers.js';
import { type ByteOffset, type FlowId, NONE } from './units.js';

export { DESTINATION_AT, SOURCE_AT } from './ip-header.js';
export { Mark } from './udp-headers.js';

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

/** What is known of the checksum of a packet's UDP header. */
export const Checksum = {
  /** It is there, right or not. */
  full: 0,
  /** It is there, and was found right. */
  good: 1,
  /** The field holds the sum of the pseudo header, not complemented: the device that sends it on completes it. */
  partial: 2,
} as const;
export type Checksum = (typeof Checksum)[keyof typeof Checksum];

export class Packet extends UdpHeaders {
  kind: Kind = Kind.malformed;
  checksum: Checksum = Checksum.full;
  /** Bytes of payload in each datagram of a super-packet but the last one; 0 if it is one datagram. */
  segment = 0;
  /** The headers that an ICMP error quotes. They mean nothing unless this is `Kind.error`. */
  readonly quoted = new UdpHeaders(this.view);
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
    view = new DataView(buffer),
  ) {
    super(view);
  }

  get isSuperPacket(): boolean {
    return this.segment > 0;
  }

  get datagrams(): number {
    return this.isSuperPacket ? Math.ceil(this.payloadLength / this.segment) : 1;
  }

  /** Reads the packet in `[start, end)`; what lies behind the packet's own length is cut off. Sets every field. */
  parse(start: ByteOffset, end: ByteOffset, checksum: Checksum = Checksum.full, segment = 0): Kind {
    this.checksum = checksum;
    this.segment = segment;
    this.isInbound = false;
    this.hint = NONE;
    this.query = NONE;
    this.kind = this.classify(start, end);
    return this.kind;
  }

  /** Reads the packet anew after its headers have changed. What is not in its bytes stays. */
  parseAgain(): Kind {
    this.kind = this.classify(this.start, this.end);
    return this.kind;
  }

  private classify(start: ByteOffset, end: ByteOffset): Kind {
    const read = this.readIp(start, end, true);
    if (read === Read.malformed) return Kind.malformed;
    if (read === Read.notIp) return Kind.other;
    if (this.protocol === icmp.protocol(this.v6)) return this.readError() ? Kind.error : Kind.other;
    if (read === Read.laterFragment) return this.mayHoldUdp ? Kind.fragment : Kind.other;
    if (!this.isUdp) return Kind.other;
    if (!this.readUdp()) return Kind.malformed;
    const length = this.view.getUint16(this.udp + udp.LENGTH);
    // A first fragment holds only part of it.
    const fits = length >= udp.HEADER && (this.fragmented || this.udp + length <= this.end);
    return fits ? Kind.udp : Kind.malformed;
  }

  /** Whether it is an ICMP error that quotes a UDP datagram. */
  private readError(): boolean {
    const { view, transport, end, v6 } = this;
    const quote = transport + icmp.QUOTED;
    if (this.fragmented || quote > end || !icmp.isError(view.getUint8(transport + icmp.TYPE), v6))
      return false;
    return this.quoted.readQuoted(quote, end, v6);
  }

  /** Whether a later fragment may be one of a UDP datagram: in IPv6 more headers may come before UDP. */
  private get mayHoldUdp(): boolean {
    return this.isUdp || (this.v6 && this.protocol === ipv6.DESTINATION_OPTIONS);
  }
}
