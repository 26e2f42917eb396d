/**
 * Where the later fragments of a datagram go: the first one has ports and mark, the others follow it by
 * (source, destination, identification, protocol).
 *
 * A fixed number of slots, two to a hash; the older one gives way. Times are ticks as in the flow table; addresses
 * come in pairs, source and destination: eight words.
 */

import { ADDRESS_WORDS, sameAddress } from '../codec/addresses.js';
import type { Ticks, WordIndex } from '../codec/units.js';
import { hash9 } from './hash.js';

/** As long as Linux waits for the rest of a datagram (net.ipv4.ipfrag_time), in milliseconds. */
const LIFETIME = 30_000;
const SLOTS = 4096;

const PAIR_WORDS = 2 * ADDRESS_WORDS;
const BEFORE = 0;
const AFTER = BEFORE + PAIR_WORDS;
const ID = AFTER + PAIR_WORDS;
const TIME = ID + 1;
const STATE = TIME + 1;
const REMOVED = STATE + 1;
const SLOT_WORDS = REMOVED + 1;

const LIVE = 1;

export class FragmentTable {
  /** Where `find` finds the addresses that the first fragment has now, at `found`. */
  readonly slots = new Int32Array(SLOTS * SLOT_WORDS);
  found = 0;

  constructor(private readonly seed: number) {}

  /**
   * Remembers what the first fragment with these addresses and this id became. `removed` is how many bytes went from
   * the part of it that fragments are counted in.
   */
  remember(before: Int32Array, id: number, after: Int32Array, removed: number, now: Ticks): void {
    const at = this.choose(before, id, now);
    const { slots } = this;
    for (let i = 0; i < PAIR_WORDS; i++) {
      slots[at + BEFORE + i] = before[i];
      slots[at + AFTER + i] = after[i];
    }
    slots[at + ID] = id;
    slots[at + TIME] = now;
    slots[at + REMOVED] = removed;
    slots[at + STATE] = LIVE;
  }

  /** Finds the first fragment's entry. */
  find(addresses: Int32Array, id: number, now: Ticks): boolean {
    const first = this.slotOf(addresses, id);
    for (let at = first; at < first + 2 * SLOT_WORDS; at += SLOT_WORDS) {
      if (!this.matches(at, addresses, id)) continue;
      this.found = at + AFTER;
      return this.age(at, now) < LIFETIME;
    }
    return false;
  }

  /** How many bytes the others of the one found have to move up by. */
  get removed(): number {
    return this.slots[this.found - AFTER + REMOVED];
  }

  private choose(addresses: Int32Array, id: number, now: Ticks): number {
    const first = this.slotOf(addresses, id);
    const second = first + SLOT_WORDS;
    if (this.matches(first, addresses, id)) return first;
    if (this.matches(second, addresses, id)) return second;
    return this.age(first, now) >= this.age(second, now) ? first : second;
  }

  private slotOf(addresses: Int32Array, id: number): number {
    const hash = hash9(addresses, 0, ADDRESS_WORDS, id, this.seed);
    return (hash & (SLOTS / 2 - 1)) * 2 * SLOT_WORDS;
  }

  private matches(at: WordIndex, addresses: Int32Array, id: number): boolean {
    const { slots } = this;
    return (
      slots[at + STATE] === LIVE &&
      slots[at + ID] === id &&
      sameAddress(slots, at + BEFORE, addresses, 0) &&
      sameAddress(slots, at + BEFORE + ADDRESS_WORDS, addresses, ADDRESS_WORDS)
    );
  }

  private age(at: WordIndex, now: Ticks): number {
    return this.slots[at + STATE] === LIVE ? (now - this.slots[at + TIME]) >>> 0 : 0xffffffff;
  }
}
