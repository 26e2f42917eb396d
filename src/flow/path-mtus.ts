/** What the network has told of the MTUs of its paths: a few destinations, each for a while (RFC 1191, 6.3). */
import { ADDRESS_WORDS, copyAddress, sameAddress } from '../codec/addresses.js';

const LIFETIME = 600_000;
const SLOTS = 64;

/** Nobody has links that are smaller; who says so lies. */
const SMALLEST = 68;

export class PathMtus {
  private readonly addresses = new Int32Array(SLOTS * ADDRESS_WORDS);
  private readonly mtus = new Int32Array(SLOTS);
  private readonly times = new Int32Array(SLOTS);
  private used = 0;
  private oldest = 0;

  /** Keeps the MTU in bytes of the path to an address; `now` in ticks. */
  learn(words: Int32Array, at: number, mtu: number, now: number): void {
    if (mtu < SMALLEST) return;
    let slot = this.find(words, at);
    if (slot < 0) {
      slot = this.oldest;
      this.oldest = (this.oldest + 1) % SLOTS;
      this.used = Math.max(this.used, slot + 1);
      copyAddress(words, at, this.addresses, slot * ADDRESS_WORDS);
    }
    this.mtus[slot] = mtu;
    this.times[slot] = now;
  }

  /** The MTU in bytes of the path to an address, or 0 if nothing was heard of it lately. */
  get(words: Int32Array, at: number, now: number): number {
    const slot = this.find(words, at);
    return slot < 0 || (now - this.times[slot]) >>> 0 >= LIFETIME ? 0 : this.mtus[slot];
  }

  private find(words: Int32Array, at: number): number {
    for (let slot = 0; slot < this.used; slot++)
      if (sameAddress(this.addresses, slot * ADDRESS_WORDS, words, at)) return slot;
    return -1;
  }
}
