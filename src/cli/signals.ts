/** The signals that a running shim obeys, one after the other. */

export type Signal = 'SIGTERM' | 'SIGINT' | 'SIGHUP';

/** From its making on, none of these signals ends the process: each waits until `next` is called. */
export class Signals {
  private readonly pending: Signal[] = [];
  private wake: (() => void) | undefined;

  constructor() {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const)
      process.on(signal, () => {
        this.pending.push(signal);
        this.wake?.();
      });
  }

  async next(): Promise<Signal> {
    for (;;) {
      const signal = this.pending.shift();
      if (signal !== undefined) return signal;
      await new Promise<void>(resolve => {
        this.wake = resolve;
      });
    }
  }
}
