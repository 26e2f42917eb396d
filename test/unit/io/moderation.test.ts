import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import { Moderation } from '../../../src/io/moderation.js';

/** A load of `rate` packets a second, read by `count` at a time for `ms` from `begin` on. */
function load(moderation: Moderation, rate: number, { begin = 1000, ms = 100, count = 4 } = {}): void {
  const reads = (rate * ms) / 1000 / count;
  for (let i = 1; i <= reads; i++) moderation.note(count, (begin + Math.floor((i * ms) / reads)) | 0);
}

function pauseAt(rate: number, limit = 50): number {
  const moderation = new Moderation(limit);
  load(moderation, rate);
  return moderation.pauseUs;
}

describe('a pause between reads', () => {
  it('is as long as three quarters of a batch take to come, up to the limit', () => {
    expect(pauseAt(240_000)).toBe(50);
    expect(pauseAt(480_000)).toBeGreaterThanOrEqual(25);
    expect(pauseAt(480_000)).toBeLessThanOrEqual(26);
    expect(pauseAt(480_000, 20)).toBe(20);
    expect(pauseAt(240_000, 1000)).toBeLessThanOrEqual(51);
  });

  it('is 0 while the longest would bring fewer than 4 packets', () => {
    expect([0, 2000, 50_000, 79_000].map(rate => pauseAt(rate))).toEqual([0, 0, 0, 0]);
    expect(pauseAt(90_000)).toBe(50);
    expect(pauseAt(90_000, 20)).toBe(0);
  });

  it('is 0 where the limit is 0', () => {
    expect(pauseAt(480_000, 0)).toBe(0);
  });

  it('is 0 after a full batch: more packets are waiting', () => {
    const moderation = new Moderation(50);
    load(moderation, 240_000);
    moderation.note(BATCH, 1100);
    expect(moderation.pauseUs).toBe(0);
    moderation.note(3, 1100);
    expect(moderation.pauseUs).toBe(50);
  });

  it('ends with the load, and comes back with it', () => {
    const moderation = new Moderation(50);
    load(moderation, 240_000);
    moderation.note(0, 1200);
    expect(moderation.pauseUs).toBe(0);
    moderation.note(1, 1201);
    expect(moderation.pauseUs).toBe(0);
    load(moderation, 240_000, { begin: 5000 });
    expect(moderation.pauseUs).toBe(50);
  });

  it('is the same where ticks turn negative', () => {
    const moderation = new Moderation(50);
    load(moderation, 240_000, { begin: 2 ** 31 - 50 });
    expect(moderation.pauseUs).toBe(50);
  });
});
