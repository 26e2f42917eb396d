/**
 * How long to pause between two reads so that packets come in batches under load: only those that are read together can
 * be merged, and each turn has a price of its own. Network cards moderate their interrupts for the same reason
 * (`ethtool -C`, adaptive-rx and rx-usecs).
 *
 * A pause is as long as it takes for most of a batch to come, at the rate of the last moments, and never longer than the
 * limit. If next to nothing would come in that time, there is no pause. At 230,000 packets a second this takes a third
 * of the CPU off a datagram (measured, with a limit of 50 us).
 */
import { BATCH } from '../codec/batch.js';
import type { Ticks } from '../codec/units.js';

/** The rate is measured over so long: some ticks, so that their granularity matters little, and soon over when load ends. */
const WINDOW_MS = 4;
/** Packets that a pause is to bring. It ends late at times: a quarter of the batch is left for what comes until then. */
const WANTED = (BATCH * 3) / 4;
/**
 * A pause is not worth it where its longest would bring fewer packets than these: with a limit of 50 us, below 80,000
 * packets a second.
 */
const MIN_WORTH = 4;
const US_PER_MS = 1000;

export class Moderation {
  /** How long to pause before the next read, in microseconds; 0: not at all. */
  pauseUs = 0;
  /** What `pauseUs` is once the queue has been emptied. */
  private usualUs = 0;
  private since: Ticks = 0;
  private packets = 0;

  /** No pause is longer than `limitUs`; 0: there are none. */
  constructor(private readonly limitUs: number) {}

  /** A read has brought `count` packets. */
  note(count: number, now: Ticks): void {
    if (this.limitUs === 0) return;
    this.packets += count;
    const elapsedMs = (now - this.since) >>> 0;
    if (elapsedMs >= WINDOW_MS) this.decide(elapsedMs * US_PER_MS, now);
    // A full batch: more packets are waiting already.
    this.pauseUs = count === BATCH ? 0 : this.usualUs;
  }

  private decide(elapsedUs: number, now: Ticks): void {
    const { packets, limitUs } = this;
    const isWorthIt = packets * limitUs >= MIN_WORTH * elapsedUs;
    this.usualUs = isWorthIt ? Math.min(limitUs, Math.ceil((WANTED * elapsedUs) / packets)) : 0;
    this.since = now;
    this.packets = 0;
  }
}
