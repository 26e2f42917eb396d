/**
 * What the network has told of the MTUs of its paths, each for a while (RFC 1191, 6.3; RFC 8201, 4). A fixed number of
 * slots, one to a hash: what is pushed out will be told again.
 */

import { ADDRESS_WORDS, copyAddress, sameAddress } from '../codec/addresses.js';
import type { Ticks, WordIndex } from '../codec/units.js';
import { hash9 } from './hash.js';

/** How long a path may be taken for what it was, in milliseconds. */
export const PATH_MTU_LIFETIME = 600_000;
const SLOTS = 1024;

/** No link is smaller (RFC 791); who says so lies. */
const SMALLEST = 68;

export class PathMtus {
  private readonly addresses = new Int32Array(SLOTS * ADDRESS_WORDS);
  /** 0: the slot is free. */
  private readonly mtus = new Int32Array(SLOTS);
  private readonly times = new Int32Array(SLOTS);

  /** `lifetime` in milliseconds. */
  constructor(
    private readonly seed: number,
    private readonly lifetime = PATH_MTU_LIFETIME,
  ) {}

  /** Keeps the MTU in bytes of the path to an address; `now` in ticks. */
  learn(words: Int32Array, at: WordIndex, mtu: number, now: Ticks): void {
    if (mtu < SMALLEST) return;
    const slot = this.slotOf(words, at);
    copyAddress(words, at, this.addresses, slot * ADDRESS_WORDS);
    this.mtus[slot] = mtu;
    this.times[slot] = now;
  }

  /** The MTU in bytes of the path to an address, or 0 if nothing was heard of it lately. */
  get(words: Int32Array, at: WordIndex, now: Ticks): number {
    const slot = this.slotOf(words, at);
    if (!sameAddress(this.addresses, slot * ADDRESS_WORDS, words, at)) return 0;
    return (now - this.times[slot]) >>> 0 < this.lifetime ? this.mtus[slot] : 0;
  }

  private slotOf(words: Int32Array, at: WordIndex): number {
    return hash9(words, at, at, 0, this.seed) & (SLOTS - 1);
  }
}
