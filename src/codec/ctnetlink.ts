/**
 * ctnetlink, as much of it as a load balancer's shim needs: asking conntrack for the connection whose replies go
 * from a real server to LIP:lport, and setting bits of its mark. Names are the kernel's
 * (linux/netfilter/nfnetlink.h, nfnetlink_conntrack.h); netlink's own headers are in host order, the rest in
 * network order.
 */
import { ADDRESS_WORDS, isMapped, readAddress4, readAddress6 } from './addresses.js';
import { HOST_IS_LITTLE_ENDIAN } from './host-order.js';
import { DESTINATION_AT, SOURCE_AT } from './ip-header.js';

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
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
/** Of the types that are read here: a path of them has a byte for each. */
const LARGEST_TYPE = 0xff;

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

/** Which connection: by where its replies come from and go to. */
export interface ReplyTuple {
  /** Source and destination, four words each. */
  addresses: Int32Array;
  sourcePort: number;
  destinationPort: number;
}

/** Bytes that a request takes at most. */
const LONGEST_REQUEST = 160;

/** Writes requests into one buffer of its own, one behind the other: `length` is that of all of them. */
export class CtRequests {
  readonly bytes: Uint8Array;
  length = 0;
  /** How many there are. */
  count = 0;
  /** Counts the requests; the answer to one carries its number. */
  sequence = 0;
  private readonly view: DataView;
  private start = 0;

  /** Room for `capacity` requests. */
  constructor(readonly capacity: number) {
    this.bytes = new Uint8Array(capacity * LONGEST_REQUEST);
    this.view = new DataView(this.bytes.buffer);
  }

  clear(): void {
    this.length = 0;
    this.count = 0;
  }

  /** IPCTNL_MSG_CT_GET by CTA_TUPLE_REPLY: the answer is one IPCTNL_MSG_CT_NEW, or NLMSG_ERROR. */
  get(tuple: ReplyTuple): void {
    this.begin(IPCTNL_MSG_CT_GET, NLM_F_REQUEST, tuple);
    this.replyTuple(tuple);
    this.end();
  }

  /**
   * IPCTNL_MSG_CT_NEW without NLM_F_CREATE: sets the bits of `mask` in the mark to those of `mark`. Answered only by an
   * error, should the connection be gone.
   */
  setMark(tuple: ReplyTuple, mark: number, mask: number): void {
    this.begin(IPCTNL_MSG_CT_NEW, NLM_F_REQUEST, tuple);
    this.replyTuple(tuple);
    this.attribute32(CTA_MARK, mark);
    this.attribute32(CTA_MARK_MASK, mask);
    this.end();
  }

  private begin(message: number, flags: number, { addresses }: ReplyTuple): void {
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

  private replyTuple(tuple: ReplyTuple): void {
    const whole = this.nest(CTA_TUPLE_REPLY);
    const addresses = this.nest(CTA_TUPLE_IP);
    if (isMapped(tuple.addresses, SOURCE_AT)) {
      this.attribute32(CTA_IP_V4_SRC, tuple.addresses[SOURCE_AT + 3]);
      this.attribute32(CTA_IP_V4_DST, tuple.addresses[DESTINATION_AT + 3]);
    } else {
      this.address6(CTA_IP_V6_SRC, tuple.addresses, SOURCE_AT);
      this.address6(CTA_IP_V6_DST, tuple.addresses, DESTINATION_AT);
    }
    this.close(addresses);
    const protocol = this.nest(CTA_TUPLE_PROTO);
    this.view.setUint8(this.header(CTA_PROTO_NUM, 1), IPPROTO_UDP);
    this.view.setUint16(this.header(CTA_PROTO_SRC_PORT, 2), tuple.sourcePort);
    this.view.setUint16(this.header(CTA_PROTO_DST_PORT, 2), tuple.destinationPort);
    this.close(protocol);
    this.close(whole);
  }

  private address6(type: number, words: Int32Array, from: number): void {
    const at = this.header(type, ADDRESS_WORDS * 4);
    for (let i = 0; i < ADDRESS_WORDS; i++) this.view.setInt32(at + i * 4, words[from + i]);
  }

  private attribute32(type: number, value: number): void {
    this.view.setInt32(this.header(type, 4), value);
  }

  /** Writes an attribute's header, makes room for `size` bytes (padded to words), and gives their place. */
  private header(type: number, size: number): number {
    const at = this.length;
    const end = at + NLA_HEADER + ((size + 3) & ~3);
    this.bytes.fill(0, at, end);
    this.view.setUint16(at, NLA_HEADER + size, HOST_IS_LITTLE_ENDIAN);
    this.view.setUint16(at + 2, type, HOST_IS_LITTLE_ENDIAN);
    this.length = end;
    return at + NLA_HEADER;
  }

  private nest(type: number): number {
    return this.header(type | NLA_F_NESTED, 0) - NLA_HEADER;
  }

  private close(nest: number): void {
    this.view.setUint16(nest, this.length - nest, HOST_IS_LITTLE_ENDIAN);
  }
}

/** Reads answers in `bytes`, one at a time, into its fields. */
export class CtAnswer {
  /** The source of the connection's first packet: the client, four words. */
  readonly client = new Int32Array(ADDRESS_WORDS);
  clientPort = 0;
  /** CTA_ID: tells a connection from an earlier one with the same tuple. */
  id = 0;
  private readonly view: DataView;

  constructor(bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer);
  }

  /** The number of the request that the answer at `offset` is to. */
  sequence(offset: number): number {
    return this.view.getInt32(offset + NLMSG_SEQUENCE, HOST_IS_LITTLE_ENDIAN);
  }

  /**
   * Reads an answer of `length` bytes at `offset`: 0 if it is a connection, the errno of an NLMSG_ERROR, or -1 if it is
   * neither.
   */
  read(offset: number, length: number): number {
    const { view } = this;
    this.client.fill(0);
    this.clientPort = 0;
    this.id = 0;
    if (length < NLMSG_HEADER + NFGENMSG) return -1;
    const stated = view.getUint32(offset + NLMSG_LENGTH, HOST_IS_LITTLE_ENDIAN);
    if (stated > length) return -1;
    const type = view.getUint16(offset + NLMSG_TYPE, HOST_IS_LITTLE_ENDIAN);
    if (type === NLMSG_ERROR) return -view.getInt32(offset + NLMSG_HEADER, HOST_IS_LITTLE_ENDIAN) || -1;
    if (type !== ((NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_NEW)) return -1;
    this.attributes(offset + NLMSG_HEADER + NFGENMSG, offset + stated, 0);
    return this.clientPort === 0 || this.isNobody() ? -1 : 0;
  }

  /** Whether the client is no address, or the one of either family that is nobody's. */
  private isNobody(): boolean {
    const { client } = this;
    return isMapped(client, 0) ? client[3] === 0 : client.every(word => word === 0);
  }

  /** Walks attributes; `within` is the path of types so far, a byte each. */
  private attributes(start: number, end: number, within: number): void {
    const { view } = this;
    for (let at = start; at + NLA_HEADER <= end; ) {
      const length = view.getUint16(at, HOST_IS_LITTLE_ENDIAN);
      const type = view.getUint16(at + 2, HOST_IS_LITTLE_ENDIAN) & NLA_TYPE_MASK;
      if (length < NLA_HEADER || at + length > end) return;
      if (type <= LARGEST_TYPE) this.attribute((within << 8) | type, at + NLA_HEADER, at + length);
      at += (length + 3) & ~3;
    }
  }

  private attribute(path: number, start: number, end: number): void {
    const size = end - start;
    switch (path) {
      case CTA_TUPLE_ORIG:
      case (CTA_TUPLE_ORIG << 8) | CTA_TUPLE_IP:
      case (CTA_TUPLE_ORIG << 8) | CTA_TUPLE_PROTO:
        this.attributes(start, end, path);
        break;
      case (((CTA_TUPLE_ORIG << 8) | CTA_TUPLE_IP) << 8) | CTA_IP_V4_SRC:
        if (size >= 4) readAddress4(this.view, start, this.client, 0);
        break;
      case (((CTA_TUPLE_ORIG << 8) | CTA_TUPLE_IP) << 8) | CTA_IP_V6_SRC:
        if (size >= 16) readAddress6(this.view, start, this.client, 0);
        break;
      case (((CTA_TUPLE_ORIG << 8) | CTA_TUPLE_PROTO) << 8) | CTA_PROTO_SRC_PORT:
        if (size >= 2) this.clientPort = this.view.getUint16(start);
        break;
      case CTA_ID:
        if (size >= 4) this.id = this.view.getInt32(start);
        break;
    }
  }
}
