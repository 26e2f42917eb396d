import { describe, expect, it } from 'vitest';
import { Kind } from '../../../src/codec/packet.js';
import {
  moveFragment,
  restoreHop,
  setDestination,
  setErrorDestination,
  setFragmentAddresses,
  setQuotedDestination,
  setQuotedSource,
  setSource,
} from '../../../src/codec/rewrite.js';
import { bytesOf, load } from '../support/place.js';
import {
  be16,
  datagram,
  decode,
  decodeIcmp,
  destinationOption,
  destinationOptions,
  fragment,
  hopByHop,
  icmp,
  int32,
  type Octets,
  payloadOf,
  reassemble,
  routing,
  toHex,
} from '../support/wire.js';

const PAYLOAD = [1, 2, 3, 4, 5];
const plain4 = {
  ...{ from: '10.10.1.1:40000', to: '10.10.1.2:53', payload: PAYLOAD },
  ...{ tos: 0xb8, ttl: 57, id: 0x1234, dontFragment: true },
};
const plain6 = {
  ...{ from: '[fd00:1::1]:40000', to: '[fd00:1::2]:53', payload: PAYLOAD },
  ...{ tos: 0xb8, ttl: 57, flow: 0x12345 },
};

/** What the tests change, and to what. */
const FAMILIES = [
  {
    family: 'IPv4',
    plain: plain4,
    others: [
      plain4,
      { ...plain4, options: [1, 1, 1, 0] },
      { ...plain4, carrier: 'opp', client: '192.0.2.7:7' },
    ],
    client: '203.0.113.7',
    clientEnd: '203.0.113.7:5555',
    largest: '255.255.255.255',
    largestEnd: '255.255.255.255:65535',
    original: '10.10.1.1',
  },
  {
    family: 'IPv6',
    plain: plain6,
    others: [
      plain6,
      {
        ...plain6,
        extensions: [hopByHop(), routing(), destinationOptions(destinationOption('192.0.2.7:7'))],
      },
      { ...plain6, carrier: 'opp', client: '[2001:db8::9]:9' },
    ],
    client: '2001:db8:ffff::7',
    clientEnd: '[2001:db8:ffff::7]:5555',
    largest: 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    largestEnd: '[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535',
    original: 'fd00:1::1',
  },
] as const;

describe('restoreHop', () => {
  it.each(FAMILIES)('restoreHop adds one to every number of hops but 255: $family', ({ plain }) => {
    for (let ttl = 0; ttl <= 255; ttl++) {
      const packet = load(datagram({ ...plain, ttl }));
      restoreHop(packet);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, ttl: Math.min(ttl + 1, 255) })));
    }
  });
});

describe.each(FAMILIES)(
  '$family addresses',
  ({ plain, others, client, clientEnd, largest, largestEnd, original }) => {
    it('setSource gives another source and port, all checksums right', () => {
      for (const fields of others) {
        const packet = load(datagram(fields), 3);
        setSource(packet, int32('192.0.2.1', client), 4, 5555);
        expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...fields, from: clientEnd })));
        expect(decode(bytesOf(packet)).from).toBe(clientEnd);
        expect([...packet.addresses.slice(0, 4)]).toEqual([...int32(client)]);
        expect(packet.sourcePort).toBe(5555);
      }
    });

    it('setDestination gives another destination and port, all checksums right', () => {
      for (const fields of others) {
        const packet = load(datagram(fields), 3);
        setDestination(packet, int32('192.0.2.1', client), 4, 5555);
        expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...fields, to: clientEnd })));
        expect(decode(bytesOf(packet)).to).toBe(clientEnd);
        expect([...packet.addresses.slice(4)]).toEqual([...int32(client)]);
        expect(packet.destinationPort).toBe(5555);
      }
    });

    it('addresses and ports that are changed and changed back leave the packet as it was', () => {
      const packet = load(datagram(plain));
      setSource(packet, int32(largest), 0, 65535);
      setDestination(packet, int32(largest), 0, 65535);
      expect(decode(bytesOf(packet))).toMatchObject({ from: largestEnd, to: largestEnd });
      setSource(packet, int32(original), 0, 40000);
      setDestination(packet, int32(client), 0, 5555);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, to: clientEnd })));
    });

    it('a UDP checksum of 0 stays', () => {
      const packet = load(datagram({ ...plain, udpChecksum: 0 }));
      setSource(packet, int32(client), 0, 5555);
      setDestination(packet, int32(largest), 0, 65535);
      expect(toHex(bytesOf(packet))).toBe(
        toHex(datagram({ ...plain, from: clientEnd, to: largestEnd, udpChecksum: 0 })),
      );
    });

    it('a UDP checksum that comes out as 0 is sent as 0xffff', () => {
      // A payload that makes it so: what was missing while it was 0.
      const payload = be16(decode(datagram({ ...plain, from: clientEnd, payload: [0, 0] })).udpChecksum);
      const packet = load(datagram({ ...plain, payload }));
      setSource(packet, int32(client), 0, 5555);
      expect(decode(bytesOf(packet)).udpChecksum).toBe(0xffff);
    });

    it('a wrong UDP checksum stays wrong by as much', () => {
      const packet = load(datagram({ ...plain, udpChecksum: 0x1234 }));
      setSource(packet, int32(client), 0, 5555);
      expect(() => decode(bytesOf(packet))).toThrow(/checksum/);
      setSource(packet, int32(original), 0, 40000);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, udpChecksum: 0x1234 })));
    });

    it('setFragmentAddresses changes the IP header alone', () => {
      const fields = { ...plain, payload: new Array<number>(40).fill(7) };
      const packet = load(fragment(datagram(fields), 24)[1], 3);
      setFragmentAddresses(packet, int32('192.0.2.1', client, largest), 4);
      const moved = { ...fields, from: clientEnd, to: largestEnd };
      expect(toHex(bytesOf(packet))).toBe(toHex(fragment(datagram(moved), 24)[1]));
      expect([...packet.addresses]).toEqual([...int32(client, largest)]);
    });
  },
);

describe('moveFragment', () => {
  it('moves a fragment to the front, and leaves the rest of it alone', () => {
    const whole = datagram({ ...plain6, payload: payloadOf(100) });
    for (const bytes of [8, 16, 24]) {
      const [first, ...others] = fragment(whole, 32);
      const shorter = [...first.slice(0, 4), 0, first[5] - bytes, ...first.slice(6, first.length - bytes)];
      const moved = others.map(piece => {
        const packet = load(piece, 3);
        moveFragment(packet, bytes);
        return bytesOf(packet);
      });
      // Without the last of the first one's bytes everything fits together.
      const left = [...whole.slice(0, 72 - bytes), ...whole.slice(72)];
      left.splice(4, 2, 0, left.length - 40);
      expect(toHex(reassemble([shorter, ...moved]))).toBe(toHex(left));
    }
  });
});

describe.each([
  {
    family: 'IPv4',
    plain: plain4,
    options: { options: [1, 1, 1, 0] },
    router: '192.0.2.250',
    host: '10.10.1.2',
    client: '203.0.113.7',
    clientEnd: '203.0.113.7:5555',
    ...{ type: 3, code: 4, rest: [0, 0, 5, 0x78] },
  },
  {
    family: 'IPv6',
    plain: plain6,
    options: { extensions: [hopByHop(), routing()] },
    router: '2001:db8::250',
    host: 'fd00:1::2',
    client: '2001:db8:ffff::7',
    clientEnd: '[2001:db8:ffff::7]:5555',
    ...{ type: 2, code: 0, rest: [0, 0, 5, 0] },
  },
])('$family errors', ({ plain, options, router, host, client, clientEnd, ...message }) => {
  const error = (quote: Octets, destination = host) =>
    icmp({ ...message, source: router, destination, quote });

  const cases = [
    ['whole', plain, 1000],
    ['with no more than the headers', { ...plain, payload: [] }, 1000],
    ['cut off at an odd place', { ...plain, payload: payloadOf(40) }, plain === plain4 ? 41 : 61],
    ['behind other headers', { ...plain, ...options }, 1000],
    ['without a checksum', { ...plain, udpChecksum: 0 }, 1000],
  ] as const;

  it.each(cases)('setQuotedSource gives another source, all checksums right: %s', (_, fields, size) => {
    const packet = load(error(datagram(fields).slice(0, size)), 3);
    expect(packet.kind).toBe(Kind.error);
    setQuotedSource(packet, int32('192.0.2.1', client), 4, 5555);
    const expected = error(datagram({ ...fields, from: clientEnd }).slice(0, size));
    expect(decodeIcmp(bytesOf(packet))).toEqual(decodeIcmp(expected));
    expect(toHex(bytesOf(packet))).toBe(toHex(expected));
    expect([...packet.quoted.addresses.slice(0, 4)]).toEqual([...int32(client)]);
    expect(packet.quoted.sourcePort).toBe(5555);
  });

  it.each(cases)(
    'setQuotedDestination gives another destination, all checksums right: %s',
    (_, fields, size) => {
      const packet = load(error(datagram(fields).slice(0, size)), 3);
      setQuotedDestination(packet, int32('192.0.2.1', client), 4, 5555);
      const expected = error(datagram({ ...fields, to: clientEnd }).slice(0, size));
      expect(decodeIcmp(bytesOf(packet))).toEqual(decodeIcmp(expected));
      expect(toHex(bytesOf(packet))).toBe(toHex(expected));
      expect([...packet.quoted.addresses.slice(4)]).toEqual([...int32(client)]);
      expect(packet.quoted.destinationPort).toBe(5555);
    },
  );

  it('setErrorDestination gives the error another destination, all checksums right', () => {
    const packet = load(error(datagram(plain)), 3);
    setErrorDestination(packet, int32('192.0.2.1', client), 4);
    const expected = error(datagram(plain), client);
    expect(decodeIcmp(bytesOf(packet))).toEqual(decodeIcmp(expected));
    expect(toHex(bytesOf(packet))).toBe(toHex(expected));
    expect([...packet.addresses.slice(4)]).toEqual([...int32(client)]);
  });

  it('a wrong ICMP checksum stays wrong', () => {
    const bytes = error(datagram(plain));
    bytes[bytes.length - 1] ^= 1;
    const packet = load(bytes);
    setQuotedSource(packet, int32(client), 0, 5555);
    setErrorDestination(packet, int32(client), 0);
    expect(() => decodeIcmp(bytesOf(packet))).toThrow(/checksum/);
  });
});
