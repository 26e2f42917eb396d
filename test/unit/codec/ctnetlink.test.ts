import { endianness } from 'node:os';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CtAnswer, CtRequests, type ReplyTuple } from '../../../src/codec/ctnetlink.js';
import { attribute, bytesOf, type Field } from '../support/netlink.js';
import { addressText, hex, int32, type Octets, toHex, word } from '../support/wire.js';

/** Netlink is in host order: what is written here is a little-endian host's. */
const describeHere = describe.skipIf(endianness() === 'BE');

const TUPLE: ReplyTuple = {
  addresses: int32('10.99.1.2', '10.99.1.1'),
  sourcePort: 7000,
  destinationPort: 40000,
};
const TUPLE6: ReplyTuple = { ...TUPLE, addresses: int32('fd00:99::1:2', 'fd00:99::1:1') };

const REPLY_TUPLE: Field[] = [
  ['3400 0280', 'CTA_TUPLE_REPLY, nested (NLA_F_NESTED), 52 bytes'],
  ['1400 0180', '  CTA_TUPLE_IP, nested, 20 bytes'],
  ['0800 0100 0a630102', '    CTA_IP_V4_SRC: 10.99.1.2'],
  ['0800 0200 0a630101', '    CTA_IP_V4_DST: 10.99.1.1'],
  ['1c00 0280', '  CTA_TUPLE_PROTO, nested, 28 bytes'],
  ['0500 0100 11 000000', '    CTA_PROTO_NUM: IPPROTO_UDP, and 3 bytes of padding'],
  ['0600 0200 1b58 0000', '    CTA_PROTO_SRC_PORT: 7000, and 2 bytes of padding'],
  ['0600 0300 9c40 0000', '    CTA_PROTO_DST_PORT: 40000, and 2 bytes of padding'],
];

const PROTO_PART = REPLY_TUPLE.slice(4);

const REPLY_TUPLE6: Field[] = [
  ['4c00 0280', 'CTA_TUPLE_REPLY, nested, 76 bytes'],
  ['2c00 0180', '  CTA_TUPLE_IP, nested, 44 bytes'],
  ['1400 0300 fd000099000000000000000000010002', '    CTA_IP_V6_SRC: fd00:99::1:2'],
  ['1400 0400 fd000099000000000000000000010001', '    CTA_IP_V6_DST: fd00:99::1:1'],
  ...PROTO_PART,
];

const nfgenmsg6: Field = ['0a 00 0000', 'nfgen_family: AF_INET6; version: NFNETLINK_V0; res_id: 0'];
const nfgenmsg: Field = ['02 00 0000', 'nfgen_family: AF_INET; version: NFNETLINK_V0; res_id: 0'];

const GET: Field[] = [
  ['48000000', 'nlmsg_len: 72'],
  ['0101', 'nlmsg_type: IPCTNL_MSG_CT_GET of NFNL_SUBSYS_CTNETLINK'],
  ['0100', 'nlmsg_flags: NLM_F_REQUEST'],
  ['01000000', 'nlmsg_seq: 1'],
  ['00000000', 'nlmsg_pid: the kernel fills it in'],
  nfgenmsg,
  ...REPLY_TUPLE,
];

/** The tuple as the connection's first direction. */
function originalTuple([[header, what], ...rest]: readonly Field[]): Field[] {
  return [[header.replace('0280', '0180'), what.replace('REPLY', 'ORIG')], ...rest];
}

const SET_MARK: Field[] = [
  ['58000000', 'nlmsg_len: 88'],
  ['0001', 'nlmsg_type: IPCTNL_MSG_CT_NEW of NFNL_SUBSYS_CTNETLINK'],
  ['0100', 'nlmsg_flags: NLM_F_REQUEST, without NLM_F_CREATE; without NLM_F_ACK, too'],
  ['01000000', 'nlmsg_seq: 1'],
  ['00000000', 'nlmsg_pid'],
  nfgenmsg,
  ...originalTuple(REPLY_TUPLE),
  ['0800 0800 00000120', 'CTA_MARK'],
  ['0800 1500 00000ff0', 'CTA_MARK_MASK'],
];

/** The same with other lengths, family and tuple. */
const GET6: Field[] = [['60000000', 'nlmsg_len: 96'], ...GET.slice(1, 5), nfgenmsg6, ...REPLY_TUPLE6];
const SET_MARK6: Field[] = [
  ['70000000', 'nlmsg_len: 112'],
  ...SET_MARK.slice(1, 5),
  nfgenmsg6,
  ...originalTuple(REPLY_TUPLE6),
  ...SET_MARK.slice(-2),
];

/**
 * What Linux 6.18 answered to GET, with net.netfilter.nf_conntrack_acct on: in a network namespace with
 *
 *     table ip t {
 *       chain o { type nat hook output priority -100; ip daddr 198.51.100.10 udp dport 53 dnat to 10.99.1.2:7000; }
 *       chain p { type nat hook postrouting priority 100; meta l4proto udp ct status dnat snat to 10.99.1.1:40000; }
 *     }
 *
 * one datagram of 5 bytes had gone from 203.0.113.7:5555 to 198.51.100.10:53.
 */
const FOUND: Field[] = [
  ['dc000000', 'nlmsg_len: 220'],
  ['0001', 'nlmsg_type: IPCTNL_MSG_CT_NEW of NFNL_SUBSYS_CTNETLINK'],
  ['0000', 'nlmsg_flags'],
  ['01000000', 'nlmsg_seq: that of the request'],
  ['e9590000', 'nlmsg_pid: the port that the kernel gave to the socket'],
  nfgenmsg,
  ['3400 0180', 'CTA_TUPLE_ORIG'],
  ['1400 0180', '  CTA_TUPLE_IP'],
  ['0800 0100 cb007107', '    CTA_IP_V4_SRC: 203.0.113.7'],
  ['0800 0200 c633640a', '    CTA_IP_V4_DST: 198.51.100.10'],
  ['1c00 0280', '  CTA_TUPLE_PROTO'],
  ['0500 0100 11 000000', '    CTA_PROTO_NUM: IPPROTO_UDP'],
  ['0600 0200 15b3 0000', '    CTA_PROTO_SRC_PORT: 5555'],
  ['0600 0300 0035 0000', '    CTA_PROTO_DST_PORT: 53'],
  ...REPLY_TUPLE,
  [
    '0800 0300 000001b8',
    'CTA_STATUS: IPS_CONFIRMED | IPS_SRC_NAT | IPS_DST_NAT | IPS_SRC_NAT_DONE | IPS_DST_NAT_DONE',
  ],
  ['0800 0800 00000000', 'CTA_MARK'],
  ['0800 0c00 723d4f74', 'CTA_ID'],
  ['0800 0b00 00000002', 'CTA_USE'],
  ['0800 0700 0000001e', 'CTA_TIMEOUT: 30 s'],
  ['1c00 0980', 'CTA_COUNTERS_ORIG'],
  ['0c00 0100 0000000000000001', '  CTA_COUNTERS_PACKETS'],
  ['0c00 0200 0000000000000021', '  CTA_COUNTERS_BYTES'],
  ['1c00 0a80', 'CTA_COUNTERS_REPLY'],
  ['0c00 0100 0000000000000000', '  CTA_COUNTERS_PACKETS'],
  ['0c00 0200 0000000000000000', '  CTA_COUNTERS_BYTES'],
];
const CLIENT = { client: [...int32('203.0.113.7')], clientPort: 5555, id: word('114.61.79.116') };
const NOBODY = { client: [0, 0, 0, 0], clientPort: 0, id: 0 };

/** The same of an IPv6 connection: as nfnetlink_conntrack.h has it, with IPv6 in both tuples. */
const FOUND6: Field[] = [
  ['0c010000', 'nlmsg_len: 268'],
  ...FOUND.slice(1, 5),
  nfgenmsg6,
  ['4c00 0180', 'CTA_TUPLE_ORIG'],
  ['2c00 0180', '  CTA_TUPLE_IP'],
  ['1400 0300 20010db8000000000000000000000007', '    CTA_IP_V6_SRC: 2001:db8::7'],
  ['1400 0400 20010db8000100000000000000000010', '    CTA_IP_V6_DST: 2001:db8:1::10'],
  ...FOUND.slice(10, 14),
  ...REPLY_TUPLE6,
  ...FOUND.slice(14 + REPLY_TUPLE.length),
];
const CLIENT6 = { ...CLIENT, client: [...int32('2001:db8::7')] };

/** An NLMSG_ERROR as the same kernel sent it, with the request (or its header) behind it. */
const NOT_THERE: Field[] = [
  ['5c000000', 'nlmsg_len: 92'],
  ['0200', 'nlmsg_type: NLMSG_ERROR'],
  ['0000', 'nlmsg_flags'],
  ['01000000', 'nlmsg_seq'],
  ['b0590000', 'nlmsg_pid'],
  ['feffffff', 'error: -ENOENT'],
  ...GET,
];
const DONE: Field[] = [
  ['24000000', 'nlmsg_len: 36'],
  ['0200', 'nlmsg_type: NLMSG_ERROR'],
  ['0001', 'nlmsg_flags: NLM_F_CAPPED'],
  ['02000000', 'nlmsg_seq'],
  ['b0590000', 'nlmsg_pid'],
  ['00000000', 'error: 0, an acknowledgement'],
  ['58000000 0001 0500 02000000 00000000', 'the header of the request'],
];

/** Where answers are read from: anywhere in a buffer. */
const memory = new Uint8Array(8192);
const AT = 36;

/** Reads an answer out of a buffer that still holds an earlier one. */
function read(answer: CtAnswer, bytes: Octets, length = bytes.length): number {
  memory.set(Array.from(bytes), AT);
  return answer.read(AT, length) + 0;
}

function fieldsOf({ client, clientPort, id }: CtAnswer) {
  return { client: [...client], clientPort, id };
}

/** An answer object that has just read who the client is. */
function used(): CtAnswer {
  const answer = new CtAnswer(memory);
  expect(read(answer, bytesOf(FOUND))).toBe(0);
  expect(fieldsOf(answer)).toEqual(CLIENT);
  return answer;
}

describeHere('requests', () => {
  const written = (requests: CtRequests) => toHex(requests.bytes.slice(0, requests.length));

  it('get writes IPCTNL_MSG_CT_GET with the reply tuple, byte for byte', () => {
    const requests = new CtRequests(1);
    requests.bytes.fill(0xa5);
    requests.get(TUPLE);
    expect(written(requests)).toBe(toHex(bytesOf(GET)));
    expect(toHex(requests.bytes.slice(requests.length))).toBe('a5'.repeat(160 - 72));
  });

  it('setCtMark writes IPCTNL_MSG_CT_NEW with the original tuple, mark and mask, byte for byte', () => {
    const requests = new CtRequests(1);
    requests.bytes.fill(0xa5);
    requests.setCtMark(TUPLE, 0x120, 0xff0);
    expect(written(requests)).toBe(toHex(bytesOf(SET_MARK)));
    expect(toHex(requests.bytes.slice(requests.length))).toBe('a5'.repeat(160 - 88));
  });

  it('get and setCtMark write IPv6 tuples, byte for byte', () => {
    const requests = new CtRequests(1);
    requests.bytes.fill(0xa5);
    requests.get(TUPLE6);
    expect(written(requests)).toBe(toHex(bytesOf(GET6)));
    expect(toHex(requests.bytes.slice(requests.length))).toBe('a5'.repeat(160 - 96));
    requests.clear();
    requests.sequence = 0;
    requests.setCtMark(TUPLE6, 0x120, 0xff0);
    expect(written(requests)).toBe(toHex(bytesOf(SET_MARK6)));
    expect(toHex(requests.bytes.slice(requests.length))).toBe('a5'.repeat(160 - 112));
  });

  it('requests stand one behind the other, each with its own length and number', () => {
    const requests = new CtRequests(4);
    requests.get(TUPLE);
    requests.setCtMark(TUPLE6, 0x120, 0xff0);
    requests.get(TUPLE6);
    const numbered = (fields: readonly Field[], number: number) => {
      const bytes = bytesOf(fields);
      bytes[8] = number;
      return toHex(bytes);
    };
    expect(written(requests)).toBe(numbered(GET, 1) + numbered(SET_MARK6, 2) + numbered(GET6, 3));
    expect([requests.count, requests.length, requests.sequence]).toEqual([3, 72 + 112 + 96, 3]);

    requests.clear();
    expect([requests.count, requests.length]).toEqual([0, 0]);
    requests.get(TUPLE);
    expect(written(requests)).toBe(numbered(GET, 4));
    expect(requests.count).toBe(1);
  });

  it('the buffer has room for as many requests as its capacity says', () => {
    const requests = new CtRequests(100);
    for (let i = 0; i < requests.capacity; i++) requests.setCtMark(TUPLE6, -1, -1);
    expect([requests.count, requests.length]).toEqual([100, 100 * 112]);
  });

  it('a request holds nothing of the one before it', () => {
    const requests = new CtRequests(1);
    for (const [tuple, expected] of [
      [TUPLE, GET],
      [TUPLE6, GET6],
      [TUPLE, GET],
    ] as const) {
      const extreme = { addresses: new Int32Array(8).fill(-1), sourcePort: 65535, destinationPort: 65535 };
      requests.setCtMark(extreme, -1, -1);
      requests.clear();
      requests.sequence = 0;
      requests.get(tuple);
      expect(written(requests)).toBe(toHex(bytesOf(expected)));
      requests.clear();
    }
  });

  it('requests take extreme addresses, ports and marks', () => {
    const requests = new CtRequests(1);
    for (const [addresses, expected] of [
      [['255.255.255.255', '0.0.0.0'], '08000100ffffffff0800020000000000'],
      [
        ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '::'],
        `14000300${'f'.repeat(32)}14000400${'0'.repeat(32)}`,
      ],
    ] as const) {
      const extreme = { addresses: int32(...addresses), sourcePort: 65535, destinationPort: 0 };
      requests.setCtMark(extreme, 0x80000000, 0xffffffff);
      const text = written(requests);
      requests.clear();
      expect(text).toContain(expected);
      expect(text).toContain('06000200ffff00000600030000000000');
      expect(text.endsWith('080008008000000008001500ffffffff')).toBe(true);
    }
  });

  it('requests are numbered, past 2^31 too, and the answer has its request’s number', () => {
    const requests = new CtRequests(1);
    const answer = new CtAnswer(memory);
    const numbers = [1, 2, 0x7fffffff, -0x80000000, -1, 0].map(next => {
      requests.sequence = (next - 1) | 0;
      requests.clear();
      requests.get(TUPLE);
      // The kernel copies nlmsg_seq.
      memory.set(bytesOf(FOUND), AT);
      memory.set(requests.bytes.slice(8, 12), AT + 8);
      expect(answer.sequence(AT)).toBe(requests.sequence);
      return requests.sequence;
    });
    expect(numbers).toEqual([1, 2, 0x7fffffff, -0x80000000, -1, 0]);
  });
});

describeHere('answers', () => {
  it('read gives the client and the id of an IPv4 connection', () => {
    const answer = new CtAnswer(memory);
    memory.fill(0xa5);
    expect(read(answer, bytesOf(FOUND))).toBe(0);
    expect(fieldsOf(answer)).toEqual(CLIENT);
    expect(answer.sequence(AT)).toBe(1);
  });

  it('read gives the client and the id of an IPv6 connection', () => {
    const answer = used();
    expect(read(answer, bytesOf(FOUND6))).toBe(0);
    expect(fieldsOf(answer)).toEqual(CLIENT6);
    expect(read(answer, bytesOf(FOUND))).toBe(0);
    expect(fieldsOf(answer)).toEqual(CLIENT);
  });

  it('read gives the connection’s first direction, to name it by', () => {
    const answer = new CtAnswer(memory);
    for (const [found, client, vip] of [
      [FOUND, '203.0.113.7', '198.51.100.10'],
      [FOUND6, '2001:db8::7', '2001:db8:1::10'],
      [FOUND, '203.0.113.7', '198.51.100.10'],
    ] as const) {
      expect(read(answer, bytesOf(found))).toBe(0);
      const addresses = int32(client, vip);
      expect(answer.original).toEqual({ addresses, sourcePort: 5555, destinationPort: 53 });
    }
    read(answer, bytesOf(NOT_THERE));
    expect(answer.original).toEqual({ addresses: new Int32Array(8), sourcePort: 0, destinationPort: 0 });
  });

  it('read passes over attributes that are missing or unknown', () => {
    const without = bytesOf(FOUND.slice(0, -6));
    without.splice(0, 4, ...hex('a4000000'));
    expect(read(new CtAnswer(memory), without)).toBe(0);

    const answer = new CtAnswer(memory);
    const more = [...hex('0800 6300 ffffffff'), ...hex('0500 6400 01 000000')];
    const all = [...bytesOf(FOUND).slice(0, 20), ...more, ...bytesOf(FOUND).slice(20)];
    all.splice(0, 4, ...hex('ec000000'));
    expect(read(answer, all)).toBe(0);
    expect(fieldsOf(answer)).toEqual(CLIENT);
  });

  it('read ignores the flags in an attribute’s type', () => {
    const answer = new CtAnswer(memory);
    const plain = bytesOf(
      FOUND.map(([bytes, what]) => [bytes.replace(/80$/, '00').replace(/00 (?=cb)/, '40 '), what]),
    );
    expect(toHex(plain)).toContain('34000100140001000800014');
    expect(read(answer, plain)).toBe(0);
    expect(fieldsOf(answer)).toEqual(CLIENT);
  });

  it('read gives the errno of an error, and leaves no client of an earlier answer', () => {
    for (const [error, errno] of [
      ['feffffff', 2],
      ['ffffffff', 1],
      ['97ffffff', 105],
      ['00000080', 0x80000000],
    ] as const) {
      const answer = used();
      const bytes = bytesOf(NOT_THERE);
      bytes.splice(16, 4, ...hex(error));
      expect(read(answer, bytes)).toBe(errno);
      expect(fieldsOf(answer)).toEqual(NOBODY);
    }
  });

  it('read takes an acknowledgement for neither a connection nor an error', () => {
    const answer = used();
    expect(read(answer, bytesOf(DONE))).toBe(-1);
    expect(fieldsOf(answer)).toEqual(NOBODY);
    expect(answer.sequence(AT)).toBe(2);
  });

  it.each([
    ['NLMSG_NOOP', '0100'],
    ['NLMSG_DONE', '0300'],
    ['IPCTNL_MSG_CT_GET', '0101'],
    ['IPCTNL_MSG_CT_DELETE', '0201'],
    ['IPCTNL_MSG_EXP_NEW of NFNL_SUBSYS_CTNETLINK_EXP', '0002'],
    ['IPCTNL_MSG_CT_NEW of no subsystem', '0000'],
  ])('read takes no other message for a connection: %s', (_, type) => {
    const answer = used();
    const bytes = bytesOf(FOUND);
    bytes.splice(4, 2, ...hex(type));
    expect(read(answer, bytes)).toBe(-1);
    expect(fieldsOf(answer)).toEqual(NOBODY);
  });

  it('read takes no truncated answer for a connection, though the rest lies behind it', () => {
    for (const [whole, from] of [
      [bytesOf(FOUND), 0],
      [bytesOf(FOUND6), 0],
      [bytesOf(NOT_THERE), 0],
    ] as const)
      for (let length = from; length < whole.length; length++) {
        const answer = used();
        expect(read(answer, whole, length), `${length} bytes`).toBe(-1);
        expect(fieldsOf(answer)).toEqual(NOBODY);
      }
  });

  it('read needs all four bytes of an error’s number', () => {
    const bytes = bytesOf(NOT_THERE).slice(0, 20);
    bytes.splice(0, 4, ...hex('14000000'));
    expect(read(used(), bytes)).toBe(2);
    bytes.splice(0, 4, ...hex('10000000'));
    for (let length = 16; length < 20; length++) expect(read(used(), bytes, length)).toBe(-1);
  });

  it('read takes the errno of a receive for no connection', () => {
    const answer = used();
    for (const length of [0, -11, -105]) expect(answer.read(AT, length)).toBe(-1);
    expect(fieldsOf(answer)).toEqual(NOBODY);
  });

  it.each([
    ['without a client’s address', '0800 0100 cb007107', '0800 6300 cb007107'],
    ['without a client’s port', '0600 0200 15b3 0000', '0600 6300 15b3 0000'],
    ['with 0.0.0.0 as client', '0800 0100 cb007107', '0800 0100 00000000'],
    ['with port 0 as client’s', '0600 0200 15b3 0000', '0600 0200 0000 0000'],
    ['with an address of 3 bytes', '0800 0100 cb007107', '0700 0100 cb007100'],
    ['with a port of 1 byte', '0600 0200 15b3 0000', '0500 0200 15 000000'],
    ['with CTA_IP_V6_SRC in place of CTA_IP_V4_SRC', '0800 0100 cb007107', '0800 0300 cb007107'],
    ['without CTA_TUPLE_ORIG', '3400 0180', '3400 6380'],
    ['with CTA_TUPLE_MASTER (14) in place of CTA_TUPLE_ORIG', '3400 0180', '3400 0e80'],
    ['with an attribute of no length in front', '3400 0180', '0000 0180'],
    ['with an attribute past the end in front', '3400 0180', 'ffff 0180'],
  ])('read takes an answer %s for no connection', (_, there, instead) => {
    const bytes = FOUND.map(([text, what]): Field => [text === there ? instead : text, what]);
    expect(bytes).not.toEqual(FOUND);
    const answer = new CtAnswer(memory);
    expect(read(answer, bytesOf(bytes))).toBe(-1);
  });

  it.each([
    ['without a client’s address', '1400 0300', '1400 6300'],
    ['with :: as client', '1400 0300 20010db8000000000000000000000007', `1400 0300 ${'0'.repeat(32)}`],
    ['with an address of 15 bytes', '1400 0300', '1300 0300'],
    ['with CTA_IP_V6_DST in place of CTA_IP_V6_SRC', '1400 0300', '1400 0400'],
  ])('read takes an IPv6 answer %s for no connection', (_, there, instead) => {
    const bytes = FOUND6.map(
      ([text, what], i): Field => [i < 10 ? text.replace(there, instead) : text, what],
    );
    expect(bytes).not.toEqual(FOUND6);
    expect(read(new CtAnswer(memory), bytesOf(bytes))).toBe(-1);
  });

  it('read takes no attribute of a type above 255 for a nested one', () => {
    // 0x0101 would be CTA_TUPLE_IP inside CTA_TUPLE_ORIG, were a path of types written like that.
    const forged = [...hex('0c00 0101 0800 0100 cb007107'), ...hex('0c00 0201 0600 0200 15b3 0000')];
    const bytes = [...hex('2c000000 0001 0000 01000000 e9590000 02 00 0000'), ...forged];
    const answer = new CtAnswer(memory);
    expect(read(answer, bytes)).toBe(-1);
    expect(fieldsOf(answer)).toEqual(NOBODY);
  });
});

// ---- the slow way --------------------------------------------------------------------------------------------

/** All attributes with the types that lead to them, nested ones of CTA_TUPLE_ORIG opened. */
function attributes(
  bytes: readonly number[],
  path: readonly number[] = [],
): { path: string; data: number[] }[] {
  const length = bytes[0] + bytes[1] * 256;
  if (bytes.length < 4 || length < 4 || length > bytes.length) return [];
  const data = bytes.slice(4, length);
  const here = [...path, (bytes[2] + bytes[3] * 256) % 0x4000];
  const name = here.join('.');
  const nested = ['1', '1.1', '1.2'].includes(name) ? attributes(data, here) : [];
  return [{ path: name, data }, ...nested, ...attributes(bytes.slice(Math.ceil(length / 4) * 4), path)];
}

/** What an answer says, or undefined where it isn't one with a client. */
function slowly(bytes: readonly number[]): typeof NOBODY | undefined {
  const number = (data: readonly number[]) => data.reduce((sum, byte) => sum * 256 + byte, 0);
  const size = number(bytes.slice(0, 4).reverse());
  if (bytes.length < 20 || size > bytes.length || toHex(bytes.slice(4, 6)) !== '0001') return undefined;
  const all = attributes(bytes.slice(20, Math.max(20, size)));
  const last = (path: string, width: number) =>
    number(
      all
        .filter(({ path: p, data }) => p === path && data.length >= width)
        .at(-1)
        ?.data.slice(0, width) ?? [],
    );
  const sizes: Record<string, number> = { '1.1.1': 4, '1.1.3': 16 };
  const address = all
    .filter(({ path, data }) => data.length >= (sizes[path] ?? Number.POSITIVE_INFINITY))
    .at(-1);
  const clientPort = last('1.2.2', 2);
  if (address === undefined || clientPort === 0) return undefined;
  const octets = address.data.slice(0, sizes[address.path]);
  if (octets.every(byte => byte === 0)) return undefined;
  const client = [...int32(addressText(octets))];
  return { client, clientPort, id: last('12', 4) | 0 };
}

describeHere('any bytes', () => {
  const patch = fc.tuple(fc.nat(219), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 4, 8, 12, 20, 52, 255)));
  const patched = fc
    .tuple(
      fc.constantFrom(FOUND, FOUND6),
      fc.array(patch, { maxLength: 4 }),
      fc.oneof(fc.constant(300), fc.nat(268)),
    )
    .map(([found, patches, length]) => {
      const bytes = bytesOf(found);
      for (const [offset, value] of patches) bytes[offset] = value;
      return bytes.slice(0, length);
    });
  /** Attributes in any order and of any type, the right ones among them. */
  const anyAttribute: fc.Arbitrary<number[]> = fc
    .tuple(
      fc.constantFrom(1, 2, 3, 12, 14, 99, 0x101, 0x8001, 0x4001),
      fc.array(fc.nat(255), { maxLength: 18 }),
    )
    .map(([type, data]) => attributeOf(type, data));
  const nest = (content: fc.Arbitrary<number[]>) =>
    fc
      .tuple(fc.constantFrom(1, 1, 2, 12, 0x8001, 0x8002), fc.array(content, { maxLength: 4 }))
      .map(([type, parts]) => attributeOf(type, parts.flat()));
  const built = fc
    .array(fc.oneof(anyAttribute, nest(fc.oneof(anyAttribute, nest(anyAttribute)))), { maxLength: 5 })
    .map(parts => {
      const body = parts.flat();
      return [...hex('00000000 0001 0000 01000000 00000000 02 00 0000'), ...body].map((byte, i) =>
        i < 2 ? ((20 + body.length) >> (8 * i)) & 0xff : byte,
      );
    });

  function attributeOf(type: number, data: readonly number[]): number[] {
    return bytesOf(attribute(type, 'any', toHex(data)));
  }

  it('read gives what the slow reader gives', () => {
    let clients = 0;
    fc.assert(
      fc.property(fc.oneof(patched, built), bytes => {
        const answer = used();
        const result = read(answer, bytes);
        const expected = slowly(bytes);
        if (expected !== undefined) {
          clients++;
          expect(result).toBe(0);
          expect(fieldsOf(answer)).toEqual(expected);
        } else if (toHex(bytes.slice(4, 6)) !== '0200') expect(result).toBe(-1);
      }),
      { numRuns: 3000 },
    );
    // Clients are found among them, so it is not nothing that is compared.
    expect(clients).toBeGreaterThan(100);
  });

  it('read of random bytes throws nothing and gives no client', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), fc.boolean(), (bytes, isAnswer) => {
        if (isAnswer) bytes.set(hex('00010000 0001').slice(0, bytes.length));
        const answer = used();
        read(answer, bytes);
        expect(fieldsOf(answer)).toEqual({ ...NOBODY, id: answer.id });
      }),
      { numRuns: 1000 },
    );
  });
});
