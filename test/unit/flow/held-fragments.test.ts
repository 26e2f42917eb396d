import { describe, expect, it } from 'vitest';
import { HeldFragments } from '../../../src/flow/held-fragments.js';
import { int32, payloadOf } from '../support/wire.js';

const LIFETIME = 2000;
const SLOTS = 128;
const LARGEST = 9216;

const FOUR = int32('203.0.113.7', '10.10.1.2');
const SIX = int32('2001:db8:1:2:3:4:5:6', 'fd00:1:2:3:4:5:6:7');

/** Holds `bytes`, which stand in the middle of others. */
function hold(held: HeldFragments, bytes: number[], addresses: Int32Array, id: number, now = 0): boolean {
  const around = Uint8Array.from([9, 9, 9, ...bytes, 9, 9]);
  return held.hold(around, 3, 3 + bytes.length, addresses, id, now);
}

/** Takes all that may go. */
function takeAll(held: HeldFragments): number[][] {
  const taken: number[][] = [];
  for (;;) {
    const out = new Uint8Array(LARGEST + 4).fill(0xa5);
    const length = held.take(out, 2);
    expect([out[0], out[1], out[2 + length]]).toEqual([0xa5, 0xa5, 0xa5]);
    if (length === 0) return taken;
    taken.push([...out.slice(2, 2 + length)]);
  }
}

describe('HeldFragments', () => {
  it('no fragment is given before its datagram is let go', () => {
    const held = new HeldFragments();
    expect(takeAll(held)).toEqual([]);
    hold(held, [1, 2, 3], FOUR, 1);
    expect(takeAll(held)).toEqual([]);
  });

  it.each([
    ['IPv4', FOUR],
    ['IPv6', SIX],
  ])('fragments of one %s datagram are given in the order in which they came', (_, addresses) => {
    const held = new HeldFragments();
    const other = addresses.slice().reverse();
    hold(held, [1], addresses, 1);
    hold(held, [2], addresses, 2);
    hold(held, [3, 3], addresses, 1);
    hold(held, [4], other, 1);
    held.letGo(addresses, 1);
    expect(takeAll(held)).toEqual([[1], [3, 3]]);
    held.letGo(addresses, 1);
    expect(takeAll(held)).toEqual([]);
    held.letGo(addresses, 2);
    held.letGo(other, 1);
    expect(takeAll(held)).toEqual([[2], [4]]);
  });

  it('a datagram that differs in any word of its addresses or in its id lets no fragment go', () => {
    const held = new HeldFragments();
    hold(held, [1], SIX, -7);
    for (let i = 0; i < 8; i++) {
      const other = SIX.slice();
      other[i] ^= 1;
      held.letGo(other, -7);
      expect(takeAll(held), `word ${i}`).toEqual([]);
    }
    held.letGo(SIX, 7);
    expect(takeAll(held)).toEqual([]);
    held.letGo(SIX, -7);
    expect(takeAll(held)).toEqual([[1]]);
  });

  it('fragments keep their order where slots are used again', () => {
    const held = new HeldFragments();
    for (let i = 0; i < 4; i++) hold(held, [i], FOUR, i % 2);
    held.letGo(FOUR, 0);
    expect(takeAll(held)).toEqual([[0], [2]]);
    hold(held, [4], FOUR, 1);
    held.letGo(FOUR, 1);
    expect(takeAll(held)).toEqual([[1], [3], [4]]);
  });

  it('a fragment of more than a jumbo frame is refused', () => {
    const held = new HeldFragments();
    const largest = payloadOf(LARGEST);
    expect(hold(held, largest, FOUR, 1)).toBe(true);
    expect(hold(held, [...largest, 0], FOUR, 1)).toBe(false);
    held.letGo(FOUR, 1);
    expect(takeAll(held)).toEqual([largest]);
  });

  it('fragment 129 is refused, also where some were let go and not taken yet', () => {
    const held = new HeldFragments();
    for (let i = 0; i < SLOTS; i++) expect(hold(held, [i], FOUR, i % 2)).toBe(true);
    expect(hold(held, [1], FOUR, 0)).toBe(false);
    held.letGo(FOUR, 0);
    expect(hold(held, [1], FOUR, 0)).toBe(false);
    expect(takeAll(held)).toHaveLength(SLOTS / 2);
    for (let i = 0; i < SLOTS / 2; i++) expect(hold(held, [i], SIX, 5)).toBe(true);
    expect(hold(held, [1], SIX, 5)).toBe(false);
  });

  it.each([0, 0x7fffffff - 5, -5])(
    'a fragment is dropped after 2 s unless it was let go, from tick %i on',
    start => {
      const held = new HeldFragments();
      hold(held, [1], FOUR, 1, start);
      hold(held, [2], FOUR, 2, start);
      hold(held, [3], SIX, 1, (start + 1) | 0);
      held.letGo(FOUR, 2);
      expect(held.expire((start + LIFETIME - 1) | 0)).toBe(0);
      expect(held.expire((start + LIFETIME) | 0)).toBe(1);
      held.letGo(FOUR, 1);
      held.letGo(SIX, 1);
      expect(takeAll(held)).toEqual([[2], [3]]);
      expect(held.expire((start + 10 * LIFETIME) | 0)).toBe(0);
    },
  );

  it('dropped fragments leave their room to others', () => {
    const held = new HeldFragments();
    for (let i = 0; i < SLOTS; i++) hold(held, [i], FOUR, i, 0);
    expect(held.expire(LIFETIME)).toBe(SLOTS);
    for (let i = 0; i < SLOTS; i++) expect(hold(held, [i], FOUR, i, LIFETIME)).toBe(true);
  });
});
