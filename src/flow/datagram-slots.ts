/**
 * A fixed number of slots for fragmented datagrams. A slot belongs to one datagram, known by its addresses and its id. It
 * waits for more of it, or is ready to be taken. It has a time and an order, and words for its user.
 *
 * Addresses are those of source and destination, eight words. What searches all slots is for users that have few of them.
 */
import { ADDRESS_WORDS, copyAddress, sameAddress } from '../codec/addresses.js';
import { NONE, type Ticks, type WordIndex } from '../codec/units.js';

export const PAIR_WORDS = 2 * ADDRESS_WORDS;

/** Words of a slot. The user's words follow. */
const ADDRESSES = 0;
const ID = PAIR_WORDS;
const TIME = ID + 1;
const STATE = TIME + 1;
/** Counts up, so that what came first is taken first. */
const ORDER = STATE + 1;
const FRAGMENTS = ORDER + 1;
const HEADER_WORDS = FRAGMENTS + 1;

const FREE = 0;
const WAITING = 1;
const READY = 2;

export class DatagramSlots {
  readonly words: Int32Array;
  private readonly slotWords: number;
  private waiting = 0;
  private ready = 0;
  private order = 0;

  /** `count` slots with `userWords` words for the user in each. */
  constructor(
    private readonly count: number,
    userWords: number,
  ) {
    this.slotWords = HEADER_WORDS + userWords;
    this.words = new Int32Array(count * this.slotWords);
  }

  /** Where in `words` the user's words of a slot are. */
  userAt(slot: number): WordIndex {
    return slot * this.slotWords + HEADER_WORDS;
  }

  // ---- one slot ------------------------------------------------------------------------------------------

  /** Gives a slot, whatever it held, to another datagram. It waits; the user's words are 0. */
  occupy(slot: number, addresses: Int32Array, id: number, now: Ticks): void {
    const { words, slotWords } = this;
    const at = slot * slotWords;
    this.free(slot);
    words.fill(0, at, at + slotWords);
    copyAddress(addresses, 0, words, at + ADDRESSES);
    copyAddress(addresses, ADDRESS_WORDS, words, at + ADDRESSES + ADDRESS_WORDS);
    words[at + ID] = id;
    words[at + TIME] = now;
    words[at + STATE] = WAITING;
    words[at + ORDER] = this.order++;
    this.waiting++;
  }

  /** Lets a slot that waits be taken. */
  makeReady(slot: number): void {
    this.words[slot * this.slotWords + STATE] = READY;
    this.waiting--;
    this.ready++;
  }

  /** Puts a slot behind all others in the order in which they are taken. */
  moveBack(slot: number): void {
    this.words[slot * this.slotWords + ORDER] = this.order++;
  }

  /** Frees a slot, and says how many fragments were in it. */
  free(slot: number): number {
    const state = this.state(slot);
    if (state === WAITING) this.waiting--;
    if (state === READY) this.ready--;
    this.words[slot * this.slotWords + STATE] = FREE;
    return this.fragments(slot);
  }

  /** How many fragments are in a slot, as its user counts them by `addFragment`. */
  fragments(slot: number): number {
    return this.words[slot * this.slotWords + FRAGMENTS];
  }

  addFragment(slot: number): void {
    this.words[slot * this.slotWords + FRAGMENTS]++;
  }

  /** Whether a slot waits for more of this datagram. */
  isWaitingFor(slot: number, addresses: Int32Array, id: number): boolean {
    const { words } = this;
    const at = slot * this.slotWords;
    return (
      words[at + STATE] === WAITING &&
      words[at + ID] === id &&
      sameAddress(words, at + ADDRESSES, addresses, 0) &&
      sameAddress(words, at + ADDRESSES + ADDRESS_WORDS, addresses, ADDRESS_WORDS)
    );
  }

  /** Milliseconds since a slot was occupied. A free one is older than any other. */
  ageMs(slot: number, now: Ticks): number {
    if (this.state(slot) === FREE) return 0xffffffff;
    return (now - this.words[slot * this.slotWords + TIME]) >>> 0;
  }

  private state(slot: number): number {
    return this.words[slot * this.slotWords + STATE];
  }

  // ---- all of them ---------------------------------------------------------------------------------------

  /** Gives a free slot to a datagram: its number, or NONE if there is none. */
  claim(addresses: Int32Array, id: number, now: Ticks): number {
    if (this.waiting + this.ready === this.count) return NONE;
    let slot = 0;
    while (this.state(slot) !== FREE) slot++;
    this.occupy(slot, addresses, id, now);
    return slot;
  }

  /** A slot that waits for more of this datagram, or NONE. */
  findWaiting(addresses: Int32Array, id: number): number {
    if (this.waiting === 0) return NONE;
    for (let slot = 0; slot < this.count; slot++) if (this.isWaitingFor(slot, addresses, id)) return slot;
    return NONE;
  }

  /** Makes all slots ready that wait for more of this datagram. */
  makeAllReady(addresses: Int32Array, id: number): void {
    if (this.waiting === 0) return;
    for (let slot = 0; slot < this.count; slot++)
      if (this.isWaitingFor(slot, addresses, id)) this.makeReady(slot);
  }

  /** Frees the slots that have been waiting for `lifetimeMs`, and says how many fragments were in them. */
  expire(lifetimeMs: number, now: Ticks): number {
    if (this.waiting === 0) return 0;
    let dropped = 0;
    for (let slot = 0; slot < this.count; slot++)
      if (this.state(slot) === WAITING && this.ageMs(slot, now) >= lifetimeMs) dropped += this.free(slot);
    return dropped;
  }

  /** The first one in order of those that are ready, or NONE. */
  firstReady(): number {
    if (this.ready === 0) return NONE;
    let first = NONE;
    for (let slot = 0; slot < this.count; slot++)
      if (this.state(slot) === READY && (first === NONE || this.isBefore(slot, first))) first = slot;
    return first;
  }

  private isBefore(slot: number, other: number): boolean {
    const { words, slotWords } = this;
    return words[slot * slotWords + ORDER] - words[other * slotWords + ORDER] < 0;
  }
}
