import { describe, expect, it } from 'vitest';
import { strip } from '../../../src/codec/marks.js';
import { Kind, Packet } from '../../../src/codec/packet.js';
import { moveFragment } from '../../../src/codec/rewrite.js';
import { GROWTH, toIpv4, toIpv6 } from '../../../src/codec/translate.js';
import { bytesOf, load } from '../support/place.js';
import {
  be16,
  type DatagramFields,
  datagram,
  decode,
  destinationOptions,
  fragment,
  fragmentHeader,
  hopByHop,
  int32,
  ipv4,
  ipv6,
  type Octets,
  payloadOf,
  routing,
  toHex,
} from '../support/wire.js';

const FOUR = { from: '10.10.1.1:40000', to: '10.10.1.2:53' };
const SIX = { from: '[2001:db8::7]:40000', to: '[fd00:1::2]:53' };
const PAYLOAD = [1, 2, 3, 4, 5];

/** New addresses, in the middle of others. */
const TO_SIX = int32('192.0.2.1', '2001:db8::7', 'fd00:1::2', '192.0.2.2');
const TO_FOUR = int32('192.0.2.1', '10.10.1.1', '10.10.1.2', '192.0.2.2');

/** Translates it, and looks whether the view says what parsing it would. */
function translate(bytes: Octets): { packet: Packet; ok: boolean } {
  const packet = load(bytes, GROWTH);
  const { end, udp } = packet;
  if (packet.v6) toIpv4(packet, TO_FOUR, 4);
  else if (!toIpv6(packet, TO_SIX, 4)) return { packet, ok: false };
  expect([packet.end, packet.udp]).toEqual([end, udp]);
  const again = new Packet(packet.bytes.buffer);
  expect(again.parse(packet.start, packet.end)).toBe(packet.kind);
  for (const field of [
    'v6',
    'start',
    'end',
    'transport',
    'protocol',
    'protocolOffset',
    'fragmentHeader',
  ] as const)
    expect(again[field], field).toBe(packet[field]);
  expect(again.fragmented).toBe(packet.fragmented);
  expect([...again.addresses]).toEqual([...packet.addresses]);
  return { packet, ok: true };
}

const translated = (bytes: Octets): string => toHex(bytesOf(translate(bytes).packet));

describe('a whole datagram', () => {
  const header = { payload: PAYLOAD, tos: 0xb8, ttl: 57 };

  it.each<[string, Partial<DatagramFields>]>([
    ['any', header],
    ['an empty one', { ...header, payload: [] }],
    ['of the lowest class and hops', { ...header, tos: 0, ttl: 1 }],
    ['of the highest', { ...header, tos: 0xff, ttl: 255 }],
    ['a long one', { ...header, payload: payloadOf(1400) }],
  ])('a translated datagram keeps payload, class and hops, and has a right checksum: %s', (_, fields) => {
    const payload = fields.payload ?? [];
    const isBig = 28 + payload.length > 1260;
    const four = datagram({ ...FOUR, ...fields, dontFragment: isBig });
    const six = datagram({ ...SIX, ...fields });
    expect(translated(four)).toBe(toHex(six));
    expect(translated(six)).toBe(toHex(four));
  });

  it('toIpv4 sets DF on packets of more than 1260 bytes alone', () => {
    for (const length of [1259, 1260, 1261]) {
      const { packet } = translate(datagram({ ...SIX, payload: payloadOf(length - 28) }));
      expect(decode(bytesOf(packet)).dontFragment, `${length} bytes`).toBe(length > 1260);
    }
  });

  it('a translated datagram has no options or extension headers', () => {
    const plain = { payload: PAYLOAD };
    expect(translated(datagram({ ...FOUR, ...plain, options: [1, 1, 1, 0] }))).toBe(
      toHex(datagram({ ...SIX, ...plain })),
    );
    const extensions = [hopByHop(), routing(), destinationOptions()];
    expect(translated(datagram({ ...SIX, ...plain, extensions }))).toBe(
      toHex(datagram({ ...FOUR, ...plain })),
    );
  });

  it('a translated datagram has neither flow label nor id', () => {
    expect(translated(datagram({ ...SIX, flow: 0xfffff, payload: PAYLOAD }))).toBe(
      toHex(datagram({ ...FOUR, payload: PAYLOAD })),
    );
    expect(translated(datagram({ ...FOUR, id: 77, payload: PAYLOAD }))).toBe(
      toHex(datagram({ ...SIX, payload: PAYLOAD })),
    );
  });

  it('a datagram whose mark was stripped is translated like one without', () => {
    for (const [fields, carrier, others] of [
      [FOUR, 'ipo', SIX],
      [FOUR, 'opp', SIX],
      [SIX, 'dstopt', FOUR],
      [SIX, 'opp', FOUR],
    ] as const) {
      const client = '[2001:db8::7]:5555';
      const packet = load(datagram({ ...fields, payload: PAYLOAD, carrier, client }), GROWTH);
      strip(packet);
      if (packet.v6) toIpv4(packet, TO_FOUR, 4);
      else toIpv6(packet, TO_SIX, 4);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...others, payload: PAYLOAD })));
    }
  });

  it('toIpv6 needs no more than GROWTH bytes of headroom', () => {
    const { packet } = translate(datagram({ ...FOUR, payload: PAYLOAD }));
    expect(packet.start).toBe(GROWTH - 20);
    const { packet: piece } = translate(fragment(datagram({ ...FOUR, payload: payloadOf(100) }), 48)[1]);
    expect(piece.start).toBe(0);
  });
});

describe('the UDP checksum', () => {
  it('toIpv6 makes a UDP checksum where there was none', () => {
    for (const length of [0, 1, 2, 5, 1400]) {
      const payload = payloadOf(length);
      expect(translated(datagram({ ...FOUR, payload, udpChecksum: 0 }))).toBe(
        toHex(datagram({ ...SIX, payload })),
      );
    }
  });

  it('a UDP checksum that is made covers UDP’s length, and nothing behind it', () => {
    const short = datagram({ ...FOUR, payload: PAYLOAD, udpChecksum: 0 });
    const long = ipv4({
      source: '10.10.1.1',
      destination: '10.10.1.2',
      protocol: 17,
      body: [...short.slice(20), 1, 2, 3],
    });
    const whole = datagram({ ...SIX, payload: PAYLOAD });
    const [source, destination] = ['2001:db8::7', 'fd00:1::2'];
    expect(translated(long)).toBe(
      toHex(ipv6({ source, destination, next: 17, body: [...whole.slice(40), 1, 2, 3] })),
    );
  });

  it('a UDP checksum that comes out as 0 is written as 0xffff', () => {
    for (const [fields, others] of [
      [FOUR, SIX],
      [SIX, FOUR],
    ]) {
      const payload = be16(decode(datagram({ ...others, payload: [0, 0] })).udpChecksum);
      for (const sum of fields === FOUR ? [{}, { udpChecksum: 0 }] : [{}]) {
        const { packet } = translate(datagram({ ...fields, payload, ...sum }));
        expect(decode(bytesOf(packet)).udpChecksum).toBe(0xffff);
      }
    }
  });

  it('toIpv4 makes a UDP checksum where there was none', () => {
    expect(translated(datagram({ ...SIX, payload: PAYLOAD, udpChecksum: 0 }))).toBe(
      toHex(datagram({ ...FOUR, payload: PAYLOAD })),
    );
  });

  it('a wrong UDP checksum stays wrong when it is translated', () => {
    for (const fields of [FOUR, SIX]) {
      const { packet } = translate(datagram({ ...fields, payload: PAYLOAD, udpChecksum: 0x1234 }));
      expect(() => decode(bytesOf(packet))).toThrow(/UDP: checksum/);
    }
  });
});

describe('fragments', () => {
  const payload = payloadOf(100);
  const ID = 0x1c46;
  const four = { ...FOUR, payload, tos: 0xb8, ttl: 57, id: ID };
  const six = { ...SIX, payload, tos: 0xb8, ttl: 57 };

  it('translated fragments keep offset, id and "more fragments"', () => {
    const pieces4 = fragment(datagram(four), 48);
    const pieces6 = fragment(datagram(six), 48, ID);
    expect(pieces4).toHaveLength(3);
    for (let i = 0; i < 3; i++) {
      expect(translated(pieces4[i])).toBe(toHex(pieces6[i]));
      expect(translated(pieces6[i])).toBe(toHex(pieces4[i]));
    }
  });

  it('toIpv4 makes later fragments UDP’s, whatever stood in front of UDP', () => {
    const marked = datagram({ ...six, carrier: 'dstopt', client: '[2001:db8::7]:5555' });
    const [, later] = fragment(marked, 72, ID);
    const moved = load(later, GROWTH);
    expect(moved.protocol).toBe(60);
    moveFragment(moved, 24);
    toIpv4(moved, TO_FOUR, 4);
    const expected = ipv4({
      ...{ source: '10.10.1.1', destination: '10.10.1.2', protocol: 17, id: ID, tos: 0xb8, ttl: 57 },
      ...{ fragmentOffset: 6, body: datagram(four).slice(20 + 48) },
    });
    expect(toHex(bytesOf(moved))).toBe(toHex(expected));
    expect(moved.protocol).toBe(17);
  });

  it('toIpv4 keeps the lower half of a fragment’s id', () => {
    const [, later] = fragment(datagram(six), 48, 0xabcd1c46);
    expect(translated(later)).toBe(toHex(fragment(datagram(four), 48)[1]));
  });

  it('translated fragments keep the largest offset there is', () => {
    const [source, destination] = ['10.10.1.1', '10.10.1.2'];
    const piece = ipv4({ source, destination, protocol: 17, id: ID, fragmentOffset: 0x1fff, body: [7] });
    const expected = ipv6({
      ...{ source: '2001:db8::7', destination: 'fd00:1::2', next: 17, body: [7] },
      extensions: [fragmentHeader(0x1fff, false, ID)],
    });
    expect(translated(piece)).toBe(toHex(expected));
    expect(translated(expected)).toBe(toHex(piece));
  });

  it('translated fragments have no options or other headers', () => {
    const [first] = fragment(datagram({ ...four, options: [1, 1, 1, 0] }), 48);
    expect(translated(first)).toBe(toHex(fragment(datagram(six), 48, ID)[0]));
    const [source, destination] = ['2001:db8::7', 'fd00:1::2'];
    const extensions = [hopByHop(), fragmentHeader(6, true, ID)];
    const body = payload.slice(0, 48);
    expect(translated(ipv6({ source, destination, next: 17, body, extensions }))).toBe(
      toHex(
        ipv4({
          ...{ source: '10.10.1.1', destination: '10.10.1.2', protocol: 17, body },
          ...{ id: ID, fragmentOffset: 6, moreFragments: true },
        }),
      ),
    );
  });

  it('toIpv6 refuses a first fragment without a UDP checksum, and leaves it as it was', () => {
    const [first] = fragment(datagram({ ...four, udpChecksum: 0 }), 48);
    const { packet, ok } = translate(first);
    expect(ok).toBe(false);
    expect([packet.v6, packet.kind]).toEqual([false, Kind.udp]);
    expect(toHex(bytesOf(packet))).toBe(toHex(first));
  });

  it('toIpv4 leaves a first fragment without a UDP checksum without one', () => {
    const [first] = fragment(datagram({ ...six, udpChecksum: 0 }), 48, ID);
    expect(translated(first)).toBe(toHex(fragment(datagram({ ...four, udpChecksum: 0 }), 48)[0]));
  });

  it('toIpv4 makes an only fragment a whole packet, with its id', () => {
    const extensions = [fragmentHeader(0, false, ID)];
    expect(translated(datagram({ ...six, extensions }))).toBe(toHex(datagram(four)));
    const big = payloadOf(1400);
    expect(translated(datagram({ ...six, payload: big, extensions }))).toBe(
      toHex(datagram({ ...four, payload: big })),
    );
  });
});
