import { describe, expect, it } from 'vitest';
import { Checksum } from '../../../src/codec/packet.js';
import { Merger } from '../../../src/io/merge.js';
import {
  datagramsOf,
  Place,
  partial,
  single,
  superPacket,
  type Unfinished,
} from '../support/super-packets.js';
import {
  be16,
  type DatagramFields,
  datagram,
  destinationOptions,
  fragment,
  hopByHop,
  payloadOf,
  toHex,
} from '../support/wire.js';

const USUAL4: DatagramFields = {
  ...{ from: '203.0.113.7:5555', to: '10.10.1.2:53', ttl: 60, tos: 4, dontFragment: true },
  payload: payloadOf(100, 1),
};
const USUAL6: DatagramFields = {
  ...{ from: '[2001:db8::7]:5555', to: '[fd00:1::2]:53', ttl: 60, tos: 4, flow: 7 },
  payload: payloadOf(100, 1),
};

const good = (fields: DatagramFields) => single(fields, Checksum.good);

/** What is left of packets after merging; `apart` as in Place. */
function merge(packets: readonly Unfinished[], apart?: number): Unfinished[] {
  const place = new Place();
  const list = place.list(packets, apart);
  new Merger(place.arena).merge(list);
  return place.read(list);
}

/** How many datagrams are in each of the packets that are left. */
const shape = (packets: readonly Unfinished[]) => packets.map(packet => datagramsOf(packet).length);

describe.each([
  ['IPv4', USUAL4],
  ['IPv6', USUAL6],
])('neighbours of one flow, %s,', (_, usual) => {
  it('become one packet with a checksum for the kernel to complete', () => {
    const payloads = [payloadOf(100, 1), payloadOf(100, 2), payloadOf(40, 3)];
    const [whole, ...rest] = merge(payloads.map((payload, i) => good({ ...usual, payload, id: 7 + i })));
    expect(rest).toEqual([]);
    expect([whole.checksum, whole.segment]).toEqual([Checksum.partial, 100]);
    expect(toHex(whole.bytes)).toBe(toHex(partial(datagram({ ...usual, id: 7, payload: payloads.flat() }))));
  });

  it('become one where each checksum is right or is to be completed', () => {
    const states = [Checksum.partial, Checksum.good, Checksum.partial];
    expect(shape(merge(states.map(state => single(usual, state))))).toEqual([3]);
  });

  it.each([
    ['in front', [Checksum.full, Checksum.good, Checksum.good], [1, 2]],
    ['in the middle', [Checksum.good, Checksum.full, Checksum.good], [1, 1, 1]],
    ['behind', [Checksum.good, Checksum.partial, Checksum.full], [2, 1]],
  ])('stay apart from one whose checksum was not verified, %s', (_, states, expected) => {
    expect(shape(merge(states.map(state => single(usual, state))))).toEqual(expected);
  });

  it('stay as they are where checksums are wrong', () => {
    const broken = single({ ...usual, udpChecksum: 0x1234 });
    const result = merge([good(usual), broken, broken, good(usual)]);
    expect(result.map(({ bytes }) => toHex(bytes))).toEqual(
      [good(usual), broken, broken, good(usual)].map(({ bytes }) => toHex(bytes)),
    );
  });

  const isV6 = usual === USUAL6;
  const other = (address4: string, address6: string) => (isV6 ? address6 : address4);
  const differences: [string, Partial<DatagramFields>][] = [
    ['another source', { from: other('203.0.114.7:5555', '[2001:db8:1::7]:5555') }],
    ['another source port', { from: other('203.0.113.7:5556', '[2001:db8::7]:5556') }],
    ['another destination', { to: other('10.10.1.3:53', '[fd00:1::3]:53') }],
    ['another destination port', { to: other('10.10.1.2:54', '[fd00:1::2]:54') }],
    ['another hop limit', { ttl: 59 }],
    ['another type of service', { tos: 5 }],
    ['a larger payload', { payload: payloadOf(101, 1) }],
    ['no payload', { payload: [] }],
    isV6 ? ['another flow label', { flow: 8 }] : ['DF unlike the other', { dontFragment: false }],
    isV6 ? ['an extension header', { extensions: [hopByHop()] }] : ['an option', { options: [1, 1, 1, 1] }],
  ];

  it.each(differences)('stay apart where one has %s', (_, difference) => {
    expect(shape(merge([good(usual), good({ ...usual, ...difference })]))).toEqual([1, 1]);
    // And what is behind it, too: nothing is merged over what is between.
    expect(shape(merge([good(usual), good({ ...usual, ...difference }), good(usual)]))).toEqual(
      // A smaller one may follow a larger one, be it the last.
      difference.payload?.length === 101 ? [1, 2] : [1, 1, 1],
    );
  });

  it('stay apart where they have options or extension headers, even the same', () => {
    const more = isV6 ? { extensions: [destinationOptions([5, 2, 0, 0])] } : { options: [1, 1, 1, 1] };
    expect(shape(merge([good({ ...usual, ...more }), good({ ...usual, ...more })]))).toEqual([1, 1]);
  });

  it('stay apart where one has bytes behind its payload: UDP options (RFC 9868)', () => {
    const bytes = datagram({ ...usual, payload: payloadOf(100, 1) });
    // The UDP header counts 4 of them no longer.
    const header = bytes.length - 108;
    bytes.set(be16(104), header + 4);
    const odd = { bytes, checksum: Checksum.good, segment: 0 };
    for (const packets of [
      [odd, odd],
      [odd, good(usual)],
      [good(usual), odd],
    ])
      expect(merge(packets).map(packet => toHex(packet.bytes))).toEqual(
        packets.map(packet => toHex(packet.bytes)),
      );
  });

  it('begin another super-packet behind a smaller datagram', () => {
    const sizes = [100, 100, 40, 40, 100, 30, 30];
    const packets = sizes.map((size, i) => good({ ...usual, payload: payloadOf(size, i + 1) }));
    expect(shape(merge(packets))).toEqual([3, 1, 2, 1]);
  });

  it('stay apart from super-packets of the kernel', () => {
    const whole = superPacket({ ...usual, payload: payloadOf(300, 1) }, 100);
    const result = merge([good(usual), whole, whole, good(usual)]);
    expect(shape(result)).toEqual([1, 3, 3, 1]);
    for (const i of [1, 2]) expect(toHex(result[i].bytes)).toBe(toHex(whole.bytes));
  });

  it('become super-packets of 64 datagrams at most', () => {
    const packets = Array.from({ length: 130 }, (_, i) => good({ ...usual, payload: [i] }));
    const result = merge(packets, 4096);
    expect(shape(result)).toEqual([64, 64, 2]);
    expect(result.flatMap(datagramsOf).map(bytes => bytes[bytes.length - 1])).toEqual(
      packets.map((_, i) => i),
    );
  });

  it('become super-packets of 65535 bytes at most', () => {
    const headers = isV6 ? 48 : 28;
    const room = 65535 - headers;
    const two = [room - 1000, 1000].map((size, i) => good({ ...usual, payload: payloadOf(size, i + 1) }));
    const [whole, ...rest] = merge(two);
    expect([whole.bytes.length, rest]).toEqual([65535, []]);
    expect(shape(merge([two[0], good({ ...usual, payload: payloadOf(1001, 2) })]))).toEqual([1, 1]);

    const jumbo = Array.from({ length: 16 }, (_, i) => good({ ...usual, payload: payloadOf(8900, i + 1) }));
    expect(shape(merge(jumbo))).toEqual([7, 7, 2]);
  });
});

it('neighbours of different families stay apart', () => {
  expect(shape(merge([good(USUAL4), good(USUAL6), good(USUAL6), good(USUAL4)]))).toEqual([1, 2, 1]);
});

it('a super-packet of datagrams without a checksum has one', () => {
  const [whole] = merge([good({ ...USUAL4, udpChecksum: 0 }), good({ ...USUAL4, udpChecksum: 0 })]);
  expect(datagramsOf(whole).map(toHex)).toEqual([0, 1].map(id => toHex(datagram({ ...USUAL4, id }))));
});

it('first fragments of one flow stay apart', () => {
  const [first] = fragment(datagram({ ...USUAL4, dontFragment: false }), 64);
  const pieces = [first, first].map(bytes => ({ bytes, checksum: Checksum.good, segment: 0 }));
  expect(merge(pieces).map(({ bytes }) => toHex(bytes))).toEqual(pieces.map(({ bytes }) => toHex(bytes)));
});

it('a list of no packet or one stays as it is', () => {
  expect(merge([])).toEqual([]);
  expect(merge([good(USUAL4)])).toEqual([good(USUAL4)]);
});
