import { describe, expect, it } from 'vitest';
import { Checksum } from '../../../src/codec/packet.js';
import { datagramCount, datagramLength, writeDatagram } from '../../../src/io/cut.js';
import { Finisher } from '../../../src/io/finisher.js';
import { datagramsOf, Place, single, superPacket, type Unfinished } from '../support/super-packets.js';
import { type DatagramFields, payloadOf, toHex } from '../support/wire.js';

const USUAL: DatagramFields = { from: '10.10.1.2:53', to: '203.0.113.7:5555', id: 0xfffe };
const USUAL6: DatagramFields = { from: '[fd00:1::2]:53', to: '[2001:db8::7]:5555' };

function make(room: number) {
  const place = new Place();
  const sent: string[][] = [];
  let refuses = 0;
  const finisher = new Finisher(place.arena, room, list => {
    const batch = Array.from({ length: list.count }, (_, i) => {
      expect(list.offsets[i] + list.lengths[i]).toBeLessThanOrEqual(place.arena.buffer.byteLength);
      return toHex(place.arena.bytes.slice(list.offsets[i], list.offsets[i] + list.lengths[i]));
    });
    sent.push(batch);
    return refuses;
  });
  return {
    place,
    sent,
    finish: (packets: readonly Unfinished[], refused = 0) => {
      refuses = refused;
      return finisher.finish(place.list(packets));
    },
  };
}

const lengths = (sent: string[][]) => sent.map(batch => batch.length);

describe('Finisher', () => {
  it('sends whole datagrams as one list, in their order', () => {
    const packets = [
      single({ ...USUAL, payload: [1] }),
      superPacket({ ...USUAL, payload: payloadOf(250, 2) }, 100),
      single({ ...USUAL6, payload: [3] }, Checksum.partial),
      superPacket({ ...USUAL6, payload: payloadOf(100, 4) }, 99),
      single({ ...USUAL, payload: [5] }, Checksum.good),
    ];
    const { sent, finish } = make(0);
    expect(finish(packets)).toBe(0);
    expect(sent).toEqual([packets.flatMap(datagramsOf).map(toHex)]);
    expect(lengths(sent)).toEqual([8]);
  });

  it('puts as many zeros in front of each datagram as are asked for', () => {
    const packets = [
      single({ ...USUAL, payload: [1] }, Checksum.partial),
      superPacket({ ...USUAL, payload: payloadOf(250, 2) }, 100),
    ];
    const { sent, finish, place } = make(12);
    place.arena.bytes.fill(0xa5);
    finish(packets);
    expect(sent).toEqual([packets.flatMap(datagramsOf).map(bytes => '00'.repeat(12) + toHex(bytes))]);
  });

  it('sends 64 datagrams at a time', () => {
    const { sent, finish } = make(0);
    finish([superPacket({ ...USUAL, payload: payloadOf(130, 1) }, 1)]);
    expect(lengths(sent)).toEqual([64, 64, 2]);
    finish([superPacket({ ...USUAL, payload: payloadOf(64, 1) }, 1)]);
    expect(lengths(sent)).toEqual([64, 64, 2, 64]);
  });

  it('sends in parts what has no room as a whole', () => {
    // Four of 60 kB: the room is for two.
    const packets = [1, 2, 3, 4].map(seed =>
      superPacket({ ...USUAL, payload: payloadOf(60_000, seed) }, 20_000),
    );
    const { sent, finish } = make(12);
    expect(finish(packets)).toBe(0);
    expect(sent.length).toBeGreaterThan(1);
    expect(sent.flat()).toEqual(packets.flatMap(datagramsOf).map(bytes => '00'.repeat(12) + toHex(bytes)));
  });

  it('adds up what is refused of each part', () => {
    const { finish } = make(0);
    expect(finish([superPacket({ ...USUAL, payload: payloadOf(130, 1) }, 1)], 5)).toBe(15);
    expect(finish([], 5)).toBe(0);
  });
});

describe('a super-packet that is cut', () => {
  it.each([
    ['several whole payloads and a shorter one', 250, 100, [100, 100, 50]],
    ['whole payloads alone', 200, 100, [100, 100]],
    ['one payload that is shorter than a whole one', 30, 100, [30]],
    ['payloads of one byte', 3, 1, [1, 1, 1]],
  ])('becomes datagrams with %s', (_, length, segment, expected) => {
    const place = new Place();
    for (const [usual, headers] of [
      [USUAL, 28],
      [USUAL6, 48],
    ] as const) {
      const packet = place.put(superPacket({ ...usual, payload: payloadOf(length, 1) }, segment));
      expect(datagramCount(packet)).toBe(expected.length);
      const lengths = expected.map((_, i) => datagramLength(packet, i));
      expect(expected.map((_, i) => writeDatagram(packet, i, place.arena.scratch))).toEqual(lengths);
      expect(lengths.map(all => all - headers)).toEqual(expected);
    }
  });

  it('gives datagrams whose IPv4 identifications count up, from 65535 to 0', () => {
    const place = new Place();
    const packet = place.put(superPacket({ ...USUAL, payload: payloadOf(300, 1) }, 100));
    const ids = [0, 1, 2].map(i => {
      writeDatagram(packet, i, place.arena.scratch);
      return place.arena.view.getUint16(place.arena.scratch + 4);
    });
    expect(ids).toEqual([0xfffe, 0xffff, 0]);
  });
});
