import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import { Carrier } from '../../../src/codec/carriers.js';
import { insertMark, strip } from '../../../src/codec/marks.js';
import { Checksum, type Packet } from '../../../src/codec/packet.js';
import { setDestination, setSource } from '../../../src/codec/rewrite.js';
import { toIpv4, toIpv6 } from '../../../src/codec/translate.js';
import { completeChecksum, datagramCount, datagramLength, writeDatagram } from '../../../src/io/cut.js';
import { Finisher } from '../../../src/io/finisher.js';
import { Merger } from '../../../src/io/merge.js';
import * as arbitrary from '../../unit/support/arbitraries.js';
import { type Family, inFamily } from '../../unit/support/families.js';
import {
  datagramsOf,
  Place,
  partial,
  single,
  superPacket,
  type Unfinished,
} from '../../unit/support/super-packets.js';
import {
  type DatagramFields,
  datagram,
  fragment,
  hopByHop,
  int32,
  payloadOf,
  split,
  toHex,
} from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 120_000 });

// ---- packets to be merged ------------------------------------------------------------------------------------

/** Mostly the first of them. */
const likely = <T>(usual: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant(usual) },
    { weight: 1, arbitrary: fc.constantFrom(...others) },
  );

/** What tells packets of one flow from each other, and from other flows'. */
interface Like {
  family: Family;
  from: string;
  to: string;
  tos: number;
  ttl: number;
  dontFragment: boolean;
  flow: number;
  hasOptions: boolean;
}

const like: fc.Arbitrary<Like> = fc.record({
  family: fc.constantFrom<Family>(4, 6),
  from: likely('203.0.113.7:5555', '203.0.113.7:5556', '203.0.113.8:5555'),
  to: likely('10.10.1.2:53', '10.10.1.2:54', '10.10.1.3:53'),
  tos: likely(0, 1, 0xb8),
  ttl: likely(64, 63),
  dontFragment: likely(true, false),
  flow: likely(0, 1),
  hasOptions: likely(false, true),
});

function fieldsOf(
  { family, from, to, hasOptions, ...rest }: Like,
  id: number,
  payload: number[],
): DatagramFields {
  return {
    ...rest,
    ...{ id, payload, from: inFamily(family, from), to: inFamily(family, to) },
    ...(hasOptions ? { options: [1, 1, 1, 1], extensions: [hopByHop([5, 2, 0, 0])] } : {}),
  };
}

/** Something that comes in: what it is, and whether it may be merged at all. */
interface Incoming extends Unfinished {
  like: Like;
  isPlain: boolean;
}

const size = fc.oneof(likely(100, 99, 101, 0, 1, 50), fc.nat(1400));
/** A packet for a batch, most of whose packets are like `usual`. */
const comesIn: fc.Arbitrary<(usual: Like) => Incoming> = fc
  .record({
    own: like,
    isUsual: likely(true, false),
    size,
    id: arbitrary.port,
    kind: likely('single', 'super', 'broken', 'fragment'),
    state: likely<Checksum>(Checksum.good, Checksum.partial, Checksum.full),
    seed: fc.integer({ min: 1, max: 2 ** 30 }),
  })
  .map(({ own, isUsual, size, id, kind, state, seed }) => (usual: Like): Incoming => {
    const like = isUsual ? usual : own;
    const fields = fieldsOf(like, id, payloadOf(size, seed));
    if (kind === 'super')
      return {
        like,
        isPlain: false,
        ...superPacket({ ...fields, payload: payloadOf(size * 3 + 1, seed) }, size + 1),
      };
    if (kind === 'broken') return { like, isPlain: false, ...single({ ...fields, udpChecksum: 0x1234 }) };
    if (kind === 'fragment' && like.family === 4)
      return {
        like,
        isPlain: false,
        ...{ bytes: fragment(datagram(fields), 16)[0], checksum: Checksum.full, segment: 0 },
      };
    return { like, isPlain: state !== Checksum.full, ...single(fields, state) };
  });

const batch: fc.Arbitrary<Incoming[]> = fc
  .tuple(like, fc.array(comesIn, { minLength: 1, maxLength: BATCH }))
  .map(([usual, packets]) => packets.map(make => make(usual)));

/** A datagram as it matters: IPv4's identification only has to tell fragments apart, and there are none. */
function essence(bytes: Uint8Array): string {
  if (bytes[0] >> 4 === 6) return toHex(bytes);
  return toHex(bytes.map((byte, i) => ([4, 5, 10, 11].includes(i) ? 0 : byte)));
}

const place = new Place();

describe('merging', () => {
  const merge = (packets: readonly Unfinished[]): Unfinished[] => {
    const list = place.list(packets);
    new Merger(place.arena).merge(list);
    return place.read(list);
  };

  it('gives super-packets that the kernel cuts into the same datagrams in the same order', () => {
    let merged = 0;
    fc.assert(
      fc.property(batch, packets => {
        const result = merge(packets);
        expect(result.flatMap(datagramsOf).map(essence)).toEqual(packets.flatMap(datagramsOf).map(essence));
        merged += packets.length - result.length;
      }),
      { numRuns: 400 },
    );
    // Enough was merged to be looked at.
    expect(merged).toBeGreaterThan(500);
  });

  it('merges only what is alike in all that a super-packet has once', () => {
    fc.assert(
      fc.property(batch, packets => {
        let next = 0;
        for (const packet of merge(packets)) {
          const first = packets[next];
          const count = first.segment > 0 ? 1 : datagramsOf(packet).length;
          const parts = packets.slice(next, next + count);
          next += count;
          if (count === 1) {
            expect(toHex(packet.bytes)).toBe(toHex(first.bytes));
            expect([packet.checksum, packet.segment]).toEqual([first.checksum, first.segment]);
            continue;
          }
          const sizes = parts.map(({ bytes }) => split(bytes).body.length - 8);
          expect(packet).toMatchObject({ checksum: Checksum.partial, segment: sizes[0] });
          expect(packet.bytes.length).toBeLessThanOrEqual(65535);
          for (const [i, part] of parts.entries()) {
            expect(part.isPlain).toBe(true);
            expect(part.like.hasOptions).toBe(false);
            const { flow, ...rest } = part.like;
            const { flow: firstFlow, ...firstRest } = first.like;
            if (part.like.family === 4) expect(rest).toEqual(firstRest);
            else
              expect({ ...rest, flow, dontFragment: true }).toEqual({
                ...firstRest,
                flow: firstFlow,
                dontFragment: true,
              });
            if (i < count - 1) expect(sizes[i]).toBe(sizes[0]);
            else expect(sizes[i]).toBeLessThanOrEqual(sizes[0]);
          }
        }
        expect(next).toBe(packets.length);
      }),
      { numRuns: 400 },
    );
  });

  it('leaves no two neighbours that are alike', () => {
    fc.assert(
      fc.property(like, fc.array(fc.boolean(), { minLength: 2, maxLength: BATCH }), (alike, states) => {
        fc.pre(!alike.hasOptions);
        const packets = states.map((isPartial, i) =>
          single(fieldsOf(alike, i, payloadOf(90, i + 1)), isPartial ? Checksum.partial : Checksum.good),
        );
        expect(merge(packets)).toHaveLength(1);
      }),
      { numRuns: 100 },
    );
  });
});

// ---- cutting -------------------------------------------------------------------------------------------------

/** Super-packets of either family, with options and extension headers. */
const supers: fc.Arbitrary<Unfinished> = fc
  .record({
    fields: fc.oneof(arbitrary.datagram4(40), arbitrary.datagram6),
    segment: fc.integer({ min: 1, max: 700 }),
    length: fc.integer({ min: 1, max: 3000 }),
  })
  .map(({ fields, segment, length }) =>
    superPacket({ ...fields, payload: payloadOf(Math.min(length, segment * 64), segment) }, segment),
  );

const put = (packet: Unfinished): Packet => place.put(packet);

describe('finishing in place of the kernel', () => {
  it('cuts a super-packet into the datagrams that the kernel makes of it', () => {
    fc.assert(
      fc.property(supers, fc.nat(3), (whole, shift) => {
        const packet = put(whole);
        const pieces: string[] = [];
        let to = place.arena.scratch + shift;
        for (let i = 0; i < datagramCount(packet); i++) {
          const length = writeDatagram(packet, i, to);
          expect(length).toBe(datagramLength(packet, i));
          pieces.push(toHex(place.arena.bytes.slice(to, to + length)));
          to += length;
        }
        expect(pieces).toEqual(datagramsOf(whole).map(toHex));
        expect(toHex(place.arena.bytes.slice(packet.start, packet.end))).toBe(toHex(whole.bytes));
      }),
      { numRuns: 300 },
    );
  });

  it('completes a checksum to the same as one that was made at once', () => {
    fc.assert(
      fc.property(fc.oneof(arbitrary.datagram4(40), arbitrary.datagram6), fields => {
        const { udpChecksum: _, ...rest } = fields;
        const whole = datagram(rest);
        const packet = put({ bytes: partial(whole), checksum: Checksum.partial, segment: 0 });
        completeChecksum(place.arena.view, packet.v6, packet.start, packet.udp, packet.end);
        expect(toHex(place.arena.bytes.slice(packet.start, packet.end))).toBe(toHex(whole));
      }),
      { numRuns: 500 },
    );
  });

  it('sends any list as the datagrams that it stands for, in their order', () => {
    const sent: string[] = [];
    const finishers = [0, 12].map(
      room =>
        new Finisher(place.arena, room, list => {
          expect(list.count).toBeLessThanOrEqual(64);
          for (let i = 0; i < list.count; i++) {
            const bytes = place.arena.bytes.slice(list.offsets[i], list.offsets[i] + list.lengths[i]);
            expect(toHex(bytes.slice(0, room))).toBe('00'.repeat(room));
            sent.push(toHex(bytes.slice(room)));
          }
          return 0;
        }),
    );
    const any = fc.oneof(
      supers,
      batch.map(([first]) => first),
    );
    fc.assert(
      fc.property(fc.array(any, { maxLength: BATCH }), fc.constantFrom(...finishers), (packets, finisher) => {
        sent.length = 0;
        expect(finisher.finish(place.list(packets))).toBe(0);
        expect(sent).toEqual(packets.flatMap(datagramsOf).map(toHex));
      }),
      { numRuns: 150 },
    );
  });
});

// ---- rewriting what is unfinished ----------------------------------------------------------------------------

describe('a checksum that the kernel is to complete stays right', () => {
  /** What the kernel makes of the packet as it is now. */
  function finished(packet: Packet): string[] {
    const bytes = packet.bytes.slice(packet.start, packet.end);
    return datagramsOf({ bytes, checksum: packet.checksum, segment: packet.segment }).map(toHex);
  }

  const port = arbitrary.port;
  const end4 = fc.tuple(arbitrary.ipv4Address, arbitrary.ipv4Address);
  const end6 = fc.tuple(arbitrary.ipv6Address, arbitrary.ipv6Address);
  const named = (address: string, number: number) =>
    address.includes(':') ? `[${address}]:${number}` : `${address}:${number}`;

  it.each([4, 6] as const)('when addresses and ports are replaced, IPv%i', family => {
    const fieldsHere = family === 4 ? arbitrary.datagram4(40) : arbitrary.datagram6;
    fc.assert(
      fc.property(
        fieldsHere,
        family === 4 ? end4 : end6,
        port,
        port,
        fc.nat(1500),
        (fields, [source, destination], sourcePort, destinationPort, segment) => {
          const { udpChecksum: _, ...rest } = fields;
          const payload = rest.payload ?? [];
          const packet = put({
            ...superPacket(rest, segment < payload.length ? segment : 0),
          });
          setSource(packet, int32(source), 0, sourcePort);
          setDestination(packet, int32(destination), 0, destinationPort);
          const expected = {
            ...rest,
            from: named(source, sourcePort),
            to: named(destination, destinationPort),
          };
          expect(finished(packet)).toEqual(datagramsOf(superPacket(expected, packet.segment)).map(toHex));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('when a mark is inserted and stripped again', () => {
    fc.assert(
      fc.property(
        arbitrary.toBeMarked,
        arbitrary.ipv4Address,
        port,
        ({ fields, carrier }, address, number) => {
          const { udpChecksum: _, ...rest } = fields;
          const packet = put(superPacket(rest, 0));
          const client = { v6: false, words: int32(address), port: number };
          insertMark(packet, Carrier[carrier], client);
          const marked = { ...rest, carrier, client: `${address}:${number}` };
          // Where a mark goes among other options and padding is looked at elsewhere: here, the checksum.
          expect(finished(packet).map(text => text.slice(-2 * (8 + (rest.payload ?? []).length)))).toEqual(
            datagramsOf(superPacket(marked, 0)).map(bytes =>
              toHex(bytes).slice(-2 * (8 + (rest.payload ?? []).length)),
            ),
          );
          strip(packet);
          expect(finished(packet).map(text => text.slice(-2 * (8 + (rest.payload ?? []).length)))).toEqual(
            datagramsOf(superPacket(rest, 0)).map(bytes =>
              toHex(bytes).slice(-2 * (8 + (rest.payload ?? []).length)),
            ),
          );
        },
      ),
      { numRuns: 300 },
    );
  });

  it('when a super-packet is translated to the other family, as for each of its datagrams alone', () => {
    const translated = (whole: Unfinished, ends: string[]): string[] => {
      const packet = put(whole);
      if (packet.v6) toIpv4(packet, int32(...ends), 0);
      else expect(toIpv6(packet, int32(...ends), 0)).toBe(true);
      const { start, end, checksum, segment } = packet;
      const result = { bytes: packet.bytes.slice(start, end), checksum, segment };
      return datagramsOf(result).map(essence);
    };
    const fieldsHere = fc.record({
      fields: fc.oneof(arbitrary.datagram4(0), arbitrary.datagram6),
      end4,
      end6,
    });
    fc.assert(
      fc.property(fieldsHere, fc.integer({ min: 1, max: 1500 }), ({ fields, ...ends }, segment) => {
        const { udpChecksum: _, ...rest } = fields;
        const payload = payloadOf(segment * 2 + 1, segment);
        const whole = superPacket({ ...rest, payload }, segment);
        const to = rest.from.startsWith('[') ? ends.end4 : ends.end6;
        const together = translated(whole, to);
        const alone = datagramsOf(whole).flatMap(bytes =>
          translated({ bytes, checksum: Checksum.good, segment: 0 }, to),
        );
        // Whether it may be fragmented goes by its size, and the shorter last one goes by the others'.
        if (together[0].startsWith('4'))
          for (const list of [together, alone]) list.push(list.pop()?.replace(/^(.{12})../, '$1') ?? '');
        expect(together).toEqual(alone);
      }),
      { numRuns: 300 },
    );
  });
});
