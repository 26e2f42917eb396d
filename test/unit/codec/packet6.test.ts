import { describe, expect, it } from 'vitest';
import { Carrier } from '../../../src/codec/carriers.js';
import { Kind, Mark, Packet } from '../../../src/codec/packet.js';
import { NONE } from '../../../src/codec/units.js';
import { load, surrounded } from '../support/place.js';
import {
  be16,
  datagram,
  destinationOption,
  destinationOptions,
  type Extension,
  endpoint,
  fragment,
  fragmentHeader,
  hex,
  hopByHop,
  icmp,
  int32,
  ipv6,
  type Octets,
  opp,
  padding,
  payloadOf,
  routing,
  udp,
} from '../support/wire.js';

const FROM = '[fd00:1:2:3:4:5:6:7]:40000';
const TO = '[2001:db8::2]:53';
const V4 = '203.0.113.7:5555';
const V6 = '[2001:db8::7]:5555';
const PAYLOAD = [1, 2, 3, 4, 5];
const ADDRESSES = [...int32('fd00:1:2:3:4:5:6:7', '2001:db8::2')];
const OTHER_OPTION = hex('1e04c0ffee00');

const plain = datagram({ from: FROM, to: TO, payload: PAYLOAD });

function patched(packet: Octets, ...patches: [offset: number, ...bytes: number[]][]): number[] {
  const bytes = Array.from(packet);
  for (const [offset, ...values] of patches) bytes.splice(offset, values.length, ...values);
  return bytes;
}

/** A datagram behind extension headers. */
function behind(...extensions: Extension[]): Uint8Array {
  return datagram({ from: FROM, to: TO, payload: PAYLOAD, extensions });
}

/** The same with the mark in the last of them. */
function marked(client = V6, ...extensions: Extension[]): Uint8Array {
  return datagram({ from: FROM, to: TO, payload: PAYLOAD, extensions, carrier: 'dstopt', client });
}

/** Something other than UDP behind extension headers. */
function other(next: number, body: Octets, ...extensions: Extension[]): Uint8Array {
  const [source, destination] = [FROM, TO].map(text => endpoint(text).address);
  return ipv6({ source, destination, extensions, next, body });
}

function permutations<T>(of: readonly T[]): T[][] {
  if (of.length === 0) return [[]];
  return of.flatMap((one, i) => permutations(of.filter((_, k) => k !== i)).map(rest => [one, ...rest]));
}

describe('an IPv6 datagram without a mark', () => {
  it('parse finds the offsets, addresses and ports of an IPv6 datagram', () => {
    const packet = load(plain, 7);
    expect(packet.kind).toBe(Kind.udp);
    expect(packet.v6).toBe(true);
    expect([packet.mark, packet.carrier]).toEqual([Mark.none, Carrier.none]);
    expect([packet.fragmented, packet.fragmentHeader, packet.optionsHeader]).toEqual([false, NONE, NONE]);
    expect([packet.start, packet.transport, packet.udp, packet.end]).toEqual([7, 47, 47, 60]);
    expect([packet.protocol, packet.protocolOffset]).toEqual([17, 13]);
    expect([...packet.addresses]).toEqual(ADDRESSES);
    expect([packet.sourcePort, packet.destinationPort]).toEqual([40000, 53]);
    expect(packet.payloadLength).toBe(5);
    expect([packet.headerLength, packet.declaredLength]).toEqual([40, 53]);
    expect(packet.fragmentId).toBe(0);
  });

  it('IPv6 addresses with the high bit set are read as negative words', () => {
    const packet = load(datagram({ from: '[ffff:ffff:8000::ffff:ffff]:1', to: '[::1]:2' }));
    expect([...packet.addresses]).toEqual([-1, -0x80000000, 0, -1, 0, 0, 0, 1]);
  });

  it('traffic class and flow label do not matter', () => {
    const packet = load(datagram({ from: FROM, to: TO, tos: 0xff, flow: 0xfffff }));
    expect([packet.kind, packet.v6]).toEqual([Kind.udp, true]);
  });

  it('padding behind the payload length is not part of the packet', () => {
    const packet = new Packet(surrounded([...plain, 0, 0, 0]));
    expect(packet.parse(0, plain.length + 3)).toBe(Kind.udp);
    expect(packet.end).toBe(plain.length);
  });

  it('a UDP length below what the packet holds counts as the payload’s length', () => {
    for (let length = 0; length <= 14; length++) {
      const packet = load(patched(plain, [44, ...be16(length)]));
      const isRight = length >= 8 && length <= 13;
      expect(packet.kind, `UDP length ${length}`).toBe(isRight ? Kind.udp : Kind.malformed);
    }
    expect(load(patched(plain, [44, 0xff, 0xff])).kind).toBe(Kind.malformed);
  });

  it('nothing of an IPv6 packet is seen in the IPv4 packet after it, nor the reverse', () => {
    const four = datagram({ from: '10.10.1.1:40000', to: '10.10.1.2:53', payload: PAYLOAD });
    const six = marked(V6, fragmentHeader(0, true));
    const packet = new Packet(surrounded([...six, ...four]));
    for (let i = 0; i < 2; i++) {
      packet.parse(0, six.length);
      expect([packet.v6, packet.fragmented, packet.mark]).toEqual([true, true, Mark.found]);
      expect([...packet.addresses]).toEqual(ADDRESSES);
      packet.parse(six.length, six.length + four.length);
      expect([packet.v6, packet.fragmented, packet.mark]).toEqual([false, false, Mark.none]);
      expect([packet.fragmentHeader, packet.optionsHeader]).toEqual([NONE, NONE]);
      expect([...packet.addresses]).toEqual([...int32('10.10.1.1', '10.10.1.2')]);
    }
  });
});

describe('extension headers', () => {
  const all = [hopByHop(OTHER_OPTION), routing(), destinationOptions(OTHER_OPTION), fragmentHeader(0, false)];

  it('UDP is found behind extension headers in any order', () => {
    for (const order of permutations(all)) {
      const what = order.map(([number]) => number).join();
      const packet = load(behind(...order), 3);
      expect(packet.kind, what).toBe(Kind.udp);
      expect([packet.transport, packet.udp], what).toEqual([75, 75]);
      expect([packet.protocol, packet.mark], what).toEqual([17, Mark.none]);
      // It is written in the last of them; and the options count that stand right before UDP.
      expect(packet.protocolOffset, what).toBe(67);
      const last = order[3][0];
      expect(packet.optionsHeader, what).toBe(last === 60 ? 67 : NONE);
      if (last === 60) expect(packet.optionsNumberOffset, what).toBe(59);
      expect(packet.fragmentHeader, what).toBe(43 + order.findIndex(([number]) => number === 44) * 8);
    }
  });

  it('UDP is found behind many long extension headers', () => {
    const long = destinationOptions([30, 250, ...new Array<number>(250).fill(7)]);
    const packet = load(behind(long, long, routing(), long, hopByHop()));
    expect([packet.kind, packet.udp]).toEqual([Kind.udp, 40 + 3 * 256 + 16]);
  });

  it('UDP is found behind an extension header of the largest size', () => {
    const packet = load(behind([60, [255, ...new Array<number>(2046).fill(0)]]));
    expect([packet.kind, packet.udp]).toEqual([Kind.udp, 40 + 2048]);
  });

  it('a packet truncated in its extension headers is malformed, whatever its payload length says', () => {
    const whole = behind(...all);
    for (let length = 0; length < whole.length; length++) {
      expect(load(whole.slice(0, length)).kind, `${length} bytes`).toBe(Kind.malformed);
      if (length < 40) continue;
      const agreeing = patched(whole.slice(0, length), [4, ...be16(length - 40)]);
      expect(load(agreeing).kind, `${length} bytes and says so`).toBe(Kind.malformed);
    }
  });

  it('an extension header whose length leads past the end makes the packet malformed', () => {
    for (const [number, bytes] of [hopByHop(), routing(), destinationOptions()])
      for (const units of [2, 3, 255]) {
        const packet = load(behind([number, [units, ...Array.from(bytes).slice(1)]]));
        expect(packet.kind, `${number}, ${units}`).toBe(Kind.malformed);
      }
  });

  it('the reserved byte of a fragment header is not its length', () => {
    const [number, bytes] = fragmentHeader(0, false);
    const packet = load(behind([number, [77, ...Array.from(bytes).slice(1)]]));
    expect([packet.kind, packet.udp]).toEqual([Kind.udp, 48]);
  });

  it('a packet with AH, ESP or an unknown next header is Kind.other', () => {
    const body = udp(endpoint(FROM), endpoint(TO), PAYLOAD);
    for (let next = 0; next < 256; next++) {
      if ([0, 17, 43, 44, 58, 60, 248].includes(next)) continue;
      expect(load(other(next, body)).kind, `next header ${next}`).toBe(Kind.other);
      expect(load(other(next, [], hopByHop())).kind, `next header ${next}`).toBe(Kind.other);
    }
  });

  it('a packet that ends with no next header (59) is Kind.other', () => {
    expect(load(other(59, [], ...all)).kind).toBe(Kind.other);
  });
});

describe('a mark in destination options', () => {
  it.each([
    ['IPv4', V4, 16, 8],
    ['IPv6', V6, 24, 20],
  ])('parse finds the mark of an %s client in dstopt', (_, client, header, length) => {
    const packet = load(marked(client), 3);
    expect([packet.kind, packet.carrier, packet.mark]).toEqual([Kind.udp, Carrier.dstopt, Mark.found]);
    expect([packet.optionsHeader, packet.optionsNumberOffset]).toEqual([43, 9]);
    expect([packet.option, packet.optionLength]).toEqual([45, length]);
    expect([packet.transport, packet.udp]).toEqual([43 + header, 43 + header]);
    expect([packet.protocol, packet.protocolOffset]).toEqual([17, 43]);
    expect([packet.sourcePort, packet.destinationPort, packet.payloadLength]).toEqual([40000, 53, 5]);
  });

  it.each([
    ['behind another option', OTHER_OPTION, []],
    ['before another option', [], OTHER_OPTION],
    ['among others', [...OTHER_OPTION, ...OTHER_OPTION], OTHER_OPTION],
    ['behind Pad1 and PadN', [0, ...padding(2), 0, ...padding(5)], []],
    ['behind padding of 6 bytes', padding(6), []],
    ['before broken ones', [], [30, 200]],
  ])('parse finds a mark %s', (_, before, after) => {
    for (const client of [V4, V6]) {
      const options = [...before, ...destinationOption(client), ...after];
      const packet = load(behind(destinationOptions(options)));
      expect([packet.kind, packet.mark]).toEqual([Kind.udp, Mark.found]);
      expect([packet.option, packet.optionLength]).toEqual([42 + before.length, client === V4 ? 8 : 20]);
    }
  });

  it('parse finds a mark behind other extension headers', () => {
    const packet = load(marked(V6, hopByHop(), routing(), fragmentHeader(0, false)));
    expect([packet.mark, packet.optionsHeader, packet.option]).toEqual([Mark.found, 64, 66]);
  });

  it('a mark in a header that is not right before UDP does not count', () => {
    const mark = destinationOptions(destinationOption(V6));
    for (const between of [destinationOptions(), routing(), hopByHop(), fragmentHeader(0, false)])
      expect(load(behind(mark, between)).mark, `header ${between[0]}`).toBe(Mark.none);
    const second = destinationOptions(destinationOption(V4));
    const packet = load(behind(mark, second));
    expect([packet.mark, packet.option, packet.optionLength]).toEqual([Mark.found, 66, 8]);
    expect([packet.optionsHeader, packet.optionsNumberOffset]).toEqual([64, 40]);
  });

  it('a mark among hop-by-hop options does not count', () => {
    expect(load(behind(hopByHop(destinationOption(V6)))).mark).toBe(Mark.none);
  });

  it('the first of two marks counts', () => {
    const options = [...destinationOption(V4), ...destinationOption(V6)];
    const packet = load(behind(destinationOptions(options)));
    expect([packet.option, packet.optionLength]).toEqual([42, 8]);
  });

  it('a datagram with a broken mark in dstopt stays UDP', () => {
    for (let length = 0; length <= 255; length++) {
      const header: Extension = [60, [4, 31, length, ...new Array<number>(36).fill(0)]];
      const packet = load(behind(header));
      expect([packet.kind, packet.carrier, packet.payloadLength]).toEqual([Kind.udp, Carrier.dstopt, 5]);
      const isRight = length === 6 || length === 18;
      expect(packet.mark, `length ${length}`).toBe(isRight ? Mark.found : Mark.broken);
    }
  });

  it('a mark with IPv4’s length byte is broken in dstopt', () => {
    expect(load(behind(destinationOptions([31, 8, ...new Array<number>(8).fill(9)]))).mark).toBe(Mark.broken);
  });
});

describe('a mark in opp', () => {
  it.each([
    ['IPv4', V4, 8],
    ['IPv6', V6, 20],
  ])('parse finds the mark of an %s client in opp', (_, client, length) => {
    const packet = load(datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client }), 3);
    expect([packet.kind, packet.carrier, packet.mark]).toEqual([Kind.udp, Carrier.opp, Mark.found]);
    expect([packet.transport, packet.option, packet.optionLength]).toEqual([43, 47, length]);
    expect(packet.udp).toBe(47 + length);
    expect([packet.protocol, packet.sourcePort, packet.destinationPort]).toEqual([248, 40000, 53]);
  });

  it('an opp header that does not lead to UDP makes the packet malformed', () => {
    const whole = datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V6 });
    for (const patch of [
      [40, 0x00],
      [40, 0x30],
      [41, 6],
      [42, 0, 3],
      [42, 0, 38],
      [42, 0xff, 0xff],
    ] as [number, ...number[]][]) {
      const packet = load(patched(whole, patch));
      expect([packet.kind, packet.mark], patch.join()).toEqual([Kind.malformed, Mark.broken]);
    }
  });

  it('an opp header without a whole mark has a broken one', () => {
    const body = udp(endpoint(FROM), endpoint(TO), PAYLOAD);
    for (const options of [[], [1, 1, 0, 0], [31, 18, ...new Array<number>(18).fill(1)]]) {
      const packet = load(other(248, [...opp(options, 2), ...body]));
      expect([packet.kind, packet.carrier, packet.mark]).toEqual([Kind.udp, Carrier.opp, Mark.broken]);
      expect(packet.udp).toBe(44 + options.length);
    }
  });
});

describe('contradicting lengths', () => {
  it.each([
    ['no mark', plain],
    ['dstopt', marked(V4)],
    ['dstopt with an IPv6 client', marked(V6)],
    ['opp', datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V4 })],
    [
      'opp with an IPv6 client',
      datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V6 }),
    ],
  ])('a truncated packet is malformed, whatever its payload length says: %s', (_, whole) => {
    for (let length = 0; length < whole.length; length++) {
      expect(load(whole.slice(0, length)).kind, `${length} bytes`).toBe(Kind.malformed);
      if (length < 40) continue;
      const agreeing = patched(whole.slice(0, length), [4, ...be16(length - 40)]);
      expect(load(agreeing).kind, `${length} bytes and says so`).toBe(Kind.malformed);
    }
    expect(load(whole).kind).toBe(Kind.udp);
  });

  it('a payload length that contradicts the bytes makes the packet malformed', () => {
    for (let length = 0; length <= 33; length++) {
      const kind = load(patched(plain, [4, ...be16(length)])).kind;
      expect(kind, `payload length ${length}`).toBe(length === 13 ? Kind.udp : Kind.malformed);
    }
  });
});

describe('fragments', () => {
  const whole = datagram({ from: FROM, to: TO, payload: payloadOf(60) });

  it('an only fragment is a whole packet', () => {
    const packet = load(behind(fragmentHeader(0, false)), 3);
    expect([packet.kind, packet.fragmented]).toEqual([Kind.udp, false]);
    expect([packet.fragmentHeader, packet.udp, packet.protocolOffset]).toEqual([43, 51, 43]);
  });

  it('the mark of an only fragment is found', () => {
    const packet = load(marked(V6, fragmentHeader(0, false)));
    expect([packet.mark, packet.optionsHeader, packet.optionsNumberOffset]).toEqual([Mark.found, 48, 40]);
  });

  it('a first fragment is UDP, though its datagram is longer than it', () => {
    const packet = load(fragment(whole, 16)[0]);
    expect([packet.kind, packet.fragmented, packet.payloadLength]).toEqual([Kind.udp, true, 60]);
    expect([packet.fragmentHeader, packet.udp]).toEqual([40, 48]);
  });

  it('a later fragment has addresses, protocol and id, but no mark', () => {
    for (const id of [0x1c46, 0xfffffffe, 1]) {
      const pieces = fragment(whole, 16, id);
      expect(load(pieces[0]).fragmentId).toBe(id | 0);
      for (const piece of pieces.slice(1)) {
        const packet = load(piece, 3);
        expect([packet.kind, packet.fragmented, packet.mark]).toEqual([Kind.fragment, true, Mark.none]);
        expect([packet.protocol, packet.protocolOffset]).toEqual([17, 43]);
        expect([packet.fragmentHeader, packet.transport]).toEqual([43, 51]);
        expect([...packet.addresses]).toEqual(ADDRESSES);
        expect(packet.fragmentId).toBe(id | 0);
      }
    }
  });

  it('fragmentLength is what stands behind the fragment header', () => {
    const lengths = fragment(whole, 32).map(piece => load(piece, 3).fragmentLength);
    expect(lengths).toEqual([32, 32, 4]);
    const behindOthers = load(other(17, payloadOf(24), hopByHop(), routing(), fragmentHeader(7, false)));
    expect(behindOthers.fragmentLength).toBe(24);
    expect(load(marked(V6, fragmentHeader(0, false))).fragmentLength).toBe(24 + 13);
  });

  it('later fragments of a marked datagram are fragments of its carrier’s protocol', () => {
    const [, dstopt] = fragment(marked(), 24);
    expect([load(dstopt).kind, load(dstopt).protocol]).toEqual([Kind.fragment, 60]);
    const [, inOpp] = fragment(datagram({ from: FROM, to: TO, carrier: 'opp', client: V6 }), 24);
    expect([load(inOpp).kind, load(inOpp).protocol]).toEqual([Kind.fragment, 248]);
  });

  it('a later fragment behind other headers is a fragment, whatever it holds', () => {
    const packet = load(other(17, [1], hopByHop(), routing(), fragmentHeader(7, false)));
    expect([packet.kind, packet.transport]).toEqual([Kind.fragment, 64]);
    for (const length of [0, 1, 7])
      expect(load(other(60, new Array(length).fill(255), fragmentHeader(1, true))).kind).toBe(Kind.fragment);
  });

  it('a later fragment of another protocol is Kind.other', () => {
    for (let next = 0; next < 256; next++) {
      const isUdp = [17, 60, 248].includes(next);
      const { kind } = load(other(next, [3, 0, 0, 0], fragmentHeader(1, false)));
      expect(kind, `next header ${next}`).toBe(isUdp ? Kind.fragment : Kind.other);
    }
  });

  it('the mark of a first fragment is found in either carrier', () => {
    for (const carrier of ['dstopt', 'opp'] as const) {
      const long = datagram({ from: FROM, to: TO, payload: payloadOf(60), carrier, client: V6 });
      const packet = load(fragment(long, 40)[0]);
      expect([packet.kind, packet.mark, packet.fragmented]).toEqual([Kind.udp, Mark.found, true]);
    }
  });

  it('a first fragment without all headers up to UDP’s end is malformed', () => {
    const chain = behind(destinationOptions(destinationOption(V6)), destinationOptions(OTHER_OPTION));
    for (let size = 8; size <= 48; size += 8) {
      const { kind } = load(fragment(chain, size)[0]);
      expect(kind, `${size} bytes`).toBe(size < 40 ? Kind.malformed : Kind.udp);
    }
  });

  it('the reserved bits of a fragment header do not make a packet a fragment', () => {
    for (const field of [2, 4, 6]) {
      const packet = load(behind([44, [0, 0, field, 0, 0, 0, 7]]));
      expect([packet.kind, packet.fragmented]).toEqual([Kind.udp, false]);
    }
  });
});

describe('IPv4 addresses in IPv6 headers', () => {
  it('a packet with a mapped IPv4 address is Kind.other and has no addresses', () => {
    for (const at of [8, 24]) {
      const packet = load(patched(plain, [at, ...hex('00000000000000000000ffff 0a0a0101')]));
      expect(packet.kind).toBe(Kind.other);
      expect([...packet.addresses]).toEqual(new Array(8).fill(0));
    }
    // Near misses.
    for (const address of ['::fffe:a0a:101', '::1:ffff:a0a:101', '1::ffff:a0a:101', '::a0a:101'])
      expect(load(datagram({ from: `[${address}]:1`, to: TO })).kind, address).toBe(Kind.udp);
  });
});

describe('ICMPv6 errors', () => {
  const datagrams = {
    'without a mark': datagram({ from: TO, to: V6, payload: PAYLOAD }),
    'behind headers': behind(hopByHop(), routing()),
    'with a mark in dstopt': marked(V6),
    'with a mark behind headers': marked(V4, hopByHop()),
    'with a mark in opp': datagram({ from: FROM, to: TO, payload: PAYLOAD, carrier: 'opp', client: V6 }),
  };
  const error = (quote: Octets, type = 1, code = 4) =>
    icmp({ source: '2001:db8::250', destination: 'fd00:1::1', type, code, quote });

  it.each(Object.entries(datagrams))(
    '`quoted` has the ports, addresses and mark of the quoted datagram: %s',
    (_, quote) => {
      const whole = load(quote);
      const packet = load(error(quote), 3);
      expect(packet.kind).toBe(Kind.error);
      expect([...packet.addresses]).toEqual([...int32('2001:db8::250', 'fd00:1::1')]);
      expect([...packet.quoted.addresses]).toEqual([...whole.addresses]);
      const { quoted } = packet;
      expect([quoted.sourcePort, quoted.destinationPort]).toEqual([whole.sourcePort, whole.destinationPort]);
      expect([quoted.mark, quoted.carrier]).toEqual([whole.mark, whole.carrier]);
      const start = 3 + 48;
      expect([packet.transport, quoted.start]).toEqual([43, start]);
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
    const packet = load(error(plain.slice(0, 48)));
    expect(packet.quoted.declaredLength).toBe(53);
  });

  it('an error behind extension headers is an error', () => {
    const { view } = load(error(plain));
    const message = new Uint8Array(view.buffer).slice(40);
    expect(load(other(58, message, destinationOptions(), fragmentHeader(0, false))).kind).toBe(Kind.error);
  });

  it('ICMPv6 types 1 to 4 alone are errors', () => {
    for (let type = 0; type < 256; type++)
      expect(load(error(plain, type)).kind).toBe(type >= 1 && type <= 4 ? Kind.error : Kind.other);
  });

  it('an error about a first fragment is an error, one about a later fragment is not', () => {
    const [first, later] = fragment(datagram({ from: FROM, to: TO, payload: payloadOf(60) }), 32);
    expect(load(error(first)).kind).toBe(Kind.error);
    expect(load(error(later)).kind).toBe(Kind.other);
  });

  it('a fragmented ICMPv6 error is Kind.other', () => {
    for (const piece of fragment(error(plain), 56)) expect(load(piece).kind).toBe(Kind.other);
  });

  it('an error that quotes no UDP datagram of IPv6 is Kind.other', () => {
    const four = datagram({ from: '10.10.1.1:1', to: '10.10.1.2:2', payload: PAYLOAD });
    for (const quote of [
      four,
      patched(plain, [6, 6]),
      patched(plain, [6, 58]),
      patched(plain, [6, 50]),
      patched(plain, [0, 0x70]),
      patched(plain, [5, 7]),
      patched(plain, [6, 248]),
    ])
      expect(load(error(quote)).kind).toBe(Kind.other);
    const six = icmp({ source: '192.0.2.1', destination: '10.10.1.1', type: 3, code: 1, quote: plain });
    expect(load(six).kind).toBe(Kind.other);
  });

  it('ICMP in IPv6 and ICMPv6 in IPv4 are Kind.other', () => {
    expect(load(patched(error(plain), [6, 1])).kind).toBe(Kind.other);
    const four = datagram({ from: '10.10.1.1:1', to: '10.10.1.2:2', payload: PAYLOAD });
    const packet = icmp({ source: '192.0.2.1', destination: '10.10.1.1', type: 3, code: 1, quote: four });
    expect(load(patched(packet, [9, 58])).kind).toBe(Kind.other);
  });
});
