/**
 * An IP header of either family as far as it matters here: where it and what follows begin and end, whose packet it
 * is, and what kind of fragment. Made once and read into again for every packet: numbers and offsets, no copies.
 */
import { ADDRESS_WORDS, isMapped, readAddress4, readAddress6 } from './addresses.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import * as udp from './udp.js';

/** Bytes of the largest IP packet that is handled: IPv4 has no larger ones, and a TUN brings none. */
export const MAX_PACKET = 65535;

/** Indexes into `addresses`. */
export const SOURCE = 0;
export const DESTINATION = ADDRESS_WORDS;

/** What reading a header came to. */
export const Read = {
  /** Lengths that contradict each other. */
  malformed: 0,
  whole: 1,
  /** A fragment other than the first: what is at `transport` is somewhere in the middle. */
  laterFragment: 2,
  /** Neither IPv4 nor IPv6, or IPv6 with what stands for an IPv4 address here and is none on the wire (RFC 4291, 2.5.5). */
  foreign: 3,
} as const;
export type Read = (typeof Read)[keyof typeof Read];

const FRAGMENTED4 = ipv4.MORE_FRAGMENTS | ipv4.FRAGMENT_OFFSET;
const FRAGMENTED6 = ipv6.MORE_FRAGMENTS | ipv6.FRAGMENT_OFFSET;

export class IpHeader {
  v6 = false;
  /** Offsets in bytes: `[start, end)` is the IP packet, `transport` follows its header and extension headers. */
  start = 0;
  end = 0;
  transport = 0;
  /** What is at `transport`: IPv4's protocol, or the next header of IPv6's last extension header. */
  protocol = 0;
  /** Where `protocol` is written. */
  protocolAt = 0;
  /** IPv6: the fragment header's offset, or 0. */
  fragmentHeader = 0;
  /** IPv6: the offset of the destination options right before UDP, or 0; and where the 60 that leads there is written. */
  options = 0;
  optionsAt = 0;
  /** More than one fragment: this one has others before or behind it. */
  fragmented = false;
  /** Source and destination, four words each. */
  readonly addresses = new Int32Array(2 * ADDRESS_WORDS);

  /**
   * Reads the header at `start` of a packet that ends at `end` or before: what lies behind the packet's own length is
   * cut off. `isWhole` is false for what an ICMP error quotes: that may end before the packet did.
   */
  readHeader(view: DataView, start: number, end: number, isWhole: boolean): Read {
    this.start = start;
    this.end = end;
    this.fragmentHeader = 0;
    this.options = 0;
    if (end - start < 1) return Read.malformed;
    const version = view.getUint8(start) >>> 4;
    if (version === 4) return this.read4(view, isWhole);
    return version === 6 ? this.read6(view, isWhole) : this.foreign();
  }

  /** The length of the IP header with its extension headers. */
  get headerLength(): number {
    return this.transport - this.start;
  }

  /** Bytes of what fragments are counted in, as far as they are in this one. */
  get fragmentLength(): number {
    const { fragmentHeader } = this;
    return this.end - (fragmentHeader > 0 ? fragmentHeader + ipv6.FRAGMENT_HEADER : this.transport);
  }

  /** The packet's length in bytes as its header has it: of one that an error quotes there may be less. */
  declaredLength(view: DataView): number {
    const { start } = this;
    if (this.v6) return ipv6.HEADER + view.getUint16(start + ipv6.PAYLOAD_LENGTH);
    return view.getUint16(start + ipv4.TOTAL_LENGTH);
  }

  /** What tells the fragments of one datagram from another's, beside its addresses (RFC 791, RFC 8200 4.5). */
  fragmentId(view: DataView): number {
    if (!this.v6) return (view.getUint16(this.start + ipv4.IDENTIFICATION) << 8) | this.protocol;
    return this.fragmentHeader === 0 ? 0 : view.getInt32(this.fragmentHeader + ipv6.FRAGMENT_ID);
  }

  /** What the packet before it left here is not its. */
  private foreign(): Read {
    this.fragmented = false;
    this.addresses.fill(0);
    return Read.foreign;
  }

  private read4(view: DataView, isWhole: boolean): Read {
    const { start } = this;
    const captured = this.end - start;
    if (captured < ipv4.MIN_HEADER) return Read.malformed;
    const headerLength = (view.getUint8(start) & 0x0f) * 4;
    const totalLength = view.getUint16(start + ipv4.TOTAL_LENGTH);
    if (headerLength < ipv4.MIN_HEADER || headerLength > totalLength || headerLength > captured)
      return Read.malformed;
    if (totalLength < captured) this.end = start + totalLength;
    else if (isWhole && totalLength > captured) return Read.malformed;

    this.v6 = false;
    this.transport = start + headerLength;
    this.protocolAt = start + ipv4.PROTOCOL;
    this.protocol = view.getUint8(this.protocolAt);
    readAddress4(view, start + ipv4.SOURCE, this.addresses, SOURCE);
    readAddress4(view, start + ipv4.DESTINATION, this.addresses, DESTINATION);
    const fragment = view.getUint16(start + ipv4.FRAGMENT);
    this.fragmented = (fragment & FRAGMENTED4) !== 0;
    return (fragment & ipv4.FRAGMENT_OFFSET) === 0 ? Read.whole : Read.laterFragment;
  }

  private read6(view: DataView, isWhole: boolean): Read {
    const { start } = this;
    const captured = this.end - start;
    if (captured < ipv6.HEADER) return Read.malformed;
    const totalLength = ipv6.HEADER + view.getUint16(start + ipv6.PAYLOAD_LENGTH);
    if (totalLength < captured) this.end = start + totalLength;
    else if (isWhole && totalLength > captured) return Read.malformed;

    this.v6 = true;
    this.fragmented = false;
    readAddress6(view, start + ipv6.SOURCE, this.addresses, SOURCE);
    readAddress6(view, start + ipv6.DESTINATION, this.addresses, DESTINATION);
    if (isMapped(this.addresses, SOURCE) || isMapped(this.addresses, DESTINATION)) return this.foreign();
    return this.readExtensions(view);
  }

  /** Walks the extension headers up to the first that is none (or that nobody may look behind, such as AH and ESP). */
  private readExtensions(view: DataView): Read {
    const { end } = this;
    let written = this.start + ipv6.NEXT_HEADER;
    let at = this.start + ipv6.HEADER;
    for (;;) {
      const next = view.getUint8(written);
      this.protocolAt = written;
      this.protocol = next;
      this.transport = at;
      const isFragment = next === ipv6.FRAGMENT;
      const isOther = next === ipv6.HOP_BY_HOP || next === ipv6.ROUTING || next === ipv6.DESTINATION_OPTIONS;
      if (!isFragment && !isOther) return Read.whole;
      const length = at + 8 > end ? 0 : isFragment ? ipv6.FRAGMENT_HEADER : ipv6.extensionLength(view, at);
      if (length === 0 || at + length > end) return Read.malformed;
      if (isFragment && this.isLater(view, at)) {
        this.transport = at + length;
        this.protocol = view.getUint8(at);
        this.protocolAt = at;
        return Read.laterFragment;
      }
      if (next === ipv6.DESTINATION_OPTIONS && view.getUint8(at) === udp.PROTOCOL) {
        this.options = at;
        this.optionsAt = written;
      }
      written = at;
      at += length;
    }
  }

  private isLater(view: DataView, header: number): boolean {
    const fragment = view.getUint16(header + ipv6.FRAGMENT_FIELD);
    this.fragmentHeader = header;
    this.fragmented = (fragment & FRAGMENTED6) !== 0;
    return (fragment & ipv6.FRAGMENT_OFFSET) !== 0;
  }
}
