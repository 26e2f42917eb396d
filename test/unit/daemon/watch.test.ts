import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { watchCounters } from '../../../src/daemon/watch/counter-watch.js';
import { watchPlane } from '../../../src/daemon/watch/plane-watch.js';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

class Plane {
  heartbeat = 0;
  end: () => void = () => {};
  fail: (error: Error) => void = () => {};
  readonly ended = new Promise<void>((resolve, reject) => {
    this.end = resolve;
    this.fail = reject;
  });
}

/** The reason of the rejection, or undefined as long as there is none. */
function reasonOf(failed: Promise<never>): { reason?: string } {
  const seen: { reason?: string } = {};
  failed.catch((error: Error) => {
    seen.reason = error.message;
  });
  return seen;
}

describe('the watch over the data plane', () => {
  it('fails when the heartbeat stands still', async () => {
    const plane = new Plane();
    const watch = watchPlane(plane);
    const seen = reasonOf(watch.failed);
    await vi.advanceTimersByTimeAsync(4000);
    expect(seen.reason).toBeUndefined();
    await vi.advanceTimersByTimeAsync(1000);
    expect(seen.reason).toBe('the data plane is stuck');
    await watch.stop();
  });

  it('does not fail as long as the heart beats now and then', async () => {
    const plane = new Plane();
    const watch = watchPlane(plane);
    const seen = reasonOf(watch.failed);
    for (let i = 0; i < 5; i++) {
      await vi.advanceTimersByTimeAsync(4000);
      plane.heartbeat++;
    }
    expect(seen.reason).toBeUndefined();
    await watch.stop();
  });

  it('does not fail any more when it has been stopped', async () => {
    const watch = watchPlane(new Plane());
    const seen = reasonOf(watch.failed);
    await watch.stop();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(seen.reason).toBeUndefined();
  });

  it('fails when the data plane ends', async () => {
    const plane = new Plane();
    const watch = watchPlane(plane);
    plane.end();
    await expect(watch.failed).rejects.toThrow('the data plane has ended');
    await watch.stop();
  });

  it('fails with the error of a data plane that failed', async () => {
    const plane = new Plane();
    const watch = watchPlane(plane);
    plane.fail(new Error('poll: Bad file descriptor'));
    await expect(watch.failed).rejects.toThrow('poll: Bad file descriptor');
    await watch.stop();
  });
});

describe('the watch over the counters', () => {
  const worrying = [
    ['dropped_io', 'packets that the kernel refused'],
    ['uoa_invalid', 'malformed marks'],
  ] as const;
  const watch = (counters: Record<string, number>) => {
    const warnings: string[] = [];
    const log = { info: () => {}, warn: (message: string) => void warnings.push(message) };
    const stop = watchCounters(worrying, () => ({ ...counters }), log);
    return { warnings, stop };
  };

  it('says nothing as long as only other counters go up', async () => {
    const counters = { dropped_io: 5, uoa_invalid: 0, uoa_got: 0 };
    const { warnings, stop } = watch(counters);
    counters.uoa_got = 1000;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(warnings).toEqual([]);
    await stop();
  });

  it('warns of all that went up in one line', async () => {
    const counters = { dropped_io: 5, uoa_invalid: 0 };
    const { warnings, stop } = watch(counters);
    counters.dropped_io = 7;
    counters.uoa_invalid = 1;
    await vi.advanceTimersByTimeAsync(10_000);
    expect(warnings).toEqual(['2 packets that the kernel refused, 1 malformed marks']);
    await stop();
  });

  it('counts from the warning before', async () => {
    const counters = { dropped_io: 0, uoa_invalid: 0 };
    const { warnings, stop } = watch(counters);
    for (const dropped of [3, 3, 4]) {
      counters.dropped_io = dropped;
      await vi.advanceTimersByTimeAsync(10_000);
    }
    expect(warnings).toEqual(['3 packets that the kernel refused', '1 packets that the kernel refused']);
    await stop();
  });

  it('says nothing any more when it has been stopped', async () => {
    const counters = { dropped_io: 0, uoa_invalid: 0 };
    const { warnings, stop } = watch(counters);
    await stop();
    counters.dropped_io = 1;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(warnings).toEqual([]);
  });
});
