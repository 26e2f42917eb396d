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
  it('gives nothing before anything is let go', () => {
    const held = new HeldFragments();
    expect(takeAll(held)).toEqual([]);
    hold(held, [1, 2, 3], FOUR, 1);
    expect(takeAll(held)).toEqual([]);
  });

  it.each([
    ['IPv4', FOUR],
    ['IPv6', SIX],
  ])('gives those of one %s datagram, in the order in which they came', (_, addresses) => {
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

  it('goes by every word of both addresses, and by the id', () => {
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

  it('keeps the order though slots are used again', () => {
    const held = new HeldFragments();
    for (let i = 0; i < 4; i++) hold(held, [i], FOUR, i % 2);
    held.letGo(FOUR, 0);
    expect(takeAll(held)).toEqual([[0], [2]]);
    hold(held, [4], FOUR, 1);
    held.letGo(FOUR, 1);
    expect(takeAll(held)).toEqual([[1], [3], [4]]);
  });

  it('takes a jumbo frame, and no more', () => {
    const held = new HeldFragments();
    const largest = payloadOf(LARGEST);
    expect(hold(held, largest, FOUR, 1)).toBe(true);
    expect(hold(held, [...largest, 0], FOUR, 1)).toBe(false);
    held.letGo(FOUR, 1);
    expect(takeAll(held)).toEqual([largest]);
  });

  it('has room for 128, those that may go included', () => {
    const held = new HeldFragments();
    for (let i = 0; i < SLOTS; i++) expect(hold(held, [i], FOUR, i % 2)).toBe(true);
    expect(hold(held, [1], FOUR, 0)).toBe(false);
    held.letGo(FOUR, 0);
    expect(hold(held, [1], FOUR, 0)).toBe(false);
    expect(takeAll(held)).toHaveLength(SLOTS / 2);
    for (let i = 0; i < SLOTS / 2; i++) expect(hold(held, [i], SIX, 5)).toBe(true);
    expect(hold(held, [1], SIX, 5)).toBe(false);
  });

  it.each([0, 0x7fffffff - 5, -5])('drops after 2 s what was not let go, from tick %i on', start => {
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
  });

  it('has its room again after dropping', () => {
    const held = new HeldFragments();
    for (let i = 0; i < SLOTS; i++) hold(held, [i], FOUR, i, 0);
    expect(held.expire(LIFETIME)).toBe(SLOTS);
    for (let i = 0; i < SLOTS; i++) expect(hold(held, [i], FOUR, i, LIFETIME)).toBe(true);
  });
});
