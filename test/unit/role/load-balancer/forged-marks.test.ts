/** Marks that a client put there itself: none of them reaches the real server. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  LB,
  makeRig,
  packetsIn,
  type RigSettings,
  SERVER,
  TTL,
} from '../../support/load-balancer-packets.js';
import {
  decode,
  destinationOption,
  destinationOptions,
  type Extension,
  fragment,
  hex,
  hopByHop,
  type Octets,
  option,
  payloadOf,
  reassemble,
  routing,
  toHex,
} from '../../support/wire.js';

let rig: Rig;

/** A new load balancer, with one client's connection in conntrack. */
function make(settings: RigSettings = {}): void {
  rig = makeRig(settings);
}

beforeEach(() => {
  make();
});

describe('marks that a client put there itself', () => {
  const { outgoing, arriving, asHex, standalone, ack } = packetsIn(4);
  const forged = option('192.0.2.99:99');
  const nops = (length: number) => new Array<number>(length).fill(1);
  const alert = hex('94040000');

  const cases: [string, number[], number[], number][] = [
    ['one, at the front', forged, nops(8), 1],
    ['one of an IPv6 client', option('[2001:db8::99]:99'), nops(20), 1],
    ['one behind another option', [...alert, ...forged], [...alert, ...nops(8)], 1],
    ['one in front of another option', [...forged, ...alert], [...nops(8), ...alert], 1],
    ['one behind NOPs, at an odd place', [1, ...forged, 1, 1, 0], [1, ...nops(8), 1, 1, 0], 1],
    ['two', [...forged, ...forged], nops(16), 2],
    [
      'four, with others between',
      [...forged, ...alert, ...forged, 1, 31, 3, 9],
      [...nops(8), ...alert, ...nops(12)],
      3,
    ],
    ['of 2 bytes, as many as there is room for', [31, 2, 31, 2], nops(4), 2],
    ['of 3 bytes', [31, 3, 0xee, 0], [1, 1, 1, 0], 1],
    ['of 9 bytes', [31, 9, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0], [...nops(9), 0, 0, 0], 1],
    ['of 31 bytes', [31, 31, ...payloadOf(29), 0], [...nops(31), 0], 1],
    ['one inside of which there is another', [31, 12, ...forged, 31, 8], nops(12), 1],
    ['one whose end says the list has ended', [...forged, 0, 31, 8, 7], [...nops(8), 0, 31, 8, 7], 1],
  ];

  it.each(cases)('a client’s own mark is overwritten, and ours goes in: %s', (_, options, erased, count) => {
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options: erased, carrier: 'ipo', client: CLIENT }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: count, marks_inserted: 1 });
  });

  it.each(cases)(
    'a client’s own mark is overwritten in packets that get none: %s',
    (_, options, erased, count) => {
      make({ options: { marksPerFlow: 0 } });
      const { emitted } = rig.send(arriving({ options }));
      expect(emitted).toEqual([asHex({ options: erased })]);
      expect(rig.counts()).toEqual({ packets_seen: 1, marks_forged: count, packets_unmarked: 1, flows: 1 });
    },
  );

  it.each(cases)('a client’s own mark is overwritten beside opp: %s', (_, options, erased, count) => {
    make({ options: { carrier: 'opp' } });
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options: erased, carrier: 'opp', client: CLIENT }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: count });
  });

  it('a standalone goes ahead of a header that the client has filled with marks of its own', () => {
    const options = [1, 2, 3, 4, 5].flatMap(() => forged);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      asHex({ options: nops(40) }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: 5, marks_standalone: 1 });
  });

  it('a client’s own mark is overwritten in an empty datagram and in a fragmented one', () => {
    expect(rig.send(arriving({ payload: [], options: forged })).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      asHex({ payload: [], options: nops(8) }),
    ]);
    const whole = { payload: payloadOf(100), id: 7 };
    expect(rig.send(...fragment(arriving({ ...whole, options: forged }), 40)).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      ...fragment(outgoing({ ...whole, options: nops(8) }), 40).map(toHex),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: 2, marks_standalone: 2 });
  });

  it.each(['ipo', 'opp'] as const)('a client’s own opp comes off before %s goes in', carrier => {
    make({ options: { carrier } });
    const packet = arriving({ carrier: 'opp', mark: forged, options: forged });
    const options = nops(8);
    expect(rig.send(packet).emitted).toEqual([asHex({ options, carrier, client: CLIENT })]);
    expect(rig.counts()).toMatchObject({ marks_forged: 2, marks_inserted: 1 });
    make({ options: { marksPerFlow: 0 } });
    expect(rig.send(packet).emitted).toEqual([asHex({ options })]);
  });

  it('a client’s own mark is overwritten in a packet without a connection', () => {
    rig.connections.forget(LB, SERVER);
    expect(rig.send(arriving({ options: forged })).emitted).toEqual([asHex({ options: nops(8) })]);
    expect(rig.counts()).toEqual({ packets_seen: 1, marks_forged: 1, packets_unmarked: 1 });
  });

  it('a client’s own mark is overwritten in an acknowledged flow', () => {
    rig.send(arriving(), ack({ carrier: 'ipo' }));
    expect(rig.send(arriving({ options: forged })).emitted).toEqual([asHex({ options: nops(8) })]);
  });

  it.each<[string, number[]]>([
    ['behind the end of the list', [0, ...forged, 0, 0, 0]],
    ['of length 0', [31, 0, ...forged.slice(2)]],
    ['of length 1', [31, 1, ...forged.slice(2)]],
    ['past the end of the header', [31, 9, ...forged.slice(2)]],
    ['behind an option that is past the end', [7, 99, ...forged, 1, 1]],
    ['cut off in its first byte', [1, 1, 1, 31]],
    ['inside another option', [7, 12, ...forged, 1, 1]],
  ])('option bytes that nothing reads as a mark are left alone: %s', (_, options) => {
    make({ options: { marksPerFlow: 1 } });
    expect(rig.send(arriving({ options }), arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'ipo', client: CLIENT }),
      asHex({ options }),
    ]);
    expect(rig.counts()).not.toHaveProperty('marks_forged');
  });
});

describe('destination options that a client put there itself', () => {
  const { outgoing, arriving, asHex, standalone } = packetsIn(6);
  const forged = destinationOption('[2001:db8:bad::99]:99');
  const other = [0x1e, 4, 1, 2, 3, 4];
  const filler = (options: Octets) => ({ extensions: [destinationOptions(options)] });

  beforeEach(() => {
    make({ family: 6 });
  });

  const cases: [string, Extension[], Extension[], number][] = [
    ['one', [destinationOptions(forged)], [], 1],
    ['one of an IPv4 client', [destinationOptions(destinationOption('192.0.2.99:99'))], [], 1],
    [
      'one behind another option',
      [destinationOptions([...other, ...forged])],
      [destinationOptions(other)],
      1,
    ],
    [
      'one in front of another option',
      [destinationOptions([...forged, ...other])],
      [destinationOptions(other)],
      1,
    ],
    ['two in one header', [destinationOptions([...forged, ...forged])], [], 2],
    [
      'two, another option between',
      [destinationOptions([...forged, ...other, ...forged])],
      [destinationOptions(other)],
      2,
    ],
    ['two in two headers', [destinationOptions(forged), destinationOptions(forged)], [], 2],
    [
      'one behind other headers',
      [hopByHop(), routing(), destinationOptions(forged)],
      [hopByHop(), routing()],
      1,
    ],
  ];

  describe.each(cases)('marks that a client put there itself: %s', (_, extensions, left, count) => {
    it('a client’s own destination option comes off, and ours goes in', () => {
      const [sent] = rig.send(arriving({ extensions })).emitted;
      expectSame(sent, outgoing({ extensions: left, carrier: 'ipo', client: CLIENT }));
      expect(sent).not.toContain(toHex(forged));
      expect(rig.counts()).toMatchObject({ marks_forged: count, marks_inserted: 1 });
    });

    it('a client’s own destination option comes off packets that get no mark', () => {
      make({ family: 6, options: { marksPerFlow: 0 } });
      const [sent] = rig.send(arriving({ extensions })).emitted;
      expectSame(sent, outgoing({ extensions: left }));
      expect(rig.counts()).toMatchObject({ marks_forged: count, packets_unmarked: 1 });
    });
  });

  it.each(['ipo', 'opp'] as const)(
    'a client’s own opp comes off an IPv6 packet before %s goes in',
    carrier => {
      make({ family: 6, options: { carrier } });
      const packet = arriving({ carrier: 'opp', named: '[2001:db8:bad::99]:99' });
      expect(rig.send(packet).emitted).toEqual([asHex({ carrier, client: CLIENT })]);
      expect(rig.counts()).toMatchObject({ marks_forged: 1, marks_inserted: 1 });
    },
  );

  it.each<[string, number[]]>([
    ['past the end of the header', [31, 60, ...forged.slice(2)]],
    ['inside another option', [0x1e, 22, ...forged, 0, 0]],
  ])('destination option bytes that nothing reads as a mark are left alone: %s', (_, options) => {
    const [sent] = rig.send(arriving(filler(options))).emitted;
    expect(sent).toContain(toHex(options));
    expect(rig.counts().marks_forged).toBeUndefined();
  });

  it('a client’s own mark comes off an empty datagram, and a standalone goes ahead', () => {
    expect(rig.send(arriving({ payload: [], ...filler(forged) })).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      asHex({ payload: [] }),
    ]);
  });

  it.each<[string, (mark: number[]) => Extension[]]>([
    ['of a length that no mark has', ([type]) => [destinationOptions([type, 3, 1, 2, 3])]],
    ['in a header that is not right before UDP', mark => [destinationOptions(mark), routing()]],
  ])('a client’s own mark %s is made another option', (_, extensionsWith) => {
    const [, ...rest] = forged;
    expect(rig.send(arriving({ extensions: extensionsWith(forged) })).emitted).toEqual([
      asHex({ extensions: extensionsWith([0x1e, ...rest]), carrier: 'ipo', client: CLIENT }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: 1, marks_inserted: 1 });
  });

  it('a client’s own mark in a fragment is made another option, and the fragments still fit together', () => {
    const payload = payloadOf(200);
    const pieces = fragment(arriving({ payload, ...filler(forged) }), 64);
    const { emitted } = rig.send(...pieces);
    expect(emitted[0]).toBe(standalone({ carrier: 'ipo' }));
    const whole = toHex(reassemble(emitted.slice(1).map(hex)));
    expect(whole).not.toContain(toHex(forged));
    expect(decode(hex(whole))).toMatchObject({ payload: toHex(payload), ttl: TTL });
    expect(whole).toBe(asHex({ payload, ...filler([0x1e, ...forged.slice(1)]) }));
    expect(rig.counts()).toMatchObject({ marks_forged: 1, marks_standalone: 1 });
  });
});

/** The same but for the padding that takes the place of options: not much. */
function expectSame(sent: string, wanted: Octets): void {
  const [a, b] = [hex(sent), wanted].map(decode);
  const { options: theirs, ...rest } = a;
  const { options: ours, ...expected } = b;
  expect(rest).toEqual(expected);
  expect((theirs.length - ours.length) / 2).toBeOneOf([0, 8]);
}
