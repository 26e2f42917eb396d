/**
 * How long to pause between two reads so that packets come in batches under load: only those that are read together can
 * be merged, and each turn has a price of its own. Network cards moderate their interrupts for the same reason
 * (`ethtool -C`, adaptive-rx and rx-usecs).
 *
 * A pause is as long as it takes for most of a batch to come, at the rate of the last moments, and never longer than the
 * limit. If next to nothing would come in that time, nothing waits.
 */
import { BATCH } from './device.js';

/** Ticks (milliseconds) over which the rate is measured. */
const WINDOW = 4;
/** Packets that a pause is to bring: room is left for those that are late, so that none is left behind. */
const AIM = (BATCH * 3) / 4;
/** Fewer than these in the longest pause are not worth one. */
const LEAST = 4;
const TICK_US = 1000;

export class Moderation {
  /** Microseconds to pause before the next read; 0: none. */
  pause = 0;
  /** What `pause` is once the queue has been emptied. */
  private usual = 0;
  private since = 0;
  private packets = 0;

  /** `limit`: microseconds. */
  constructor(private readonly limit: number) {}

  /** A read at `now` (ticks) has brought `count` packets. */
  note(count: number, now: number): void {
    if (this.limit === 0) return;
    this.packets += count;
    const elapsed = (now - this.since) >>> 0;
    if (elapsed >= WINDOW) this.decide(elapsed * TICK_US, now);
    // There are more of them already.
    this.pause = count === BATCH ? 0 : this.usual;
  }

  private decide(elapsedUs: number, now: number): void {
    const { packets, limit } = this;
    const isWorthIt = packets * limit >= LEAST * elapsedUs;
    this.usual = isWorthIt ? Math.min(limit, Math.ceil((AIM * elapsedUs) / packets)) : 0;
    this.since = now;
    this.packets = 0;
  }
}
