/**
 * ctnetlink, as much of it as a load balancer's shim needs: a query for the connection whose replies go from a real
 * server to LIP:lport, and a change of bits of conntrack's mark. Names are the kernel's (linux/netfilter/nfnetlink.h,
 * nfnetlink_conntrack.h). Netlink's own headers are in host order, the rest in network order.
 */
import { ADDRESS_WORDS, isMapped, readAddress4, readAddress6 } from './addresses.js';
import { HOST_IS_LITTLE_ENDIAN } from './host-order.js';
import { DESTINATION_AT, SOURCE_AT } from './ip-header.js';
import { type ByteOffset, NONE, type Port, type WordIndex } from './units.js';

const NLMSG_HEADER = 16;
const NFGENMSG = 4;
const NLMSG_LENGTH = 0;
const NLMSG_TYPE = 4;
const NLMSG_FLAGS = 6;
const NLMSG_SEQUENCE = 8;
const NLMSG_ERROR = 2;
const NLM_F_REQUEST = 1;

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_NEW = 0;
const IPCTNL_MSG_CT_GET = 1;
const AF_INET = 2;
const AF_INET6 = 10;

const NLA_HEADER = 4;
const NLA_TYPE = 2;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_MARK = 8;
const CTA_ID = 12;
const CTA_MARK_MASK = 21;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;

const IPPROTO_UDP = 17;

/** Which connection, by one of its two directions. */
export interface Tuple {
  /** Source and destination, four words each (SOURCE_AT, DESTINATION_AT). */
  addresses: Int32Array;
  sourcePort: Port;
  destinationPort: Port;
}

/** Which connection: by where its replies come from and go to. Another client's may get the same one later. */
export type ReplyTuple = Tuple;

/** Which connection: by its client and whom that asks. */
export type OriginalTuple = Tuple;

const MAX_REQUEST_BYTES = 160;

/** Writes requests into one buffer of its own, one behind the other: `length` bytes are all of them. */
export class CtRequests {
  readonly bytes: Uint8Array;
  length = 0;
  count = 0;
  /** The number of the last request, which its answer carries. */
  sequence = 0;
  private readonly view: DataView;
  /** Where the last request begins. */
  private start: ByteOffset = 0;

  constructor(readonly capacity: number) {
    this.bytes = new Uint8Array(capacity * MAX_REQUEST_BYTES);
    this.view = new DataView(this.bytes.buffer);
  }

  clear(): void {
    this.length = 0;
    this.count = 0;
  }

  /** IPCTNL_MSG_CT_GET by CTA_TUPLE_REPLY: the answer is one IPCTNL_MSG_CT_NEW, or NLMSG_ERROR. */
  get(tuple: ReplyTuple): void {
    this.begin(IPCTNL_MSG_CT_GET, NLM_F_REQUEST, tuple);
    this.tuple(CTA_TUPLE_REPLY, tuple);
    this.end();
  }

  /**
   * IPCTNL_MSG_CT_NEW without NLM_F_CREATE: sets the bits of `mask` in conntrack's mark to those of `ctMark`. Answered
   * only by an error, should the connection have ended. The kernel does not compare CTA_ID here, so the connection is
   * named by its client: one that has got its LIP:lport meanwhile is left alone.
   */
  setCtMark(tuple: OriginalTuple, ctMark: number, mask: number): void {
    this.begin(IPCTNL_MSG_CT_NEW, NLM_F_REQUEST, tuple);
    this.tuple(CTA_TUPLE_ORIG, tuple);
    this.attribute32(CTA_MARK, ctMark);
    this.attribute32(CTA_MARK_MASK, mask);
    this.end();
  }

  private begin(message: number, flags: number, { addresses }: Tuple): void {
    const { view } = this;
    const start = this.length;
    this.start = start;
    this.length = start + NLMSG_HEADER + NFGENMSG;
    this.bytes.fill(0, start, this.length);
    view.setUint16(start + NLMSG_TYPE, (NFNL_SUBSYS_CTNETLINK << 8) | message, HOST_IS_LITTLE_ENDIAN);
    view.setUint16(start + NLMSG_FLAGS, flags, HOST_IS_LITTLE_ENDIAN);
    this.sequence = (this.sequence + 1) | 0;
    this.count++;
    view.setInt32(start + NLMSG_SEQUENCE, this.sequence, HOST_IS_LITTLE_ENDIAN);
    view.setUint8(start + NLMSG_HEADER, isMapped(addresses, SOURCE_AT) ? AF_INET : AF_INET6);
  }

  private end(): void {
    this.view.setUint32(this.start + NLMSG_LENGTH, this.length - this.start, HOST_IS_LITTLE_ENDIAN);
  }

  private tuple(type: number, tuple: Tuple): void {
    const whole = this.beginNest(type);
    const addresses = this.beginNest(CTA_TUPLE_IP);
    if (isMapped(tuple.addresses, SOURCE_AT)) {
      this.attribute32(CTA_IP_V4_SRC, tuple.addresses[SOURCE_AT + 3]);
      this.attribute32(CTA_IP_V4_DST, tuple.addresses[DESTINATION_AT + 3]);
    } else {
      this.address6(CTA_IP_V6_SRC, tuple.addresses, SOURCE_AT);
      this.address6(CTA_IP_V6_DST, tuple.addresses, DESTINATION_AT);
    }
    this.endNest(addresses);
    const protocol = this.beginNest(CTA_TUPLE_PROTO);
    this.view.setUint8(this.header(CTA_PROTO_NUM, 1), IPPROTO_UDP);
    this.view.setUint16(this.header(CTA_PROTO_SRC_PORT, 2), tuple.sourcePort);
    this.view.setUint16(this.header(CTA_PROTO_DST_PORT, 2), tuple.destinationPort);
    this.endNest(protocol);
    this.endNest(whole);
  }

  private address6(type: number, words: Int32Array, at: WordIndex): void {
    const offset = this.header(type, ADDRESS_WORDS * 4);
    for (let i = 0; i < ADDRESS_WORDS; i++) this.view.setInt32(offset + i * 4, words[at + i]);
  }

  private attribute32(type: number, value: number): void {
    this.view.setInt32(this.header(type, 4), value);
  }

  /** Writes an attribute's header, makes room for `size` bytes (padded to words), and gives the offset of those. */
  private header(type: number, size: number): ByteOffset {
    const start = this.length;
    const end = start + NLA_HEADER + ((size + 3) & ~3);
    this.bytes.fill(0, start, end);
    this.view.setUint16(start, NLA_HEADER + size, HOST_IS_LITTLE_ENDIAN);
    this.view.setUint16(start + NLA_TYPE, type, HOST_IS_LITTLE_ENDIAN);
    this.length = end;
    return start + NLA_HEADER;
  }

  /** Begins an attribute that holds others, up to `endNest` with what this gives. */
  private beginNest(type: number): ByteOffset {
    return this.header(type | NLA_F_NESTED, 0) - NLA_HEADER;
  }

  private endNest(nest: ByteOffset): void {
    this.view.setUint16(nest, this.length - nest, HOST_IS_LITTLE_ENDIAN);
  }
}

/** Reads answers in `bytes`, one at a time, into its fields. */
export class CtAnswer {
  /** The connection's first direction: from its client to whom that asks. */
  readonly original = { addresses: new Int32Array(2 * ADDRESS_WORDS), sourcePort: 0, destinationPort: 0 };
  /** The client, four words. */
  readonly client = this.original.addresses.subarray(SOURCE_AT, SOURCE_AT + ADDRESS_WORDS);
  /** CTA_ID: tells a connection from an earlier one with the same tuple. */
  id = 0;
  private readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer);
  }

  /** The number of the request that the answer at `offset` is to. */
  sequence(offset: ByteOffset): number {
    return this.view.getInt32(offset + NLMSG_SEQUENCE, HOST_IS_LITTLE_ENDIAN);
  }

  get clientPort(): Port {
    return this.original.sourcePort;
  }

  /**
   * Reads an answer of `length` bytes at `offset`: 0 if it is a connection with a client, the errno of an NLMSG_ERROR, or
   * NONE if it is neither.
   */
  read(offset: ByteOffset, length: number): number {
    const { view } = this;
    const { original } = this;
    original.addresses.fill(0);
    original.sourcePort = 0;
    original.destinationPort = 0;
    this.id = 0;
    if (length < NLMSG_HEADER + NFGENMSG) return NONE;
    const stated = view.getUint32(offset + NLMSG_LENGTH, HOST_IS_LITTLE_ENDIAN);
    if (stated > length) return NONE;
    const type = view.getUint16(offset + NLMSG_TYPE, HOST_IS_LITTLE_ENDIAN);
    if (type === NLMSG_ERROR) return -view.getInt32(offset + NLMSG_HEADER, HOST_IS_LITTLE_ENDIAN) || NONE;
    if (type !== ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW)) return NONE;
    this.readConnection(offset + NLMSG_HEADER + NFGENMSG, offset + stated);
    return this.hasClient ? 0 : NONE;
  }

  /** Whether there is a port, and an address other than 0.0.0.0 and ::. */
  private get hasClient(): boolean {
    const { client } = this;
    if (this.clientPort === 0) return false;
    return client[3] !== 0 || !(isMapped(client, 0) || (client[0] | client[1] | client[2]) === 0);
  }

  // ---- attributes, from the outer ones to the inner ones ----------------------------------------------------

  private readConnection(start: ByteOffset, end: ByteOffset): void {
    for (let offset = start; this.isAttribute(offset, end); offset = this.following(offset)) {
      const type = this.typeOf(offset);
      if (type === CTA_TUPLE_ORIG) this.readTuple(offset + NLA_HEADER, this.endOf(offset));
      else if (type === CTA_ID && this.holds(offset, 4)) this.id = this.view.getInt32(offset + NLA_HEADER);
    }
  }

  private readTuple(start: ByteOffset, end: ByteOffset): void {
    for (let offset = start; this.isAttribute(offset, end); offset = this.following(offset)) {
      const type = this.typeOf(offset);
      if (type === CTA_TUPLE_IP) this.readIp(offset + NLA_HEADER, this.endOf(offset));
      else if (type === CTA_TUPLE_PROTO) this.readProtocol(offset + NLA_HEADER, this.endOf(offset));
    }
  }

  private readIp(start: ByteOffset, end: ByteOffset): void {
    for (let offset = start; this.isAttribute(offset, end); offset = this.following(offset)) {
      const type = this.typeOf(offset);
      const { addresses } = this.original;
      const at = type === CTA_IP_V4_DST || type === CTA_IP_V6_DST ? DESTINATION_AT : SOURCE_AT;
      if ((type === CTA_IP_V4_SRC || type === CTA_IP_V4_DST) && this.holds(offset, 4))
        readAddress4(this.view, offset + NLA_HEADER, addresses, at);
      if ((type === CTA_IP_V6_SRC || type === CTA_IP_V6_DST) && this.holds(offset, 16))
        readAddress6(this.view, offset + NLA_HEADER, addresses, at);
    }
  }

  private readProtocol(start: ByteOffset, end: ByteOffset): void {
    for (let offset = start; this.isAttribute(offset, end); offset = this.following(offset)) {
      const type = this.typeOf(offset);
      if (!this.holds(offset, 2)) continue;
      if (type === CTA_PROTO_SRC_PORT) this.original.sourcePort = this.view.getUint16(offset + NLA_HEADER);
      if (type === CTA_PROTO_DST_PORT)
        this.original.destinationPort = this.view.getUint16(offset + NLA_HEADER);
    }
  }

  /** Whether there is a whole attribute at `offset`. */
  private isAttribute(offset: ByteOffset, end: ByteOffset): boolean {
    return offset + NLA_HEADER <= end && this.holds(offset, 0) && this.endOf(offset) <= end;
  }

  private typeOf(attribute: ByteOffset): number {
    return this.view.getUint16(attribute + NLA_TYPE, HOST_IS_LITTLE_ENDIAN) & NLA_TYPE_MASK;
  }

  private endOf(attribute: ByteOffset): ByteOffset {
    return attribute + this.view.getUint16(attribute, HOST_IS_LITTLE_ENDIAN);
  }

  /** Whether an attribute holds `size` bytes or more. */
  private holds(attribute: ByteOffset, size: number): boolean {
    return this.endOf(attribute) - attribute >= NLA_HEADER + size;
  }

  /** Where the next attribute begins. */
  private following(attribute: ByteOffset): ByteOffset {
    return attribute + ((this.endOf(attribute) - attribute + 3) & ~3);
  }
}
