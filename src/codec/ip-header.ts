/**
 * An IP header of either family as far as it matters here: where it and what follows begin and end, whose packet it
 * is, and what kind of fragment. Made once and read into again for every packet: numbers and offsets, no copies.
 */
import { ADDRESS_WORDS, isMapped, readAddress4, readAddress6 } from './addresses.js';
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import * as udp from './udp.js';
import { type ByteOffset, NONE, type WordIndex } from './units.js';

/** Bytes of the largest IP packet that is handled: IPv4 has no larger ones, and a TUN brings none. */
export const MAX_PACKET = 65535;

/** Indexes into `addresses`. */
export const SOURCE_AT: WordIndex = 0;
export const DESTINATION_AT: WordIndex = ADDRESS_WORDS;

/** What reading a header came to. */
export const Read = {
  /** Lengths that contradict each other. */
  malformed: 0,
  whole: 1,
  /** A fragment other than the first: what is at `transport` is somewhere in the middle. */
  laterFragment: 2,
  /** Neither IPv4 nor IPv6, or IPv6 with what stands for an IPv4 address here and is none on the wire (RFC 4291, 2.5.5). */
  notIp: 3,
} as const;
export type Read = (typeof Read)[keyof typeof Read];

const FRAGMENTED4 = ipv4.MORE_FRAGMENTS | ipv4.FRAGMENT_OFFSET;
const FRAGMENTED6 = ipv6.MORE_FRAGMENTS | ipv6.FRAGMENT_OFFSET;

export class IpHeader {
  v6 = false;
  /** `[start, end)` is the IP packet, `transport` follows its header and extension headers. */
  start: ByteOffset = 0;
  end: ByteOffset = 0;
  transport: ByteOffset = 0;
  /** What is at `transport`: IPv4's protocol, or the next header of IPv6's last extension header. */
  protocol = 0;
  /** Where `protocol` is written. */
  protocolOffset: ByteOffset = 0;
  /** IPv6: the fragment header, or NONE. */
  fragmentHeader: ByteOffset = NONE;
  /** IPv6: the destination options header right before UDP, or NONE. */
  optionsHeader: ByteOffset = NONE;
  /** Where the 60 is written that leads to `optionsHeader`, if there is one. */
  optionsNumberOffset: ByteOffset = NONE;
  /** More than one fragment: this one has others before or behind it. */
  fragmented = false;
  /** Source and destination, four words each. All 0 where none could be read. */
  readonly addresses = new Int32Array(2 * ADDRESS_WORDS);

  constructor(readonly view: DataView) {}

  /**
   * Reads the header at `start` of a packet that ends at `end` or before: what lies behind the packet's own length is
   * cut off. `isWhole` is false for what an ICMP error quotes: that may end before the packet did. Sets every field.
   */
  readHeader(start: ByteOffset, end: ByteOffset, isWhole: boolean): Read {
    this.start = start;
    this.end = end;
    this.transport = start;
    this.protocol = 0;
    this.protocolOffset = start;
    this.fragmentHeader = NONE;
    this.optionsHeader = NONE;
    this.optionsNumberOffset = NONE;
    this.fragmented = false;
    const version = start < end ? this.view.getUint8(start) >>> 4 : 0;
    this.v6 = version === 6;
    if (version === 4) return this.read4(isWhole);
    if (version === 6) return this.read6(isWhole);
    return this.withoutAddresses(start < end ? Read.notIp : Read.malformed);
  }

  get hasFragmentHeader(): boolean {
    return this.fragmentHeader !== NONE;
  }

  get hasOptionsHeader(): boolean {
    return this.optionsHeader !== NONE;
  }

  /** The length in bytes of the IP header with its extension headers. */
  get headerLength(): number {
    return this.transport - this.start;
  }

  /** Bytes of what fragments are counted in, as far as they are in this one. */
  get fragmentLength(): number {
    const { fragmentHeader } = this;
    return this.end - (this.hasFragmentHeader ? fragmentHeader + ipv6.FRAGMENT_HEADER : this.transport);
  }

  /** The packet's length in bytes as its header has it: of one that an error quotes there may be less. */
  get declaredLength(): number {
    const { view, start } = this;
    if (this.v6) return ipv6.HEADER + view.getUint16(start + ipv6.PAYLOAD_LENGTH);
    return view.getUint16(start + ipv4.TOTAL_LENGTH);
  }

  /** What tells the fragments of one datagram from another's, beside its addresses (RFC 791, RFC 8200 4.5). */
  get fragmentId(): number {
    const { view, start } = this;
    if (!this.v6) return (view.getUint16(start + ipv4.IDENTIFICATION) << 8) | this.protocol;
    return this.hasFragmentHeader ? view.getInt32(this.fragmentHeader + ipv6.FRAGMENT_ID) : 0;
  }

  private withoutAddresses(read: Read): Read {
    this.addresses.fill(0);
    return read;
  }

  private read4(isWhole: boolean): Read {
    const { view, start, addresses } = this;
    const captured = this.end - start;
    if (captured < ipv4.MIN_HEADER) return this.withoutAddresses(Read.malformed);
    const headerLength = (view.getUint8(start) & 0x0f) * 4;
    const totalLength = view.getUint16(start + ipv4.TOTAL_LENGTH);
    if (headerLength < ipv4.MIN_HEADER || headerLength > totalLength || headerLength > captured)
      return this.withoutAddresses(Read.malformed);
    if (totalLength < captured) this.end = start + totalLength;
    else if (isWhole && totalLength > captured) return this.withoutAddresses(Read.malformed);

    this.transport = start + headerLength;
    this.protocolOffset = start + ipv4.PROTOCOL;
    this.protocol = view.getUint8(this.protocolOffset);
    readAddress4(view, start + ipv4.SOURCE, addresses, SOURCE_AT);
    readAddress4(view, start + ipv4.DESTINATION, addresses, DESTINATION_AT);
    const fragment = view.getUint16(start + ipv4.FRAGMENT);
    this.fragmented = (fragment & FRAGMENTED4) !== 0;
    return (fragment & ipv4.FRAGMENT_OFFSET) === 0 ? Read.whole : Read.laterFragment;
  }

  private read6(isWhole: boolean): Read {
    const { view, start, addresses } = this;
    const captured = this.end - start;
    if (captured < ipv6.HEADER) return this.withoutAddresses(Read.malformed);
    const totalLength = ipv6.HEADER + view.getUint16(start + ipv6.PAYLOAD_LENGTH);
    if (totalLength < captured) this.end = start + totalLength;
    else if (isWhole && totalLength > captured) return this.withoutAddresses(Read.malformed);

    readAddress6(view, start + ipv6.SOURCE, addresses, SOURCE_AT);
    readAddress6(view, start + ipv6.DESTINATION, addresses, DESTINATION_AT);
    if (isMapped(addresses, SOURCE_AT) || isMapped(addresses, DESTINATION_AT))
      return this.withoutAddresses(Read.notIp);
    return this.readExtensions();
  }

  /** Walks the extension headers up to the first header that is none, or that hides what is behind it (AH, ESP). */
  private readExtensions(): Read {
    const { view, end } = this;
    let numberOffset = this.start + ipv6.NEXT_HEADER;
    let header = this.start + ipv6.HEADER;
    for (;;) {
      const next = view.getUint8(numberOffset);
      this.protocolOffset = numberOffset;
      this.protocol = next;
      this.transport = header;
      const isFragment = next === ipv6.FRAGMENT;
      const isOther = next === ipv6.HOP_BY_HOP || next === ipv6.ROUTING || next === ipv6.DESTINATION_OPTIONS;
      if (!isFragment && !isOther) return Read.whole;
      const length =
        header + 8 > end ? 0 : isFragment ? ipv6.FRAGMENT_HEADER : ipv6.extensionLength(view, header);
      if (length === 0 || header + length > end) return Read.malformed;
      if (isFragment && this.isLater(header)) {
        this.transport = header + length;
        this.protocol = view.getUint8(header);
        this.protocolOffset = header;
        return Read.laterFragment;
      }
      if (next === ipv6.DESTINATION_OPTIONS && view.getUint8(header) === udp.PROTOCOL) {
        this.optionsHeader = header;
        this.optionsNumberOffset = numberOffset;
      }
      numberOffset = header;
      header += length;
    }
  }

  /** Reads the fragment header: whether this is a fragment other than the first. */
  private isLater(header: ByteOffset): boolean {
    const fragment = this.view.getUint16(header + ipv6.FRAGMENT_FIELD);
    this.fragmentHeader = header;
    this.fragmented = (fragment & FRAGMENTED6) !== 0;
    return (fragment & ipv6.FRAGMENT_OFFSET) !== 0;
  }
}
