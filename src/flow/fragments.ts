/**
 * Where the later fragments of a datagram go: the first one has ports and mark, the others follow it by
 * (source, destination, identification, protocol).
 *
 * A fixed number of slots, two to a hash; the older one gives way. Times are ticks as in the flow table; addresses
 * come in pairs, source and destination: eight words.
 */

import { ADDRESS_WORDS, sameAddress } from '../codec/addresses.js';
import { NONE, type Ticks, type WordIndex } from '../codec/units.js';
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
  /** The addresses that first fragments have now, at `addressesAt`, and more. */
  readonly words = new Int32Array(SLOTS * SLOT_WORDS);

  constructor(private readonly seed: number) {}

  /**
   * Remembers what the first fragment with these addresses and this id became. `removed` is how many bytes went from
   * the part of it that fragments are counted in.
   */
  remember(before: Int32Array, id: number, after: Int32Array, removed: number, now: Ticks): void {
    const at = this.choose(before, id, now);
    const { words } = this;
    for (let i = 0; i < PAIR_WORDS; i++) {
      words[at + BEFORE + i] = before[i];
      words[at + AFTER + i] = after[i];
    }
    words[at + ID] = id;
    words[at + TIME] = now;
    words[at + REMOVED] = removed;
    words[at + STATE] = LIVE;
  }

  /** The entry of the first fragment with these addresses and this id, or NONE. */
  find(addresses: Int32Array, id: number, now: Ticks): number {
    const first = this.slotOf(addresses, id);
    for (let at = first; at < first + 2 * SLOT_WORDS; at += SLOT_WORDS)
      if (this.matches(at, addresses, id)) return this.age(at, now) < LIFETIME ? at : NONE;
    return NONE;
  }

  /** Where in `words` the addresses are that the first fragment has now. */
  addressesAt(entry: number): WordIndex {
    return entry + AFTER;
  }

  /** Bytes removed from the first fragment's payload. The offsets of later fragments must shrink by the same amount. */
  removed(entry: number): number {
    return this.words[entry + REMOVED];
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
    const { words } = this;
    return (
      words[at + STATE] === LIVE &&
      words[at + ID] === id &&
      sameAddress(words, at + BEFORE, addresses, 0) &&
      sameAddress(words, at + BEFORE + ADDRESS_WORDS, addresses, ADDRESS_WORDS)
    );
  }

  private age(at: WordIndex, now: Ticks): number {
    return this.words[at + STATE] === LIVE ? (now - this.words[at + TIME]) >>> 0 : 0xffffffff;
  }
}
