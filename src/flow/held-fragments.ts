/**
 * Fragments that came before the first one of their datagram, which alone tells where they go: kept for a moment,
 * in memory that is bounded once and for all.
 */

import { ADDRESS_WORDS, copyAddress, sameAddress } from '../codec/addresses.js';
import type { Ticks } from '../codec/units.js';

/** Milliseconds: on one path fragments overtake each other by far less. */
const LIFETIME = 2000;
const SLOTS = 128;
/** A jumbo frame. */
const SLOT_BYTES = 9216;

const SOURCE = 0;
const DESTINATION = SOURCE + ADDRESS_WORDS;
const ID = DESTINATION + ADDRESS_WORDS;
const TIME = ID + 1;
const LENGTH = TIME + 1;
const STATE = LENGTH + 1;
/** Counts up, so that what came first goes first. */
const ORDER = STATE + 1;
const SLOT_WORDS = ORDER + 1;

const FREE = 0;
const HELD = 1;
const RELEASED = 2;

export class HeldFragments {
  private readonly slots = new Int32Array(SLOTS * SLOT_WORDS);
  private readonly memory = new Uint8Array(SLOTS * SLOT_BYTES);
  private held = 0;
  private released = 0;
  private order = 0;

  /** Keeps a copy of `[start, end)` in `bytes`; false if there is no room for it. Addresses are eight words. */
  hold(
    bytes: Uint8Array,
    start: number,
    end: number,
    addresses: Int32Array,
    id: number,
    now: Ticks,
  ): boolean {
    const { slots, memory } = this;
    if (end - start > SLOT_BYTES || this.held + this.released === SLOTS) return false;
    let slot = 0;
    while (slots[slot * SLOT_WORDS + STATE] !== FREE) slot++;
    const at = slot * SLOT_WORDS;
    copyAddress(addresses, 0, slots, at + SOURCE);
    copyAddress(addresses, ADDRESS_WORDS, slots, at + DESTINATION);
    slots[at + ID] = id;
    slots[at + TIME] = now;
    slots[at + LENGTH] = end - start;
    slots[at + ORDER] = this.order++;
    slots[at + STATE] = HELD;
    for (let i = start, to = slot * SLOT_BYTES; i < end; i++, to++) memory[to] = bytes[i];
    this.held++;
    return true;
  }

  /** Lets those of one datagram go: `take` then gives them. */
  release(addresses: Int32Array, id: number): void {
    if (this.held === 0) return;
    const { slots } = this;
    for (let at = 0; at < slots.length; at += SLOT_WORDS) {
      if (slots[at + STATE] !== HELD || slots[at + ID] !== id) continue;
      if (!sameAddress(slots, at + SOURCE, addresses, 0)) continue;
      if (!sameAddress(slots, at + DESTINATION, addresses, ADDRESS_WORDS)) continue;
      slots[at + STATE] = RELEASED;
      this.held--;
      this.released++;
    }
  }

  /** Copies the next one that may go to `offset` in `bytes`, and gives its length; 0 if there is none. */
  take(bytes: Uint8Array, offset: number): number {
    if (this.released === 0) return 0;
    const { slots, memory } = this;
    let first = -1;
    for (let at = 0; at < slots.length; at += SLOT_WORDS) {
      if (slots[at + STATE] !== RELEASED) continue;
      if (first < 0 || slots[at + ORDER] - slots[first + ORDER] < 0) first = at;
    }
    const length = slots[first + LENGTH];
    const from = (first / SLOT_WORDS) * SLOT_BYTES;
    for (let i = 0; i < length; i++) bytes[offset + i] = memory[from + i];
    slots[first + STATE] = FREE;
    this.released--;
    return length;
  }

  /** Drops those whose first fragment did not come in time, and says how many. */
  expire(now: Ticks): number {
    if (this.held === 0) return 0;
    const { slots } = this;
    let dropped = 0;
    for (let at = 0; at < slots.length; at += SLOT_WORDS) {
      if (slots[at + STATE] !== HELD || (now - slots[at + TIME]) >>> 0 < LIFETIME) continue;
      slots[at + STATE] = FREE;
      dropped++;
    }
    this.held -= dropped;
    return dropped;
  }
}
