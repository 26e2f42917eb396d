import { describe, expect, it } from 'vitest';
import { Carrier, type CarrierName } from '../../../src/codec/carriers.js';
import { eraseMarks, fitsMark, insertMark, strip, stripQuoted } from '../../../src/codec/marks.js';
import { Kind, Mark, Packet } from '../../../src/codec/packet.js';
import { bytesOf, load } from '../support/place.js';
import {
  type DatagramFields,
  datagram,
  decode,
  decodeIcmp,
  destinationOption,
  destinationOptions,
  type Extension,
  endpoint,
  fragment,
  fragmentHeader,
  hex,
  hopByHop,
  icmp,
  ipv4,
  ipv6,
  type Octets,
  opp,
  option,
  padding,
  payloadOf,
  reassemble,
  routing,
  toHex,
  udp,
  words,
} from '../support/wire.js';

const PAYLOAD = [1, 2, 3, 4, 5];
const CLIENTS = { IPv4: '203.0.113.7:5555', IPv6: '[2001:db8::7]:5555' };
const clientOf = (family: 'IPv4' | 'IPv6') => ({
  v6: family === 'IPv6',
  words: words(family === 'IPv6' ? '2001:db8::7' : '203.0.113.7'),
  port: 5555,
});
const plain4 = {
  ...{ from: '10.10.1.1:40000', to: '10.10.1.2:53', payload: PAYLOAD },
  ...{ tos: 0xb8, ttl: 57, id: 0x1234, dontFragment: true },
};
const plain6 = {
  ...{ from: '[fd00::1]:40000', to: '[fd00::2]:53', payload: PAYLOAD },
  ...{ tos: 0xb8, ttl: 57, flow: 0x12345 },
};
const OTHER_OPTIONS = hex('94040000 01010100');
const OTHER_OPTION6 = hex('1e04c0ffee00');

/** What the view says of a packet. */
const viewOf = (packet: Packet) => ({ ...packet, ...{ bytes: 0, view: 0, quoted: 0 } });

function parsedAgain(packet: Packet): Packet {
  const again = new Packet(packet.bytes.buffer);
  again.parse(packet.start, packet.end);
  return again;
}

/** An IPv6 datagram behind extension headers. */
function behind(...extensions: Extension[]): Uint8Array {
  return datagram({ ...plain6, extensions });
}

interface Way {
  name: string;
  carrier: CarrierName;
  fields: DatagramFields;
}

const WAYS: Way[] = [
  { name: 'ipo', carrier: 'ipo', fields: plain4 },
  { name: 'ipo before other options', carrier: 'ipo', fields: { ...plain4, options: OTHER_OPTIONS } },
  { name: 'opp in IPv4', carrier: 'opp', fields: plain4 },
  { name: 'opp behind options', carrier: 'opp', fields: { ...plain4, options: OTHER_OPTIONS } },
  { name: 'opp in IPv6', carrier: 'opp', fields: plain6 },
  { name: 'dstopt', carrier: 'dstopt', fields: plain6 },
  {
    name: 'dstopt behind other headers',
    carrier: 'dstopt',
    fields: { ...plain6, extensions: [hopByHop(), routing(), fragmentHeader(0, false)] },
  },
  {
    name: 'dstopt behind other destination options',
    carrier: 'dstopt',
    fields: { ...plain6, extensions: [destinationOptions(OTHER_OPTION6)] },
  },
];

describe.each(['IPv4', 'IPv6'] as const)('with an %s client', family => {
  const client = clientOf(family);
  const size = { ipo: family === 'IPv4' ? 8 : 20, opp: family === 'IPv4' ? 12 : 24, dstopt: 0 };
  size.dstopt = family === 'IPv4' ? 16 : 24;

  it.each(WAYS)('insertMark makes the packet that the slow builder makes: $name', way => {
    const { carrier, fields } = way;
    const room = size[carrier];
    const packet = load(datagram(fields), room + 3);
    insertMark(packet, Carrier[carrier], client);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...fields, carrier, client: CLIENTS[family] })));
    expect(decode(bytesOf(packet)).udpChecksum).toBe(decode(datagram(fields)).udpChecksum);
    expect([packet.carrier, packet.mark]).toEqual([Carrier[carrier], Mark.found]);
    expect(packet.optionLength).toBe(family === 'IPv4' ? 8 : 20);
    expect(toHex(packet.bytes.slice(0, packet.start))).toBe('a5a5a5');
  });

  it.each(WAYS)('insertMark leaves the view as parsing the packet would: $name', way => {
    const packet = load(datagram(way.fields), 24);
    insertMark(packet, Carrier[way.carrier], client);
    expect(viewOf(packet)).toEqual(viewOf(parsedAgain(packet)));
  });

  it.each(WAYS)('strip takes out what insertMark put in: $name', ({ carrier, fields }) => {
    const packet = load(datagram({ ...fields, carrier, client: CLIENTS[family] }), 2);
    expect(strip(packet)).toBe(size[carrier]);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram(fields)));
    expect([packet.carrier, packet.mark, packet.protocol]).toEqual([Carrier.none, Mark.none, 17]);
    const again = parsedAgain(packet);
    for (const field of ['start', 'end', 'transport', 'udp', 'protocolOffset', 'fragmentHeader'] as const)
      expect(again[field], field).toBe(packet[field]);
  });
});

describe('strip', () => {
  const mark = option(CLIENTS.IPv4);

  it('strip takes the mark out from among other options', () => {
    const packet = load(datagram({ ...plain4, options: [...hex('94040000 01'), ...mark, ...hex('070300')] }));
    expect(packet.mark).toBe(Mark.found);
    strip(packet);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain4, options: hex('94040000 01 070300') })));
  });

  it('strip takes out the first of two marks', () => {
    const second = option('198.51.100.7:7');
    const packet = load(datagram({ ...plain4, options: [...mark, ...second] }));
    strip(packet);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain4, options: second })));
  });

  it('strip takes out the whole opp header, whatever options it holds', () => {
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
      expect(strip(packet)).toBe(4 + options.length);
      const { from, to } = plain4;
      expect(toHex(bytesOf(packet))).toBe(
        toHex(datagram({ from, to, payload: PAYLOAD, options: [1, 1, 1, 0] })),
      );
    }
  });

  it('strip takes out the whole opp header in IPv6, whatever options it holds', () => {
    const body = udp(endpoint(plain6.from), endpoint(plain6.to), PAYLOAD);
    for (const options of [[], [1, 1, ...mark, 7, 3, 0], [31, 3, 0], mark.slice(0, 5)]) {
      const packet = load(
        ipv6({ source: 'fd00::1', destination: 'fd00::2', next: 248, body: [...opp(options, 1), ...body] }),
      );
      expect(strip(packet)).toBe(4 + options.length);
      const { from, to } = plain6;
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ from, to, payload: PAYLOAD })));
    }
  });

  it('strip changes nothing where there is no mark, or a broken one in IP’s options', () => {
    for (const options of [[], [1, 1, 1, 0], [31, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [31, 0, 0, 0]]) {
      const whole = datagram({ ...plain4, options });
      const packet = load(whole, 3);
      expect(strip(packet)).toBe(0);
      expect(toHex(bytesOf(packet))).toBe(toHex(whole));
    }
    for (const options of [[], OTHER_OPTION6, [31, 5, 0, 0, 0, 0, 0], [31, 200]]) {
      const whole = behind(destinationOptions(options));
      const packet = load(whole, 3);
      expect(strip(packet)).toBe(0);
      expect(toHex(bytesOf(packet))).toBe(toHex(whole));
    }
  });

  it('strip writes nothing in front of the packet', () => {
    for (const fields of [
      { ...plain4, carrier: 'ipo' },
      { ...plain6, carrier: 'dstopt' },
    ] as const) {
      const packet = load(datagram({ ...fields, client: CLIENTS.IPv6 }), 4);
      strip(packet);
      expect(toHex(packet.bytes.slice(0, 4))).toBe('a5a5a5a5');
    }
  });
});

describe('strip of destination options', () => {
  const mark4 = destinationOption(CLIENTS.IPv4);
  const mark6 = destinationOption(CLIENTS.IPv6);

  it.each<[string, number[]]>([
    ['alone', mark6],
    ['behind Pad1', [0, 0, ...mark6]],
    ['behind PadN', [...padding(2), ...mark6]],
    ['between padding of all kinds', [0, ...padding(3), 0, ...mark6, 0, ...padding(2), 0]],
    ['of an IPv4 client, with more padding than it needs', [...mark4, ...padding(7), ...padding(7)]],
  ])(
    'strip takes out a destination options header that holds only the mark and padding: %s',
    (_, options) => {
      const packet = load(behind(destinationOptions(options)));
      const length = packet.udp - packet.optionsHeader;
      expect(strip(packet)).toBe(length);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram(plain6)));
    },
  );

  it.each<[string, number[], number[], number]>([
    ['behind it, of an IPv4 client', [...mark4, ...OTHER_OPTION6], OTHER_OPTION6, 8],
    ['before it, of an IPv4 client', [...OTHER_OPTION6, ...mark4], OTHER_OPTION6, 8],
    // Of 20 bytes 16 go, so that the other keeps its place modulo 8.
    [
      'behind it',
      [...mark6, ...OTHER_OPTION6, ...padding(4)],
      [...padding(4), ...OTHER_OPTION6, ...padding(4)],
      16,
    ],
    ['before it', [...OTHER_OPTION6, ...mark6, ...padding(4)], OTHER_OPTION6, 24],
    ['behind padding', [...padding(4), ...mark6, ...OTHER_OPTION6], OTHER_OPTION6, 24],
    [
      'behind odd padding',
      [0, ...mark4, 0, ...OTHER_OPTION6, ...padding(6)],
      [...padding(2), ...OTHER_OPTION6, ...padding(6)],
      8,
    ],
    [
      'on both sides',
      [...OTHER_OPTION6, ...mark4, ...OTHER_OPTION6, ...padding(2)],
      [...OTHER_OPTION6, ...OTHER_OPTION6, ...padding(2)],
      8,
    ],
    ['behind it, and broken', [...mark4, 30, 200, 1, 1, 1, 1], [30, 200, 1, 1, 1, 1], 8],
    ['behind it, and another mark', [...mark4, ...mark6, ...padding(2)], [...mark6, ...padding(2)], 8],
  ])('strip leaves other destination options at their place modulo 8: %s', (_, options, left, removed) => {
    for (const before of [[], [hopByHop(), routing()], [fragmentHeader(0, false)], [destinationOptions()]]) {
      const packet = load(behind(...before, destinationOptions(options)), 3);
      expect(packet.mark).toBe(Mark.found);
      expect(strip(packet)).toBe(removed);
      expect(toHex(bytesOf(packet))).toBe(toHex(behind(...before, destinationOptions(left))));
      const again = parsedAgain(packet);
      for (const field of [
        'transport',
        'udp',
        'optionsHeader',
        'optionsNumberOffset',
        'protocolOffset',
        'fragmentHeader',
      ] as const)
        expect(again[field], field).toBe(packet[field]);
    }
  });

  it('strip leaves no more than 7 bytes of padding in a row', () => {
    for (let front = 0; front <= 7; front++)
      for (let back = 0; back <= 7; back++)
        for (const mark of [mark4, mark6]) {
          const options = [...OTHER_OPTION6, ...padding(front), ...mark, ...padding(back), ...OTHER_OPTION6];
          const packet = load(behind(destinationOptions(options)));
          const removed = strip(packet);
          expect(removed % 8).toBe(0);
          const text = decode(bytesOf(packet)).options;
          const between = /1e04c0ffee00(.*)1e04c0ffee00/.exec(text)?.[1] ?? 'nothing';
          const length = between.length / 2;
          expect(length).toBe(front + mark.length + back - removed);
          expect(length).toBeLessThan(8);
          expect(between).toBe(toHex(padding(length)));
        }
  });

  it('strip takes out the header right before UDP, and leaves the other', () => {
    const first = destinationOptions(mark4);
    const packet = load(behind(first, destinationOptions(mark6)));
    expect(strip(packet)).toBe(24);
    expect(toHex(bytesOf(packet))).toBe(toHex(behind(first)));
  });

  it('strip of a first fragment leaves a datagram that can be reassembled once the others are moved', () => {
    for (const [options, left] of [
      [mark6, null],
      [mark4, null],
      [[...OTHER_OPTION6, ...mark4], OTHER_OPTION6],
    ] as const) {
      const fields = { ...plain6, payload: payloadOf(100) };
      const pieces = fragment(datagram({ ...fields, extensions: [destinationOptions(options)] }), 64);
      const first = load(pieces[0]);
      const removed = strip(first);
      expect(removed % 8).toBe(0);
      const others = pieces.slice(1).map(piece => {
        const moved = Array.from(piece);
        moved[43] -= removed;
        // What comes next in the whole datagram, which only the first one knows for sure.
        moved[40] = bytesOf(first)[40];
        return moved;
      });
      const extensions = left === null ? [] : [destinationOptions(left)];
      expect(toHex(reassemble([bytesOf(first), ...others]))).toBe(toHex(datagram({ ...fields, extensions })));
    }
  });
});

describe('eraseMarks', () => {
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
  ])('eraseMarks overwrites IPv4 options of UOA’s number by NOPs: %s', (_, options, left, count) => {
    const packet = load(datagram({ ...plain4, options }), 2);
    expect(eraseMarks(packet)).toBe(count);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...plain4, options: left })));
    expect([packet.carrier, packet.mark]).toEqual([Carrier.none, Mark.none]);
  });

  it('eraseMarks leaves what stands behind a broken option', () => {
    const packet = load(datagram({ ...plain4, options: [...mark, 31, 9, 0, 0] }));
    expect(eraseMarks(packet)).toBe(1);
    expect(decode(bytesOf(packet)).options).toBe('01010101010101011f090000');
  });

  it('eraseMarks changes nothing in a packet without marks', () => {
    for (const fields of [plain4, plain6, { ...plain6, extensions: [destinationOptions(OTHER_OPTION6)] }]) {
      const packet = load(datagram(fields));
      expect(eraseMarks(packet)).toBe(0);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram(fields)));
    }
  });

  it('eraseMarks takes out opp, and the mark among IP’s options as well', () => {
    const packet = load(datagram({ ...plain4, carrier: 'opp', client: CLIENTS.IPv6, options: mark }));
    expect(eraseMarks(packet)).toBe(2);
    const left = datagram({ ...plain4, options: new Array<number>(8).fill(1) });
    expect(toHex(bytesOf(packet))).toBe(toHex(left));
    expect(packet.kind).toBe(Kind.udp);
  });

  it('eraseMarks takes out opp without a whole mark in it', () => {
    for (const fields of [plain4, plain6]) {
      const packet = load(datagram({ ...fields, carrier: 'opp', mark: [31, 3, 0, 0] }));
      expect(packet.mark).toBe(Mark.broken);
      expect(eraseMarks(packet)).toBe(1);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram(fields)));
    }
  });

  it('eraseMarks takes out one marked header after the other', () => {
    const mark6 = destinationOptions(destinationOption(CLIENTS.IPv6));
    const two = destinationOptions([...destinationOption(CLIENTS.IPv4), ...destinationOption(CLIENTS.IPv6)]);
    for (const [extensions, count] of [
      [[mark6], 1],
      [[two], 2],
      [[mark6, two, mark6], 4],
    ] as const) {
      const packet = load(behind(...extensions));
      expect(eraseMarks(packet)).toBe(count);
      expect(toHex(bytesOf(packet))).toBe(toHex(datagram(plain6)));
      expect([packet.kind, packet.mark, packet.carrier]).toEqual([Kind.udp, Mark.none, Carrier.none]);
    }
  });

  it.each<[string, Extension[], number]>([
    ['of a broken kind', [destinationOptions([31, 5, 0, 0, 0, 0, 0])], 1],
    ['one of no data', [destinationOptions([31, 0])], 1],
    ['in front of other headers', [destinationOptions(destinationOption(CLIENTS.IPv6)), routing()], 1],
    [
      'in front of others that stay',
      [destinationOptions(destinationOption(CLIENTS.IPv6)), destinationOptions(OTHER_OPTION6)],
      1,
    ],
    [
      'in front of a fragment header, with others around them',
      [
        destinationOptions([...OTHER_OPTION6, ...destinationOption(CLIENTS.IPv4), 31, 2, 7, 7]),
        fragmentHeader(0, false),
      ],
      2,
    ],
  ])('eraseMarks renumbers the marks that it can’t take out: %s', (_, extensions, count) => {
    const whole = behind(...extensions);
    const packet = load(whole, 3);
    expect(eraseMarks(packet)).toBe(count);
    const left = toHex(whole).replaceAll(/1f(0500|00|12|06|02)/g, '1e$1');
    expect(toHex(bytesOf(packet))).toBe(left);
    expect([packet.kind, packet.mark, packet.carrier]).toEqual([Kind.udp, Mark.none, Carrier.none]);
    expect(parsedAgain(packet).mark).toBe(Mark.none);
  });

  it('eraseMarks does not shorten a first fragment', () => {
    const fields = { ...plain6, payload: payloadOf(100), carrier: 'dstopt', client: CLIENTS.IPv6 } as const;
    const [first] = fragment(datagram(fields), 64);
    const packet = load(first, 3);
    expect(eraseMarks(packet)).toBe(1);
    const left = Uint8Array.from(first);
    left[50] = 0x1e;
    expect(toHex(bytesOf(packet))).toBe(toHex(left));
    expect([packet.mark, parsedAgain(packet).mark]).toEqual([Mark.none, Mark.none]);
  });

  it('eraseMarks changes no hop-by-hop options', () => {
    const whole = behind(hopByHop(destinationOption(CLIENTS.IPv6)));
    const packet = load(whole);
    expect(eraseMarks(packet)).toBe(0);
    expect(toHex(bytesOf(packet))).toBe(toHex(whole));
  });

  it('eraseMarks takes out opp behind a destination options header', () => {
    const extensions = [destinationOptions(destinationOption(CLIENTS.IPv4))];
    const packet = load(datagram({ ...plain6, extensions, carrier: 'opp', client: CLIENTS.IPv6 }));
    expect(eraseMarks(packet)).toBe(2);
    expect(toHex(bytesOf(packet))).toBe(toHex(datagram(plain6)));
  });
});

describe('fitsMark', () => {
  const [four, six] = [clientOf('IPv4'), clientOf('IPv6')];

  it('fitsMark refuses ipo where the IPv4 header would exceed 60 bytes', () => {
    for (let length = 0; length <= 40; length += 4) {
      const packet = load(datagram({ ...plain4, options: new Array<number>(length).fill(1) }));
      expect(fitsMark(packet, Carrier.ipo, four, 1500), `${length} bytes of options`).toBe(length <= 32);
      expect(fitsMark(packet, Carrier.ipo, six, 1500), `${length} bytes of options`).toBe(length <= 20);
      expect(fitsMark(packet, Carrier.opp, four, 1500)).toBe(true);
    }
  });

  it.each([
    ['ipo', four, plain4, 8],
    ['ipo', six, plain4, 20],
    ['opp', four, plain4, 12],
    ['opp', six, plain4, 24],
    ['opp', four, plain6, 12],
    ['opp', six, plain6, 24],
    ['dstopt', four, plain6, 16],
    ['dstopt', six, plain6, 24],
  ] as const)('allows the MTU to the byte: %s', (carrier, client, fields, bytes) => {
    const whole = datagram({ ...fields, payload: new Array<number>(72).fill(0) });
    const packet = load(whole, 3);
    expect(fitsMark(packet, Carrier[carrier], client, whole.length + bytes)).toBe(true);
    expect(fitsMark(packet, Carrier[carrier], client, whole.length + bytes - 1)).toBe(false);
  });

  it('fitsMark refuses opp, and allows dstopt, behind extension headers', () => {
    for (const extension of [hopByHop(), routing(), destinationOptions(), fragmentHeader(0, false)]) {
      const packet = load(behind(extension));
      expect(fitsMark(packet, Carrier.opp, six, 1500)).toBe(false);
      expect(fitsMark(packet, Carrier.dstopt, six, 1500)).toBe(true);
    }
  });
});

describe('stripQuoted', () => {
  const error4 = (quote: Octets) =>
    icmp({ source: '192.0.2.250', destination: '10.10.1.1', type: 3, code: 4, rest: hex('00000578'), quote });
  const error6 = (quote: Octets) =>
    icmp({ source: 'fd00::250', destination: 'fd00::1', type: 2, code: 0, rest: hex('00000500'), quote });

  describe.each(['IPv4', 'IPv6'] as const)('with an %s client', family => {
    it.each(WAYS)(
      'stripQuoted makes the error one about the unmarked packet: $name',
      ({ carrier, fields }) => {
        const marked = datagram({ ...fields, carrier, client: CLIENTS[family] });
        const unmarked = datagram(fields);
        const error = marked[0] >> 4 === 4 ? error4 : error6;
        const removed = marked.length - unmarked.length;
        const headers = load(marked).udp + 8;
        // The whole packet, a part of it, and no more than there has to be.
        for (let length = marked.length; length >= headers; length--) {
          const packet = load(error(marked.slice(0, length)), 3);
          expect(stripQuoted(packet)).toBe(removed);
          const expected = error(unmarked.slice(0, length - removed));
          const bytes = bytesOf(packet);
          // IPv4's checksum of the outer header and ICMP's: decodeIcmp has them computed.
          expect(decodeIcmp(bytes)).toEqual(decodeIcmp(expected));
          expect(toHex(bytes)).toBe(toHex(expected));
          expect(toHex(packet.bytes.slice(0, 3))).toBe('a5a5a5');

          const again = parsedAgain(packet);
          expect(again.kind).toBe(Kind.error);
          expect(viewOf(packet)).toEqual(viewOf(again));
          expect({ ...packet.quoted, view: 0 }).toEqual({ ...again.quoted, view: 0 });
        }
      },
    );
  });

  it('stripQuoted changes nothing where there is no whole mark', () => {
    for (const whole of [
      error4(datagram(plain4)),
      error4(datagram({ ...plain4, options: OTHER_OPTIONS })),
      error4(datagram({ ...plain4, options: [31, 3, 0, 0] })),
      error6(datagram(plain6)),
      error6(behind(destinationOptions(OTHER_OPTION6))),
      error6(behind(destinationOptions([31, 3, 0, 0, 0]))),
    ]) {
      const packet = load(whole);
      expect(packet.kind).toBe(Kind.error);
      expect(stripQuoted(packet)).toBe(0);
      expect(toHex(bytesOf(packet))).toBe(toHex(whole));
    }
  });

  it('stripQuoted changes nothing where the header holds more than a mark as we send it', () => {
    const mark = destinationOption(CLIENTS.IPv6);
    for (const options of [
      [...mark, ...OTHER_OPTION6],
      [...OTHER_OPTION6, ...mark],
      [...padding(2), ...mark],
    ]) {
      const whole = error6(behind(destinationOptions(options)));
      const packet = load(whole);
      expect(packet.quoted.mark).toBe(Mark.found);
      expect(stripQuoted(packet)).toBe(0);
      expect(toHex(bytesOf(packet))).toBe(toHex(whole));
    }
  });

  it('stripQuoted takes the mark out of a quoted first fragment', () => {
    const fields = { ...plain6, payload: payloadOf(100) };
    const [marked] = fragment(datagram({ ...fields, carrier: 'dstopt', client: CLIENTS.IPv6 }), 64);
    const [unmarked] = fragment(datagram(fields), 40);
    const packet = load(error6(marked));
    expect(stripQuoted(packet)).toBe(24);
    expect(toHex(bytesOf(packet))).toBe(toHex(error6(unmarked)));
  });
});
