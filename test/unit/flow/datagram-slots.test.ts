import { describe, expect, it } from 'vitest';
import { NONE } from '../../../src/codec/units.js';
import { DatagramSlots } from '../../../src/flow/datagram-slots.js';
import { int32 } from '../support/wire.js';

const ENDS = int32('203.0.113.7', '10.10.1.2');
const OTHERS = int32('2001:db8::7', 'fd00:1::2');

describe('the slots of fragmented datagrams', () => {
  it('a slot waits for its own datagram and for no other', () => {
    const slots = new DatagramSlots(2, 1);
    const slot = slots.claim(ENDS, 7, 0);
    expect(slots.findWaiting(ENDS, 7)).toBe(slot);
    expect([slots.findWaiting(ENDS, 8), slots.findWaiting(OTHERS, 7)]).toEqual([NONE, NONE]);
  });

  it('none is claimed where all are waiting or ready, and a freed one is claimed again', () => {
    const slots = new DatagramSlots(2, 1);
    const first = slots.claim(ENDS, 1, 0);
    slots.makeReady(slots.claim(ENDS, 2, 0));
    expect(slots.claim(ENDS, 3, 0)).toBe(NONE);
    slots.free(first);
    expect(slots.claim(ENDS, 3, 0)).toBe(first);
  });

  it('what the user kept of an earlier datagram is gone from a slot', () => {
    const slots = new DatagramSlots(1, 2);
    const slot = slots.claim(ENDS, 1, 0);
    slots.words.fill(-1, slots.userAt(slot), slots.userAt(slot) + 2);
    slots.addFragment(slot);
    slots.occupy(slot, OTHERS, 1, 0);
    expect([...slots.words.subarray(slots.userAt(slot), slots.userAt(slot) + 2)]).toEqual([0, 0]);
    expect(slots.fragments(slot)).toBe(0);
  });

  it('ready ones come in the order in which they were claimed, but for those moved back', () => {
    const slots = new DatagramSlots(3, 1);
    const [a, b, c] = [1, 2, 3].map(() => slots.claim(ENDS, 1, 0));
    slots.makeAllReady(ENDS, 1);
    slots.moveBack(b);
    const order: number[] = [];
    for (let slot = slots.firstReady(); slot !== NONE; slot = slots.firstReady()) {
      order.push(slot);
      slots.free(slot);
    }
    expect(order).toEqual([a, c, b]);
  });

  it('those that have waited too long are freed with the fragments in them, those that are ready are not', () => {
    const slots = new DatagramSlots(4, 1);
    const [old, ready, young] = [-3, -3, -2].map(tick => slots.claim(ENDS, tick, tick));
    for (const slot of [old, old, ready, young]) slots.addFragment(slot);
    slots.makeReady(ready);
    expect(slots.expire(10, 6)).toBe(0);
    expect(slots.expire(10, 7)).toBe(2);
    expect([slots.findWaiting(ENDS, -3), slots.findWaiting(ENDS, -2)]).toEqual([NONE, young]);
    expect(slots.firstReady()).toBe(ready);
  });
});
