/**
 * MTUs of paths as the network tells them. Each holds for a while, since a path may become better (RFC 1191, 6.3; RFC 8201,
 * 4). A fixed number of slots, one to a hash: an MTU that is pushed out will be told again.
 */

import { ADDRESS_WORDS, copyAddress, sameAddress } from '../codec/addresses.js';
import type { Ticks, WordIndex } from '../codec/units.js';
import { hash9 } from './hash.js';

/** How long an MTU holds. */
export const PATH_MTU_LIFETIME_MS = 600_000;
const SLOTS = 1024;

/** In bytes. No link has a smaller one (RFC 791), so an error that names one is forged. */
const SMALLEST_MTU = 68;

export class PathMtus {
  private readonly addresses = new Int32Array(SLOTS * ADDRESS_WORDS);
  /** 0: the slot is free. */
  private readonly mtus = new Int32Array(SLOTS);
  private readonly times = new Int32Array(SLOTS);

  constructor(
    private readonly seed: number,
    private readonly lifetimeMs = PATH_MTU_LIFETIME_MS,
  ) {}

  /** Keeps the MTU in bytes of the path to an address; `now` in ticks. */
  learn(words: Int32Array, at: WordIndex, mtu: number, now: Ticks): void {
    if (mtu < SMALLEST_MTU) return;
    const slot = this.slotOf(words, at);
    copyAddress(words, at, this.addresses, slot * ADDRESS_WORDS);
    this.mtus[slot] = mtu;
    this.times[slot] = now;
  }

  /** The MTU in bytes of the path to an address, or 0 if none was told lately. */
  get(words: Int32Array, at: WordIndex, now: Ticks): number {
    const slot = this.slotOf(words, at);
    if (!sameAddress(this.addresses, slot * ADDRESS_WORDS, words, at)) return 0;
    return (now - this.times[slot]) >>> 0 < this.lifetimeMs ? this.mtus[slot] : 0;
  }

  private slotOf(words: Int32Array, at: WordIndex): number {
    // There is no second address: the same one again.
    return hash9(words, at, at, 0, this.seed) & (SLOTS - 1);
  }
}
