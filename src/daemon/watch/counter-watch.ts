/** What has gone wrong since the last look, from the counters: how a busy data plane warns without a log a packet. */
export class CounterWatch {
  private before: Record<string, number>;

  /** `worrying`: counters, and in words what they count. */
  constructor(
    private readonly worrying: readonly (readonly [string, string])[],
    private readonly read: () => Record<string, number>,
  ) {
    this.before = read();
  }

  /** One line about everything that went up since the last call, or undefined. */
  look(): string | undefined {
    const now = this.read();
    const parts = this.worrying
      .map(([name, words]) => ({ count: now[name] - this.before[name], words }))
      .filter(({ count }) => count > 0)
      .map(({ count, words }) => `${count} ${words}`);
    this.before = now;
    return parts.length === 0 ? undefined : parts.join(', ');
  }
}
