/**
 * When a load balancer may be asked. Everything is bounded: how often a flow is asked about, how often a load balancer is
 * asked that gives no answers, how many asks leave in all, and the memory. Of the flows that share a slot only one is asked
 * about at a time. An answer makes its slot free at once.
 */
import type { Ticks } from '../../codec/units.js';
import { TokenBucket } from '../token-bucket.js';
import type { KnownLoadBalancer } from './settings.js';

const SLOTS = 8192;
/** A flow is asked about so many times, with so long in between. */
const ASKS_PER_FLOW = 3;
const BETWEEN_MS = 1000;
/** So long after its last ask a flow is as if it had never been asked about. */
const FORGOTTEN_MS = 60_000;

/** All asks together: 2 a millisecond. */
const ASKS_PER_MS = 2;
const BURST = 500;

/** A load balancer that has sent no mark since so many asks is probably one that knows none, */
const PATIENCE = 32;
/** and is asked this often. */
const PROBE_MS = 10_000;

export class AskLimits {
  /** The hash of the flow that each slot is about, how many asks it got, and when the last one. */
  private readonly hashes = new Int32Array(SLOTS);
  private readonly counts = new Uint8Array(SLOTS);
  private readonly asked = new Int32Array(SLOTS);
  private readonly all = new TokenBucket(ASKS_PER_MS, BURST);
  /** Slots in use, at most: those that were filled and not answered. */
  private open = 0;

  /** Whether the flow with this hash is to be asked about now. If so, that counts as done. */
  isTime(lb: KnownLoadBalancer, hash: number, now: Ticks): boolean {
    if (!this.isPatient(lb, now)) return false;
    const slot = hash & (SLOTS - 1);
    const sinceMs = (now - this.asked[slot]) >>> 0;
    const isFree = this.counts[slot] === 0 || sinceMs >= FORGOTTEN_MS;
    if (!isFree && (this.hashes[slot] !== hash || sinceMs < BETWEEN_MS)) return false;
    if (!isFree && this.counts[slot] >= ASKS_PER_FLOW) return false;
    if (!this.all.take(now)) return false;
    if (this.counts[slot] === 0) this.open++;
    if (isFree) this.counts[slot] = 0;
    this.hashes[slot] = hash;
    this.counts[slot]++;
    this.asked[slot] = now;
    lb.unanswered++;
    lb.lastAsk = now;
    return true;
  }

  private isPatient(lb: KnownLoadBalancer, now: Ticks): boolean {
    return lb.unanswered < PATIENCE || (now - lb.lastAsk) >>> 0 >= PROBE_MS;
  }

  /** Whether a load balancer's marks may be answers, so that `answer` has to hear of them. */
  get areOpen(): boolean {
    return this.open > 0;
  }

  /** A mark for the flow with this hash has come. Whether that answers an ask. */
  answer(hash: number, now: Ticks): boolean {
    const slot = hash & (SLOTS - 1);
    if (this.counts[slot] === 0 || this.hashes[slot] !== hash) return false;
    this.counts[slot] = 0;
    this.open--;
    return (now - this.asked[slot]) >>> 0 < FORGOTTEN_MS;
  }
}
