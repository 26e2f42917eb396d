/**
 * Keeps fragments that came before the first one of their datagram, which alone tells where they go: for a moment, in
 * memory of a fixed size.
 */
import { type ByteOffset, NONE, type Ticks } from '../codec/units.js';
import { DatagramSlots } from './datagram-slots.js';

/** Fragments on one path overtake each other by far less. */
const LIFETIME_MS = 2000;
const SLOTS = 128;
/** A jumbo frame. */
const SLOT_BYTES = 9216;

export class HeldFragments {
  /** The user's word of each is the fragment's length in bytes. */
  private readonly slots = new DatagramSlots(SLOTS, 1);
  private readonly memory = new Uint8Array(SLOTS * SLOT_BYTES);

  /** Keeps a copy of `[start, end)` in `bytes`; false if there is no room for it. Addresses are eight words. */
  hold(
    bytes: Uint8Array,
    start: ByteOffset,
    end: ByteOffset,
    addresses: Int32Array,
    id: number,
    now: Ticks,
  ): boolean {
    const { slots, memory } = this;
    if (end - start > SLOT_BYTES) return false;
    const slot = slots.claim(addresses, id, now);
    if (slot === NONE) return false;
    slots.addFragment(slot);
    slots.words[slots.userAt(slot)] = end - start;
    for (let i = start, to = slot * SLOT_BYTES; i < end; i++, to++) memory[to] = bytes[i];
    return true;
  }

  /** Lets those of one datagram go: `take` then gives them. */
  letGo(addresses: Int32Array, id: number): void {
    this.slots.makeAllReady(addresses, id);
  }

  /** Copies the next one that may go to `offset` in `bytes`, and gives its length in bytes; 0 if there is none. */
  take(bytes: Uint8Array, offset: ByteOffset): number {
    const { slots, memory } = this;
    const slot = slots.firstReady();
    if (slot === NONE) return 0;
    const length = slots.words[slots.userAt(slot)];
    const from = slot * SLOT_BYTES;
    for (let i = 0; i < length; i++) bytes[offset + i] = memory[from + i];
    slots.free(slot);
    return length;
  }

  /** Drops those whose first fragment did not come in time, and says how many. */
  expire(now: Ticks): number {
    return this.slots.expire(LIFETIME_MS, now);
  }
}
