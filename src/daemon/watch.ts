/** What has gone wrong since the last look, from the counters: how a busy data plane warns without a log a packet. */
import type { CounterName } from '../role/counters.js';

const WORTH_A_WARNING: readonly [CounterName, string][] = [
  ['uoa_invalid', 'malformed marks or impossible clients'],
  ['dropped_malformed', 'malformed packets dropped'],
  ['dropped_io', 'packets that the kernel refused'],
  ['uoa_ack_fail', 'ACKs that could not be sent'],
  ['flows_evicted', 'flows pushed out of a full table (realServer.maxFlows)'],
  ['fragments_dropped', 'fragments dropped'],
];

export class CounterWatch {
  private before: Record<CounterName, number>;

  constructor(private readonly read: () => Record<CounterName, number>) {
    this.before = read();
  }

  /** One line about everything that went up since the last call, or undefined. */
  look(): string | undefined {
    const now = this.read();
    const parts = WORTH_A_WARNING.map(([name, words]) => ({ count: now[name] - this.before[name], words }))
      .filter(({ count }) => count > 0)
      .map(({ count, words }) => `${count} ${words}`);
    this.before = now;
    return parts.length === 0 ? undefined : parts.join(', ');
  }
}
