/**
 * What became of first fragments, so that the later ones of their datagrams can follow: those have neither ports nor mark,
 * and are known by source, destination, identification and protocol.
 *
 * A fixed number of slots, two to a hash: the older one gives way. Addresses are those of source and destination, eight
 * words.
 */
import { NONE, type Ticks, type WordIndex } from '../codec/units.js';
import { DatagramSlots, PAIR_WORDS } from './datagram-slots.js';
import { hash9 } from './hash.js';

/** As long as Linux waits for the rest of a datagram (net.ipv4.ipfrag_time). */
const LIFETIME_MS = 30_000;
const SLOTS = 4096;

/** Words of a slot. */
const AFTER = 0;
const REMOVED = PAIR_WORDS;
const SLOT_WORDS = REMOVED + 1;

export class FragmentTable {
  private readonly slots = new DatagramSlots(SLOTS, SLOT_WORDS);
  /** Where the addresses are that first fragments have now (`addressesAt`). */
  readonly words = this.slots.words;

  constructor(private readonly seed: number) {}

  /**
   * Remembers which addresses the first fragment with `before` and `id` has after its translation. `removed` are the bytes
   * that it lost of the part that fragments are counted in.
   */
  remember(before: Int32Array, id: number, after: Int32Array, removed: number, now: Ticks): void {
    const { slots, words } = this;
    const slot = this.choose(before, id, now);
    slots.occupy(slot, before, id, now);
    const at = slots.userAt(slot);
    for (let i = 0; i < PAIR_WORDS; i++) words[at + AFTER + i] = after[i];
    words[at + REMOVED] = removed;
  }

  /** The entry of the first fragment with these addresses and this id, or NONE. */
  find(addresses: Int32Array, id: number, now: Ticks): number {
    const { slots } = this;
    const first = this.firstOf(addresses, id);
    for (let slot = first; slot < first + 2; slot++)
      if (slots.isWaitingFor(slot, addresses, id)) return slots.ageMs(slot, now) < LIFETIME_MS ? slot : NONE;
    return NONE;
  }

  /** Where in `words` the addresses are that the first fragment has now. */
  addressesAt(entry: number): WordIndex {
    return this.slots.userAt(entry) + AFTER;
  }

  /** Bytes removed from the first fragment's payload. The offsets of later fragments must shrink by the same amount. */
  removed(entry: number): number {
    return this.words[this.slots.userAt(entry) + REMOVED];
  }

  private choose(addresses: Int32Array, id: number, now: Ticks): number {
    const { slots } = this;
    const first = this.firstOf(addresses, id);
    const second = first + 1;
    if (slots.isWaitingFor(first, addresses, id)) return first;
    if (slots.isWaitingFor(second, addresses, id)) return second;
    return slots.ageMs(first, now) >= slots.ageMs(second, now) ? first : second;
  }

  /** The first of the two slots for a datagram. */
  private firstOf(addresses: Int32Array, id: number): number {
    return (hash9(addresses, 0, PAIR_WORDS / 2, id, this.seed) & (SLOTS / 2 - 1)) * 2;
  }
}
