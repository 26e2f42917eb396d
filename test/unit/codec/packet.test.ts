import { describe, expect, it } from 'vitest';
import { Carrier } from '../../../src/codec/carriers.js';
import { DESTINATION_AT, Kind, Mark, Packet, SOURCE_AT } from '../../../src/codec/packet.js';
import { load, surrounded } from '../support/place.js';
import {
  be16,
  datagram,
  fragment,
  hex,
  icmp,
  int32,
  ipv4,
  type Octets,
  opp,
  option,
  udp,
} from '../support/wire.js';

const FROM = '10.10.1.1:40000';
const TO = '10.10.1.2:53';
const V4 = '203.0.113.7:5555';
const V6 = '[2001:db8::7]:5555';
const PAYLOAD = [1, 2, 3, 4, 5];

/** Source and destination, four words each. */
const addressesOf = (packet: Packet): number[] => [...packet.addresses];

const NOBODY = new Array<number>(8).fill(0);

const plain = datagram({ from: FROM, to: TO, payload: PAYLOAD });

function patched(packet: Octets, ...patches: [offset: number, ...bytes: number[]][]): number[] {
  const bytes = Array.from(packet);
  for (const [offset, ...values] of patches) bytes.splice(offset, values.length, ...values);
  return bytes;
}

describe('a datagram without a mark', () => {
  it('parse finds the offsets, addresses and ports of an IPv4 datagram', () => {
    const packet = load(plain, 7);
    expect(packet.kind).toBe(Kind.udp);
    expect(packet.mark).toBe(Mark.none);
    expect(packet.carrier).toBe(Carrier.none);
    expect(packet.fragmented).toBe(false);
    expect([packet.start, packet.transport, packet.udp, packet.end]).toEqual([7, 27, 27, 40]);
    expect(packet.protocol).toBe(17);
    expect(addressesOf(packet)).toEqual([...int32('10.10.1.1', '10.10.1.2')]);
    expect([packet.v6, packet.headerLength, packet.declaredLength]).toEqual([false, 20, 33]);
    expect([packet.sourcePort, packet.destinationPort]).toEqual([40000, 53]);
    expect(packet.payloadLength).toBe(5);
  });

  it('parse takes a datagram with other IP options for UDP without a mark', () => {
    const packet = load(datagram({ from: FROM, to: TO, options: hex('94040000 01010100') }));
    expect(packet.kind).toBe(Kind.udp);
    expect(packet.mark).toBe(Mark.none);
    expect(packet.carrier).toBe(Carrier.none);
    expect(packet.udp).toBe(28);
  });

  it('IPv4 addresses with the high bit set are read as negative words', () => {
    const packet = load(datagram({ from: '255.255.255.255:1', to: '128.0.0.1:2' }));
    expect([packet.addresses[SOURCE_AT + 3], packet.addresses[DESTINATION_AT + 3]]).toEqual([
      -1, -0x7fffffff,
    ]);
  });

  it('padding behind the total length is not part of the packet', () => {
    const packet = new Packet(surrounded([...plain, 0, 0, 0]));
    expect(packet.parse(0, plain.length + 3)).toBe(Kind.udp);
    expect(packet.end).toBe(plain.length);
  });

  it('a UDP length below what the packet holds counts as the payload’s length', () => {
    for (let length = 0; length <= 14; length++) {
      const packet = load(patched(plain, [24, ...be16(length)]));
      expect(packet.kind, `UDP length ${length}`).toBe(
        length >= 8 && length <= 13 ? Kind.udp : Kind.malformed,
      );
    }
    expect(load(patched(plain, [24, 0xff, 0xff])).kind).toBe(Kind.malformed);
  });
});

describe('a mark', () => {
  it.each([
    ['IPv4', V4, 8],
    ['IPv6', V6, 20],
  ])('parse finds the mark of an %s client in ipo', (_, client, length) => {
    const packet = load(datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'ipo', client }), 3);
    expect(packet.kind).toBe(Kind.udp);
    expect(packet.carrier).toBe(Carrier.ipo);
    expect(packet.mark).toBe(Mark.found);
    expect([packet.option, packet.optionLength]).toEqual([23, length]);
    expect(packet.udp).toBe(23 + length);
    expect(packet.payloadLength).toBe(5);
  });

  it.each([
    ['IPv4', V4, 8],
    ['IPv6', V6, 20],
  ])('parse finds the mark of an %s client in opp', (_, client, length) => {
    const packet = load(datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client }), 3);
    expect(packet.kind).toBe(Kind.udp);
    expect(packet.carrier).toBe(Carrier.opp);
    expect(packet.mark).toBe(Mark.found);
    expect([packet.transport, packet.option, packet.optionLength]).toEqual([23, 27, length]);
    expect(packet.udp).toBe(27 + length);
    expect([packet.sourcePort, packet.destinationPort]).toEqual([40000, 53]);
  });

  it('parse finds a mark behind other IP options', () => {
    const options = [...hex('01 94040000 010101'), ...option(V4)];
    const packet = load(datagram({ from: FROM, to: TO, options }));
    expect([packet.mark, packet.option]).toEqual([Mark.found, 28]);
  });

  it('a datagram with a broken mark in ipo stays UDP', () => {
    for (let length = 0; length <= 40; length++) {
      const options = [31, length, ...new Array<number>(38).fill(1)];
      const packet = load(datagram({ from: FROM, to: TO, payload: PAYLOAD, options }));
      expect(packet.kind).toBe(Kind.udp);
      expect(packet.carrier).toBe(Carrier.ipo);
      expect(packet.mark, `length ${length}`).toBe(length === 8 || length === 20 ? Mark.found : Mark.broken);
      expect(packet.payloadLength).toBe(5);
    }
  });

  it('an opp header without a whole mark has a broken one', () => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    for (const options of [[], [1, 1, 0, 0], [31, 9, ...new Array<number>(7).fill(1)], [7, 1, 1, 1]]) {
      const packet = load(
        ipv4({
          source: '10.10.1.1',
          destination: '10.10.1.2',
          protocol: 248,
          body: [...opp(options), ...body],
        }),
      );
      expect(packet.kind).toBe(Kind.udp);
      expect(packet.carrier).toBe(Carrier.opp);
      expect(packet.mark).toBe(Mark.broken);
      expect(packet.udp).toBe(24 + options.length);
    }
  });

  it('an opp header that does not lead to UDP makes the packet malformed', () => {
    const marked = datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V4 });
    for (const patch of [
      [20, 0x00],
      [20, 0x30],
      [21, 6],
      [22, 0, 3],
      [22, 0, 30],
      [22, 0xff, 0xff],
    ] as [number, ...number[]][]) {
      const packet = load(patched(marked, patch));
      expect(packet.kind, patch.join()).toBe(Kind.malformed);
      expect(packet.mark).toBe(Mark.broken);
    }
  });

  it('the mark of one packet is not seen in the next one', () => {
    const marked = datagram({ from: FROM, to: TO, carrier: 'opp', client: V6 });
    const packet = new Packet(surrounded([...marked, ...plain]));
    packet.parse(0, marked.length);
    packet.parse(marked.length, marked.length + plain.length);
    expect([packet.kind, packet.mark, packet.carrier]).toEqual([Kind.udp, Mark.none, Carrier.none]);
    packet.parse(0, marked.length);
    packet.parse(0, 3);
    expect([packet.kind, packet.mark, packet.carrier]).toEqual([Kind.malformed, Mark.none, Carrier.none]);
  });
});

describe('contradicting lengths', () => {
  it.each([
    ['no mark', plain],
    ['ipo', datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'ipo', client: V4 })],
    [
      'ipo with an IPv6 client',
      datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'ipo', client: V6 }),
    ],
    ['opp', datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V4 })],
    [
      'opp with an IPv6 client',
      datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V6 }),
    ],
  ])('a truncated packet is malformed, whatever its total length says: %s', (_, whole) => {
    for (let length = 0; length < whole.length; length++) {
      expect(load(whole.slice(0, length)).kind, `${length} bytes`).toBe(Kind.malformed);
      if (length < 20) continue;
      const agreeing = patched(whole.slice(0, length), [2, ...be16(length)]);
      expect(load(agreeing).kind, `${length} bytes and says so`).toBe(Kind.malformed);
    }
    expect(load(whole).kind).toBe(Kind.udp);
  });

  it('a total length that contradicts the header or the bytes makes the packet malformed', () => {
    for (let length = 0; length <= plain.length + 20; length++) {
      const kind = load(patched(plain, [2, ...be16(length)])).kind;
      expect(kind, `total length ${length}`).toBe(length === plain.length ? Kind.udp : Kind.malformed);
    }
  });

  it('a header length below 20 or past the packet makes it malformed', () => {
    // Wherever UDP is looked for, there is something that would do as its length.
    const long = datagram({ from: '0.8.0.8:8', to: '0.8.0.8:8', id: 8, ttl: 0 });
    for (let words = 0; words < 16; words++) {
      const { kind } = load(patched(long, [0, 0x40 + words]));
      expect(kind, `${words} words`).toBe(words === 5 ? Kind.udp : Kind.malformed);
    }
  });
});

describe('fragments', () => {
  const whole = datagram({ from: FROM, to: TO, payload: new Array<number>(60).fill(9), id: 77 });

  it('a first fragment is UDP, though its datagram is longer than it', () => {
    const [first] = fragment(whole, 16);
    const packet = load(first);
    expect(packet.kind).toBe(Kind.udp);
    expect(packet.fragmented).toBe(true);
    expect(packet.payloadLength).toBe(60);
  });

  it('a later fragment has addresses, protocol and id, but no mark', () => {
    for (const piece of fragment(whole, 16).slice(1)) {
      const packet = load(piece);
      expect(packet.kind).toBe(Kind.fragment);
      expect(packet.fragmented).toBe(true);
      expect(packet.mark).toBe(Mark.none);
      expect(packet.protocol).toBe(17);
      expect(addressesOf(packet)).toEqual([...int32('10.10.1.1', '10.10.1.2')]);
      // Other bytes than those of a datagram with another protocol and the same id.
      expect(packet.fragmentId).toBe(77 * 256 + 17);
    }
  });

  it('fragmentLength is what stands behind the IP header', () => {
    const lengths = fragment(whole, 32).map(piece => load(piece, 3).fragmentLength);
    expect(lengths).toEqual([32, 32, 4]);
  });

  it('a first fragment too short for a UDP header is malformed', () => {
    const body = [...whole.slice(20, 27)];
    const packet = ipv4({
      source: '10.10.1.1',
      destination: '10.10.1.2',
      protocol: 17,
      moreFragments: true,
      body,
    });
    expect(load(packet).kind).toBe(Kind.malformed);
  });

  it('the mark of a first fragment is found in either carrier', () => {
    for (const carrier of ['ipo', 'opp'] as const) {
      const payload = new Array<number>(30).fill(9);
      const marked = datagram({ from: FROM, to: TO, payload, carrier, client: V4 });
      const packet = load(fragment(marked, 24)[0]);
      expect([packet.kind, packet.mark, packet.fragmented]).toEqual([Kind.udp, Mark.found, true]);
    }
  });

  it('later fragments of a datagram in opp are fragments of protocol 248', () => {
    const marked = datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V4 });
    const packet = load(fragment(marked, 24)[1]);
    expect([packet.kind, packet.protocol]).toEqual([Kind.fragment, 248]);
  });

  it('"don’t fragment" and the reserved bit do not make a packet a fragment', () => {
    for (const high of [0x40, 0x80, 0xc0]) {
      const packet = load(patched(plain, [6, high]));
      expect([packet.kind, packet.fragmented]).toEqual([Kind.udp, false]);
    }
  });
});

describe('packets that are not UDP', () => {
  it('packets and fragments of other protocols are Kind.other', () => {
    for (let protocol = 0; protocol < 256; protocol++) {
      if (protocol === 17 || protocol === 248) continue;
      expect(load(patched(plain, [9, protocol])).kind).toBe(Kind.other);
      expect(load(patched(plain, [6, 0, 3], [9, protocol])).kind).toBe(Kind.other);
    }
  });

  it('a packet of IPv6’s version and less than 40 bytes is malformed', () => {
    for (let length = 1; length < 40; length++)
      expect(load(new Array<number>(length).fill(0x60)).kind).toBe(Kind.malformed);
  });

  it('a packet of another IP version is Kind.other at every length', () => {
    for (let version = 0; version < 16; version++) {
      if (version === 4 || version === 6) continue;
      expect(load([version * 16 + 5]).kind).toBe(Kind.other);
      const packet = new Packet(surrounded([...fragment(plain, 8)[0], version * 16 + 5]));
      packet.parse(0, 28);
      packet.parse(28, 29);
      // The packet before it was a fragment.
      expect([packet.kind, packet.fragmented, ...packet.addresses]).toEqual([Kind.other, false, ...NOBODY]);
      expect(load(patched(plain, [0, version * 16 + 5])).kind).toBe(Kind.other);
    }
  });
});

describe('ICMP errors', () => {
  const datagrams = {
    'without a mark': datagram({ from: TO, to: V4, payload: PAYLOAD }),
    'with a mark in ipo': datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'ipo', client: V4 }),
    'with a mark in opp': datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V6 }),
  };
  const error = (quote: Octets, type = 3, code = 4) =>
    icmp({ source: '192.0.2.250', destination: '10.10.1.1', type, code, quote });

  it.each(Object.entries(datagrams))(
    '`quoted` has the ports, addresses and mark of the quoted datagram: %s',
    (_, quote) => {
      const whole = load(quote);
      const packet = load(error(quote), 3);
      expect(packet.kind).toBe(Kind.error);
      expect(addressesOf(packet)).toEqual([...int32('192.0.2.250', '10.10.1.1')]);
      expect([...packet.quoted.addresses]).toEqual(addressesOf(whole));
      const { quoted } = packet;
      expect([quoted.sourcePort, quoted.destinationPort]).toEqual([whole.sourcePort, whole.destinationPort]);
      expect([quoted.mark, quoted.carrier]).toEqual([whole.mark, whole.carrier]);
      const start = 3 + 28;
      expect([packet.transport, quoted.start]).toEqual([23, start]);
      expect([quoted.transport, quoted.udp]).toEqual([start + whole.transport, start + whole.udp]);
      expect(quoted.optionLength).toBe(whole.optionLength);
      if (whole.mark === Mark.found) expect(quoted.option).toBe(start + whole.option);
      expect([packet.mark, packet.carrier, packet.udp]).toEqual([Mark.none, Carrier.none, packet.transport]);
    },
  );

  it.each(Object.entries(datagrams))(
    'an error that quotes less than the UDP header is Kind.other: %s',
    (_, quote) => {
      const until = load(quote).udp + 8;
      for (let length = 0; length <= quote.length; length++) {
        const packet = load(error(quote.slice(0, length)));
        expect(packet.kind, `${length} bytes`).toBe(length < until ? Kind.other : Kind.error);
        if (length < until) expect([packet.mark, packet.carrier]).toEqual([Mark.none, Carrier.none]);
      }
    },
  );

  it('declaredLength is the whole length of a datagram that is quoted in part', () => {
    const packet = load(error(plain.slice(0, 28)));
    expect(packet.quoted.declaredLength).toBe(33);
  });

  it('ICMP types 3, 11 and 12 alone are errors', () => {
    for (let type = 0; type < 256; type++)
      expect(load(error(plain, type)).kind).toBe([3, 11, 12].includes(type) ? Kind.error : Kind.other);
  });

  it('an error about a first fragment is an error, one about a later fragment is not', () => {
    const [first, later] = fragment(datagram({ from: FROM, to: TO, payload: new Array(60).fill(0) }), 32);
    expect(load(error(first)).kind).toBe(Kind.error);
    expect(load(error(later)).kind).toBe(Kind.other);
  });

  it('a fragmented ICMP error is Kind.other', () => {
    for (const piece of fragment(error(plain), 40)) expect(load(piece).kind).toBe(Kind.other);
  });

  it('an error that quotes no UDP datagram of IPv4 is Kind.other', () => {
    for (const patch of [
      [9, 6],
      [9, 1],
      [0, 0x65],
      [0, 0x44],
      [0, 0x4f],
      [3, 19],
      [9, 248],
    ] as [number, number][])
      expect(load(error(patched(plain, patch))).kind, patch.join()).toBe(Kind.other);
  });
});
