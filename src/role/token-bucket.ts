/** A bound on how often something is done: so many times a millisecond, and some more at once after a pause. */
import type { Ticks } from '../codec/units.js';

export class TokenBucket {
  private tokens: number;
  private filled: Ticks | undefined;

  /** `burst`: how often at once, at most. */
  constructor(
    private readonly perMs: number,
    private readonly burst: number,
  ) {
    this.tokens = burst;
  }

  /** Whether it may be done now. If so, it counts as done. */
  take(now: Ticks): boolean {
    const elapsedMs = this.filled === undefined ? 0 : (now - this.filled) >>> 0;
    this.filled = now;
    this.tokens = Math.min(this.burst, this.tokens + elapsedMs * this.perMs);
    if (this.tokens < 1) return false;
    this.tokens--;
    return true;
  }
}
