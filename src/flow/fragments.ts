/**
 * Where the later fragments of a datagram go: the first one has ports and mark, the others follow it by
 * (source, destination, identification, protocol).
 *
 * A fixed number of slots, two to a hash; the older one gives way. Times are ticks as in the flow table.
 */
import { hash3 } from './hash.js';

/** As long as Linux waits for the rest of a datagram (net.ipv4.ipfrag_time), in milliseconds. */
const LIFETIME = 30_000;
const SLOTS = 4096;

const SOURCE = 0;
const DESTINATION = 1;
const ID_PROTOCOL = 2;
const NEW_SOURCE = 3;
const NEW_DESTINATION = 4;
const TIME = 5;
const LIVE = 6;
const SLOT_WORDS = 8;

export class FragmentTable {
  private readonly slots = new Int32Array(SLOTS * SLOT_WORDS);
  private found = 0;

  constructor(private readonly seed: number) {}

  /** Remembers what the first fragment with these addresses (32-bit words) and this id became. */
  remember(
    source: number,
    destination: number,
    idProtocol: number,
    newSource: number,
    newDestination: number,
    now: number,
  ): void {
    const at = this.choose(source, destination, idProtocol, now);
    const { slots } = this;
    slots[at + SOURCE] = source;
    slots[at + DESTINATION] = destination;
    slots[at + ID_PROTOCOL] = idProtocol;
    slots[at + NEW_SOURCE] = newSource;
    slots[at + NEW_DESTINATION] = newDestination;
    slots[at + TIME] = now;
    slots[at + LIVE] = 1;
  }

  /** Finds the first fragment's entry; `newSource` and `newDestination` then are its. */
  find(source: number, destination: number, idProtocol: number, now: number): boolean {
    const first = this.slotOf(source, destination, idProtocol);
    for (let at = first; at < first + 2 * SLOT_WORDS; at += SLOT_WORDS) {
      if (!this.matches(at, source, destination, idProtocol)) continue;
      this.found = at;
      return this.age(at, now) < LIFETIME;
    }
    return false;
  }

  get newSource(): number {
    return this.slots[this.found + NEW_SOURCE];
  }

  get newDestination(): number {
    return this.slots[this.found + NEW_DESTINATION];
  }

  private choose(source: number, destination: number, idProtocol: number, now: number): number {
    const first = this.slotOf(source, destination, idProtocol);
    const second = first + SLOT_WORDS;
    if (this.matches(first, source, destination, idProtocol)) return first;
    if (this.matches(second, source, destination, idProtocol)) return second;
    return this.age(first, now) >= this.age(second, now) ? first : second;
  }

  private slotOf(source: number, destination: number, idProtocol: number): number {
    return (hash3(source, destination, idProtocol, this.seed) & (SLOTS / 2 - 1)) * 2 * SLOT_WORDS;
  }

  private matches(at: number, source: number, destination: number, idProtocol: number): boolean {
    const { slots } = this;
    return (
      slots[at + LIVE] === 1 &&
      slots[at + SOURCE] === source &&
      slots[at + DESTINATION] === destination &&
      slots[at + ID_PROTOCOL] === idProtocol
    );
  }

  private age(at: number, now: number): number {
    return this.slots[at + LIVE] === 0 ? 0xffffffff : (now - this.slots[at + TIME]) >>> 0;
  }
}
