import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Piece, Reassembly } from '../../../src/flow/reassembly.js';
import { int32, payloadOf } from '../support/wire.js';

const LIFETIME = 2000;
const SLOTS = 8;
const MOST_PIECES = 128;

const FOUR = int32('203.0.113.7', '10.10.1.2');
const SIX = int32('2001:db8:1:2:3:4:5:6', 'fd00:1:2:3:4:5:6:7');

interface Part {
  header?: number[];
  body: number[];
  offset: number;
  isLast?: boolean;
  id?: number;
  addresses?: Int32Array;
}

/** What stands in front of a later fragment's payload; nothing of it may come out. */
const LATER = new Array<number>(20).fill(0x4f);
const FIRST = Array.from({ length: 24 }, (_, i) => 0x45 + i);

function add(whole: Reassembly, part: Part, now = 0): number {
  const header = part.header ?? (part.offset === 0 ? FIRST : LATER);
  const bytes = Uint8Array.from([9, 9, 9, ...header, ...part.body, 9, 9]);
  const payload = 3 + header.length;
  const piece: Piece = {
    ...{ start: 3, payload, end: payload + part.body.length },
    ...{ addresses: part.addresses ?? FOUR, id: part.id ?? 1 },
    ...{ offset: part.offset, isLast: part.isLast ?? false },
  };
  return whole.add(bytes, piece, now);
}

/** What is complete, without the header that it is under. */
function take(whole: Reassembly, header: readonly number[] = FIRST): number[] | null {
  const out = new Uint8Array(70_000).fill(0xa5);
  const length = whole.take(out, 2);
  expect([out[0], out[1], out[2 + length]]).toEqual([0xa5, 0xa5, 0xa5]);
  if (length === 0) return null;
  expect([...out.slice(2, 2 + header.length)]).toEqual(header);
  return [...out.slice(2 + header.length, 2 + length)];
}

/** A payload in pieces of `size` bytes. */
function cut(payload: readonly number[], size: number): Part[] {
  return Array.from({ length: Math.ceil(payload.length / size) }, (_, i) => ({
    body: payload.slice(i * size, (i + 1) * size),
    offset: i * size,
    isLast: (i + 1) * size >= payload.length,
  }));
}

const PAYLOAD = payloadOf(500);

describe('Reassembly of one datagram', () => {
  it.each([
    ['in order', (parts: Part[]) => parts],
    ['the other way round', (parts: Part[]) => parts.slice().reverse()],
    ['the last one first', (parts: Part[]) => [...parts.slice(-1), ...parts.slice(0, -1)]],
    ['each twice', (parts: Part[]) => parts.flatMap(part => [part, part]).slice(0, -1)],
  ])('a datagram comes out whole under its first fragment’s header: %s', (_, arrange) => {
    const whole = new Reassembly();
    const parts = arrange(cut(PAYLOAD, 96));
    for (const part of parts) {
      expect(take(whole)).toBeNull();
      expect(add(whole, part)).toBe(0);
    }
    expect(take(whole)).toEqual(PAYLOAD);
    expect(take(whole)).toBeNull();
    expect(whole.expire(10 * LIFETIME)).toBe(0);
  });

  it('a datagram in one piece is complete at once', () => {
    const whole = new Reassembly();
    expect(add(whole, { body: [1, 2, 3], offset: 0, isLast: true })).toBe(0);
    expect(take(whole)).toEqual([1, 2, 3]);
  });

  it('a fragment that comes twice keeps the contents that came first', () => {
    const whole = new Reassembly();
    const [first, last] = cut(PAYLOAD.slice(0, 20), 16);
    add(whole, first);
    expect(add(whole, { ...first, body: new Array<number>(16).fill(0xee) })).toBe(0);
    add(whole, last);
    expect(take(whole)).toEqual(PAYLOAD.slice(0, 20));
  });

  it('a fragment that differs in any word of its addresses or in its id completes no datagram', () => {
    const others: Pick<Part, 'addresses' | 'id'>[] = [{ addresses: SIX, id: 2 }];
    for (let i = 0; i < 8; i++) {
      const addresses = SIX.slice();
      addresses[i] ^= 1;
      others.push({ addresses, id: 1 });
    }
    for (const other of others) {
      const whole = new Reassembly();
      const [first, last] = cut(PAYLOAD.slice(0, 20), 16);
      add(whole, { ...first, addresses: SIX });
      add(whole, { ...last, ...other });
      expect(take(whole)).toBeNull();
      add(whole, { ...last, addresses: SIX });
      expect(take(whole)).toEqual(PAYLOAD.slice(0, 20));
    }
  });

  it('a whole datagram takes no more fragments: the next one begins with them', () => {
    const whole = new Reassembly();
    add(whole, { body: [1], offset: 0, isLast: true });
    add(whole, { body: [2], offset: 0, isLast: true });
    expect([take(whole), take(whole), take(whole)]).toEqual([[1], [2], null]);
  });
});

describe('Reassembly of several datagrams', () => {
  it('datagrams come out in the order in which they became whole', () => {
    const whole = new Reassembly();
    for (let id = 0; id < SLOTS; id++) add(whole, { body: payloadOf(8), offset: 0, id });
    for (const id of [5, 2, 7]) add(whole, { body: [id], offset: 8, id, isLast: true });
    expect(take(whole)?.at(-1)).toBe(5);
    add(whole, { body: [9], offset: 0, id: 9, isLast: true });
    add(whole, { body: [0], offset: 8, id: 0, isLast: true });
    expect([1, 2, 3, 4].map(() => take(whole)?.at(-1))).toEqual([2, 7, 9, 0]);
    expect(take(whole)).toBeNull();
  });
});

describe('fragments that contradict each other', () => {
  const inMiddle = { body: payloadOf(16), offset: 16 };

  it.each<[string, Part[]]>([
    ['one that reaches into the next', [{ body: payloadOf(24), offset: 0 }]],
    ['one that begins inside another', [{ body: payloadOf(16), offset: 24 }]],
    ['one inside another', [{ body: payloadOf(8), offset: 16 }]],
    ['one around another', [{ body: payloadOf(40), offset: 0 }]],
    ['an end before another’s', [{ body: payloadOf(8), offset: 8, isLast: true }]],
    ['no payload at all', [{ body: [], offset: 0 }]],
    [
      'one behind the end',
      [
        { body: [1], offset: 32, isLast: true },
        { body: payloadOf(8), offset: 40 },
      ],
    ],
    [
      'two ends',
      [
        { body: [1], offset: 40, isLast: true },
        { body: [1], offset: 32, isLast: true },
      ],
    ],
    ['a header that no IPv4 packet has', [{ header: new Array<number>(65).fill(0), body: [1], offset: 0 }]],
  ])('fragments that contradict each other spoil their datagram: %s', (_, parts) => {
    const whole = new Reassembly();
    expect(add(whole, inMiddle)).toBe(0);
    for (const part of parts.slice(0, -1)) expect(add(whole, part)).toBe(0);
    // Itself, and all that were there.
    expect(add(whole, parts[parts.length - 1])).toBe(parts.length + 1);
    expect(take(whole)).toBeNull();
    expect(whole.expire(LIFETIME)).toBe(0);
  });

  it('a spoiled datagram leaves others alone', () => {
    const whole = new Reassembly();
    add(whole, { ...inMiddle, id: 2 });
    add(whole, inMiddle);
    expect(add(whole, { body: payloadOf(24), offset: 0 })).toBe(2);
    add(whole, { body: payloadOf(16, 5), offset: 0, id: 2 });
    add(whole, { body: [7], offset: 32, id: 2, isLast: true });
    expect(take(whole)).toEqual([...payloadOf(16, 5), ...payloadOf(16), 7]);
  });

  it('a fragment whose length is no multiple of 8 completes nothing', () => {
    const whole = new Reassembly();
    expect(add(whole, { body: payloadOf(13), offset: 0 })).toBe(0);
    expect(add(whole, { body: payloadOf(16), offset: 16, isLast: true })).toBe(0);
    expect(take(whole)).toBeNull();
    expect(whole.expire(LIFETIME)).toBe(2);
  });
});

describe('lengths', () => {
  it('a datagram of the largest IP packet comes out whole', () => {
    const payload = payloadOf(65535 - FIRST.length);
    const whole = new Reassembly();
    for (const part of cut(payload, 1480)) expect(add(whole, part)).toBe(0);
    expect(take(whole)).toEqual(payload);
  });

  it('a fragment past the largest IP packet spoils its datagram', () => {
    const whole = new Reassembly();
    expect(add(whole, { body: [1], offset: 65528, isLast: true })).toBe(1);
    expect(add(whole, { body: payloadOf(3000), offset: 65528 })).toBe(1);
    expect(whole.expire(LIFETIME)).toBe(0);
    // One byte more than fits with this header.
    const parts = cut(payloadOf(65535 - FIRST.length + 1), 1480);
    for (const part of parts.slice(0, -1)) expect(add(whole, part)).toBe(0);
    expect(add(whole, parts[parts.length - 1])).toBe(parts.length);
    expect(take(whole)).toBeNull();
  });

  it('a first fragment whose header makes the packet too long spoils its datagram', () => {
    for (const arrange of [(parts: Part[]) => parts, (parts: Part[]) => parts.slice().reverse()]) {
      const whole = new Reassembly();
      // Fits with the 20 bytes of header that the others have.
      const parts = arrange(cut(payloadOf(65515), 1480));
      const dropped = parts.map(part => add(whole, part));
      expect(dropped[dropped.length - 1]).toBe(parts.length);
      expect(take(whole)).toBeNull();
      expect(whole.expire(LIFETIME)).toBe(0);
    }
  });

  it('a datagram under the longest header comes out whole', () => {
    const header = payloadOf(60, 3);
    const whole = new Reassembly();
    add(whole, { header, body: payloadOf(8), offset: 0 });
    add(whole, { body: [7], offset: 8, isLast: true });
    expect(take(whole, header)).toEqual([...payloadOf(8), 7]);
  });
});

describe('what is kept', () => {
  it('a datagram in more than 128 pieces is spoiled', () => {
    const whole = new Reassembly();
    const parts = cut(payloadOf(MOST_PIECES * 8), 8);
    for (const part of parts) expect(add(whole, part)).toBe(0);
    expect(take(whole)).toEqual(payloadOf(MOST_PIECES * 8));

    const more = cut(payloadOf(MOST_PIECES * 8 + 1), 8);
    for (const part of more.slice(0, -1)) expect(add(whole, part)).toBe(0);
    expect(add(whole, more[MOST_PIECES])).toBe(MOST_PIECES + 1);
    expect(take(whole)).toBeNull();
  });

  it('a ninth datagram is refused until another one is taken, spoiled or late', () => {
    const whole = new Reassembly();
    for (let id = 0; id < SLOTS; id++) expect(add(whole, { body: payloadOf(8), offset: 0, id }, id)).toBe(0);
    const newcomer: Part = { body: [1], offset: 0, isLast: true, id: 99 };
    expect(add(whole, newcomer)).toBe(1);

    expect(add(whole, { body: [1], offset: 8, isLast: true, id: 3 })).toBe(0);
    // Complete, but still there.
    expect(add(whole, newcomer)).toBe(1);
    expect(take(whole)).toEqual([...payloadOf(8), 1]);
    expect(add(whole, newcomer)).toBe(0);
    expect(take(whole)).toEqual([1]);

    expect(add(whole, { body: payloadOf(16), offset: 0, id: 4 })).toBe(2);
    expect(whole.expire(LIFETIME)).toBe(1);
    for (let id = 100; id < 103; id++) expect(add(whole, { body: [1], offset: 0, id }, 3)).toBe(0);
    expect(add(whole, newcomer)).toBe(1);
  });

  it.each([0, 0x7fffffff - 5, -5])(
    'a datagram is dropped 2 s after its first piece, from tick %i on',
    start => {
      const whole = new Reassembly();
      add(whole, { body: payloadOf(8), offset: 8 }, start);
      add(whole, { body: payloadOf(8), offset: 16 }, (start + LIFETIME - 1) | 0);
      add(whole, { body: payloadOf(8), offset: 8, id: 2 }, (start + 1) | 0);
      expect(whole.expire((start + LIFETIME - 1) | 0)).toBe(0);
      expect(whole.expire((start + LIFETIME) | 0)).toBe(2);
      expect(whole.expire((start + LIFETIME) | 0)).toBe(0);
      expect(whole.expire((start + LIFETIME + 1) | 0)).toBe(1);
    },
  );

  it('a whole datagram is not dropped', () => {
    const whole = new Reassembly();
    add(whole, { body: [1], offset: 0, isLast: true });
    expect(whole.expire(10 * LIFETIME)).toBe(0);
    expect(take(whole)).toEqual([1]);
  });
});

// ---- the slow way --------------------------------------------------------------------------------------------

interface Gathering {
  time: number;
  parts: Part[];
}

/** Lists of parts, and nothing clever. */
class Model {
  private readonly gathering = new Map<number, Gathering>();
  readonly complete: number[][] = [];

  add(part: Part & { id: number }, time: number): number {
    let datagram = this.gathering.get(part.id);
    if (datagram === undefined) {
      if (this.gathering.size + this.complete.length === SLOTS) return 1;
      datagram = { time, parts: [] };
      this.gathering.set(part.id, datagram);
    }
    const { parts } = datagram;
    const end = (of: Part) => of.offset + of.body.length;
    if (parts.some(other => other.offset === part.offset && end(other) === end(part))) return 0;
    const last = parts.find(({ isLast }) => isLast);
    const isWrong =
      part.body.length === 0 ||
      parts.some(other => part.offset < end(other) && other.offset < end(part)) ||
      (last !== undefined && (part.isLast || end(part) > end(last))) ||
      (part.isLast && parts.some(other => end(other) > end(part)));
    if (isWrong) {
      this.gathering.delete(part.id);
      return parts.length + 1;
    }
    parts.push(part);
    const inOrder = parts.slice().sort((a, b) => a.offset - b.offset);
    const isWhole = inOrder.every(({ offset }, i) => offset === (i === 0 ? 0 : end(inOrder[i - 1])));
    if (isWhole && inOrder[inOrder.length - 1].isLast) {
      this.gathering.delete(part.id);
      this.complete.push(inOrder.flatMap(({ body }) => body));
    }
    return 0;
  }

  expire(time: number): number {
    let dropped = 0;
    for (const [id, { time: begun, parts }] of this.gathering) {
      if (time - begun < LIFETIME) continue;
      this.gathering.delete(id);
      dropped += parts.length;
    }
    return dropped;
  }
}

describe('agrees with a simple model', () => {
  type Step = { do: 'add'; part: Part & { id: number } } | { do: 'take' } | { do: 'wait'; ms: number };
  const part = fc
    .record({
      id: fc.nat(10),
      unit: fc.nat(4),
      length: fc.oneof({ weight: 6, arbitrary: fc.constant(8) }, fc.constantFrom(0, 5, 16, 24)),
      isLast: fc.oneof(fc.constant(false), fc.constant(false), fc.boolean()),
      seed: fc.nat(99),
    })
    .map(({ id, unit, length, isLast, seed }) => ({
      id,
      offset: unit * 8,
      body: payloadOf(length, seed),
      isLast,
    }));
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 20, arbitrary: part.map(part => ({ do: 'add' as const, part })) },
    { weight: 2, arbitrary: fc.constant({ do: 'take' as const }) },
    { weight: 1, arbitrary: fc.nat(2500).map(ms => ({ do: 'wait' as const, ms })) },
  );

  it('Reassembly does what a simple model does, whatever comes in whatever order', () => {
    let completed = 0;
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 80, size: 'max' }),
        fc.constantFrom(0, 2 ** 31 - 3000),
        (steps, start) => {
          const whole = new Reassembly();
          const model = new Model();
          let time = start;
          for (const each of steps) {
            if (each.do === 'add') expect(add(whole, each.part, time | 0)).toBe(model.add(each.part, time));
            else if (each.do === 'wait') {
              time += each.ms;
              expect(whole.expire(time | 0)).toBe(model.expire(time));
            } else {
              const taken: number[][] = [];
              for (let next = take(whole); next !== null; next = take(whole)) taken.push(next);
              expect(taken).toEqual(model.complete);
              completed += taken.length;
              model.complete.length = 0;
            }
          }
        },
      ),
      { numRuns: 60 },
    );
    // Some become whole, so it is not nothing that is compared.
    expect(completed).toBeGreaterThan(10);
  });
});
