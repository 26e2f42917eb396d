import { describe, expect, it } from 'vitest';
import { Mark, Packet } from '../../src/codec/packet.js';
import {
  eraseOptions,
  fitsOpp,
  fitsOption,
  insertOpp,
  insertOption,
  restoreHop,
  setDestination,
  setFragmentAddresses,
  setSource,
  strip,
} from '../../src/codec/rewrite.js';
import { Carrier } from '../../src/codec/uoa.js';
import { bytesOf, load } from './support/place.js';
import {
  datagram,
  decode,
  fragment,
  hex,
  ipv4,
  opp,
  option,
  toHex,
  udp,
  word,
  words,
} from './support/wire.js';

const FROM = '10.10.1.1:40000';
const TO = '10.10.1.2:53';
const PAYLOAD = [1, 2, 3, 4, 5];
const CLIENTS = { IPv4: '203.0.113.7:5555', IPv6: '[2001:db8::7]:5555' };
const clientOf = (family: 'IPv4' | 'IPv6') => ({
  v6: family === 'IPv6',
  words: words(family === 'IPv6' ? '2001:db8::7' : '203.0.113.7'),
  port: 5555,
});
const plain = { from: FROM, to: TO, payload: PAYLOAD, tos: 0xb8, ttl: 57, id: 0x1234, dontFragment: true };

describe.each(['IPv4', 'IPv6'] as const)('with an %s client', family => {
  const client = clientOf(family);
  const size = family === 'IPv4' ? 8 : 20;

  it('insertOption puts the mark right behind the fixed header, before other options', () => {
    const options = hex('94040000 01010100');
    const packet = load(datagram({ ...plain, options }), size);
    insertOption(packet, client);
    expect(toHex(bytesOf(packet))).toBe(
      toHex(datagram({ ...plain, carrier: 'ipo', client: CLIENTS[family], options })),
    );
    expect([packet.carrier, packet.mark, packet.optionLength]).toEqual([Carrier.ipo, Mark.found, size]);
  });

  it('insertOpp puts the mark between IP and UDP, and leaves the UDP checksum alone', () => {
    const options = hex('94040000 01010100');
    const packet = load(datagram({ ...plain, options }), size + 4);
    insertOpp(packet, client);
    expect(toHex(bytesOf(packet))).toBe(
      toHex(datagram({ ...plain, carrier: 'opp', client: CLIENTS[family], options })),
    );
    expect([packet.carrier, packet.mark, packet.protocol]).toEqual([Carrier.opp, Mark.found, 248]);
  });

  it.each([
    ['ipo', insertOption],
    ['opp', insertOpp],
  ] as const)('what was inserted as %s is in the view as parsing it would put it there', (_, insert) => {
    const packet = load(datagram(plain), 24);
    insert(packet, client);
    const again = new Packet(packet.bytes.buffer);
    again.parse(packet.start, packet.end);
    expect({ ...packet, bytes: 0, view: 0 }).toEqual({ ...again, bytes: 0, view: 0 });
  });

  it.each(['ipo', 'opp'] as const)('strip takes %s out and nothing else', carrier => {
    const packet = load(datagram({ ...plain, carrier, client: CLIENTS[family] }));
    strip(packet);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram(plain)));
    expect([packet.carrier, packet.mark, packet.protocol]).toEqual([Carrier.none, Mark.none, 17]);
    const again = new Packet(packet.bytes.buffer);
    again.parse(packet.start, packet.end);
    expect([again.transport, again.udp]).toEqual([packet.transport, packet.udp]);
  });
});

describe('strip', () => {
  const mark = option(CLIENTS.IPv4);

  it('takes the mark out from among other options', () => {
    const packet = load(datagram({ ...plain, options: [...hex('94040000 01'), ...mark, ...hex('070300')] }));
    expect(packet.mark).toBe(Mark.found);
    strip(packet);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, options: hex('94040000 01 070300') })));
  });

  it('takes out the first mark of two', () => {
    const second = option('198.51.100.7:7');
    const packet = load(datagram({ ...plain, options: [...mark, ...second] }));
    strip(packet);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, options: second })));
  });

  it('takes the opp header out with all that is in it', () => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    for (const options of [[], [1, 1, ...mark, 7, 3, 0], [31, 3, 0], mark.slice(0, 5)]) {
      const packet = load(
        ipv4({
          source: '10.10.1.1',
          destination: '10.10.1.2',
          protocol: 248,
          options: [1, 1, 1, 0],
          body: [...opp(options, 1), ...body],
        }),
      );
      strip(packet);
      expect(toHex(bytesOf(packet))).toBe(
        toHex(datagram({ from: FROM, to: TO, payload: PAYLOAD, options: [1, 1, 1, 0] })),
      );
    }
  });

  it('leaves a packet without a mark, or with a broken one in IP, as it was', () => {
    for (const options of [[], [1, 1, 1, 0], [31, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [31, 0, 0, 0]]) {
      const whole = datagram({ ...plain, options });
      const packet = load(whole, 3);
      strip(packet);
      expect(toHex(bytesOf(packet))).toBe(toHex(whole));
    }
  });

  it('leaves what is in front of the packet alone', () => {
    const packet = load(datagram({ ...plain, carrier: 'ipo', client: CLIENTS.IPv6 }), 4);
    strip(packet);
    expect(toHex(packet.bytes.slice(0, 4))).toBe('a5a5a5a5');
  });
});

describe('eraseOptions', () => {
  const mark = option(CLIENTS.IPv4);

  it.each([
    ['one', mark, new Array<number>(8).fill(1), 1],
    ['one of an IPv6 client', option(CLIENTS.IPv6), new Array<number>(20).fill(1), 1],
    ['one of no client at all', [31, 4, 7, 7], [1, 1, 1, 1], 1],
    [
      'two, with another between them',
      [...mark, 7, 4, 0, 0, ...mark],
      [...hex('0101010101010101 07040000 0101010101010101')],
      2,
    ],
    ['none', hex('94040000 01010100'), hex('94040000 01010100'), 0],
    ['none behind END', [0, ...mark, 0, 0, 0], [0, ...mark, 0, 0, 0], 0],
  ])('puts NOPs in the place of %s', (_, options, left, count) => {
    const packet = load(datagram({ ...plain, options }), 2);
    expect(eraseOptions(packet)).toBe(count);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, options: left })));
    expect([packet.carrier, packet.mark]).toEqual([Carrier.none, Mark.none]);
  });

  it('stops at a broken one', () => {
    const packet = load(datagram({ ...plain, options: [...mark, 31, 9, 0, 0] }));
    expect(eraseOptions(packet)).toBe(1);
    expect(decode(bytesOf(packet)).options).toBe('01010101010101011f090000');
  });

  it('leaves a packet without options alone', () => {
    const packet = load(datagram(plain));
    expect(eraseOptions(packet)).toBe(0);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram(plain)));
  });
});

describe('restoreHop', () => {
  it('adds one to every TTL but the highest', () => {
    for (let ttl = 0; ttl <= 255; ttl++) {
      const packet = load(datagram({ ...plain, ttl }));
      restoreHop(packet);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, ttl: Math.min(ttl + 1, 255) })));
    }
  });
});

describe('fitsOption and fitsOpp', () => {
  it('allow 60 bytes of IP header', () => {
    for (let length = 0; length <= 40; length += 4) {
      const packet = load(datagram({ ...plain, options: new Array<number>(length).fill(1) }));
      expect(fitsOption(packet, 8, 1500), `${length} bytes of options`).toBe(length <= 32);
      expect(fitsOption(packet, 20, 1500), `${length} bytes of options`).toBe(length <= 20);
      expect(fitsOpp(packet, 8, 1500)).toBe(true);
    }
  });

  it('allow the MTU to the byte', () => {
    const packet = load(datagram({ ...plain, payload: new Array<number>(72).fill(0) }));
    expect(fitsOption(packet, 8, 108)).toBe(true);
    expect(fitsOption(packet, 8, 107)).toBe(false);
    expect(fitsOpp(packet, 8, 112)).toBe(true);
    expect(fitsOpp(packet, 8, 111)).toBe(false);
  });
});

describe('addresses', () => {
  it('setSource gives another source and port, both checksums right', () => {
    const packet = load(datagram(plain));
    setSource(packet, word('203.0.113.7'), 5555);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, from: '203.0.113.7:5555' })));
    expect([packet.source, packet.sourcePort]).toEqual([word('203.0.113.7'), 5555]);
  });

  it('setDestination gives another destination and port, both checksums right', () => {
    const packet = load(datagram(plain));
    setDestination(packet, word('203.0.113.7'), 5555);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, to: '203.0.113.7:5555' })));
    expect([packet.destination, packet.destinationPort]).toEqual([word('203.0.113.7'), 5555]);
  });

  it('a UDP checksum of 0 stays', () => {
    const packet = load(datagram({ ...plain, udpChecksum: 0 }));
    setSource(packet, word('203.0.113.7'), 5555);
    setDestination(packet, word('255.255.255.255'), 65535);
    expect(decode(bytesOf(packet))).toMatchObject({
      from: '203.0.113.7:5555',
      to: '255.255.255.255:65535',
      udpChecksum: 0,
    });
  });

  it('a wrong UDP checksum stays wrong by as much: it is the receiver who says so', () => {
    const packet = load(datagram({ ...plain, udpChecksum: 0x1234 }));
    setSource(packet, word('203.0.113.7'), 5555);
    expect(() => decode(bytesOf(packet))).toThrow(/checksum/);
    setSource(packet, word('10.10.1.1'), 40000);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain, udpChecksum: 0x1234 })));
  });

  it('setFragmentAddresses changes the IP header alone', () => {
    const pieces = fragment(datagram({ ...plain, payload: new Array<number>(40).fill(7) }), 24);
    const packet = load(pieces[1]);
    setFragmentAddresses(packet, word('203.0.113.7'), word('10.10.1.3'));
    const expected = fragment(
      datagram({
        ...plain,
        from: '203.0.113.7:1',
        to: '10.10.1.3:1',
        payload: new Array<number>(40).fill(7),
      }),
      24,
    )[1];
    expect(toHex(bytesOf(packet))).toBe(toHex(expected));
    expect([packet.source, packet.destination]).toEqual([word('203.0.113.7'), word('10.10.1.3')]);
  });
});
