/** The life of a running shim: what was taken up, step by step, and is taken down in the reverse order. */
import type { HostLog } from '../host/log.js';

/** Takes one thing down again. */
export type Teardown = () => void | Promise<void>;

export class Lifecycle {
  private current: 'starting' | 'running' | 'stopping' = 'starting';
  private readonly teardowns: Teardown[] = [];

  get state(): 'starting' | 'running' | 'stopping' {
    return this.current;
  }

  /** Everything is up. */
  started(): void {
    this.current = 'running';
  }

  /** To be called after each step of the start, with what takes that step back. */
  onStop(teardown: Teardown): void {
    this.teardowns.push(teardown);
  }

  /** Takes everything down. A teardown that fails is logged, and the others follow. Safe to call twice. */
  async stop(log: HostLog): Promise<void> {
    this.current = 'stopping';
    for (const teardown of this.teardowns.splice(0).reverse())
      try {
        await teardown();
      } catch (error) {
        log.warn(`stop: ${(error as Error).message}`);
      }
  }
}
