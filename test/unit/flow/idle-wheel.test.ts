import { describe, expect, it } from 'vitest';
import { IdleLinks, IdleWheel } from '../../../src/flow/idle-wheel.js';

function make(records: number, timeout: number): IdleWheel {
  const links = new IdleLinks(new ArrayBuffer(IdleLinks.byteLength(records)), 0, records);
  const wheel = new IdleWheel(new ArrayBuffer(IdleWheel.byteLength(timeout)), 0, links, timeout);
  wheel.clear(0);
  return wheel;
}

function listed(wheel: IdleWheel, bucket: number): number[] {
  const records: number[] = [];
  for (let record = wheel.head(bucket); record >= 0; record = wheel.after(record)) records.push(record);
  return records;
}

describe('IdleWheel', () => {
  it('a wheel has a power of two of buckets, two more than the timeout needs', () => {
    for (const timeout of [0, 1, 1023, 1024, 12_287, 12_288, 360_000, 2 ** 31]) {
      const size = IdleWheel.sizeFor(timeout);
      expect(Math.log2(size) % 1).toBe(0);
      expect(size * 1024).toBeGreaterThan(timeout + 2 * 1024);
      expect(size).toBeLessThanOrEqual(2 ** 22);
    }
  });

  it('a bucket lists its records in the order in which they came', () => {
    const wheel = make(8, 5000);
    for (const record of [3, 1, 7]) wheel.append(record, 2048);
    wheel.append(5, 2047);
    wheel.append(0, 3071);
    expect(listed(wheel, 2)).toEqual([3, 1, 7, 0]);
    expect(listed(wheel, 1)).toEqual([5]);
    expect(listed(wheel, 3)).toEqual([]);
  });

  it('a record can be removed at the front, in the middle and at the end of its bucket', () => {
    const wheel = make(4, 5000);
    for (const gone of [0, 1, 2, 3]) {
      for (const record of [0, 1, 2, 3]) wheel.append(record, 0);
      wheel.remove(gone);
      const rest = [0, 1, 2, 3].filter(record => record !== gone);
      expect(listed(wheel, 0)).toEqual(rest);
      wheel.append(gone, 0);
      expect(listed(wheel, 0)).toEqual([...rest, gone]);
      for (const record of [0, 1, 2, 3]) wheel.remove(record);
      expect(listed(wheel, 0)).toEqual([]);
    }
  });

  it('a moved record is last in its new bucket', () => {
    const wheel = make(3, 5000);
    for (const record of [0, 1, 2]) wheel.append(record, 0);
    wheel.move(0, 1024);
    wheel.move(2, 1024);
    wheel.move(1, 0);
    expect([listed(wheel, 0), listed(wheel, 1)]).toEqual([[1], [0, 2]]);
  });

  it('buckets are numbered on over the end of the ticks', () => {
    const last = IdleWheel.bucketOf(-1);
    expect(last).toBe(2 ** 22 - 1);
    expect(IdleWheel.following(last)).toBe(0);
    expect(IdleWheel.distance(last, 1)).toBe(2);
    expect(IdleWheel.distance(IdleWheel.bucketOf(0x7fffffff), IdleWheel.bucketOf(-0x80000000))).toBe(1);

    const wheel = make(2, 5000);
    wheel.append(0, -1);
    wheel.append(1, 0);
    expect([listed(wheel, last), listed(wheel, 0)]).toEqual([[0], [1]]);
  });
});

describe('the hand of an IdleWheel', () => {
  it('the hand starts at the bucket of the time and goes on over the end of the ticks', () => {
    const wheel = make(1, 5000);
    wheel.clear(-1);
    expect(wheel.hand).toBe(2 ** 22 - 1);
    wheel.advance();
    expect(wheel.hand).toBe(0);
  });

  it('the hand is due once all of its bucket has been idle for the timeout', () => {
    const wheel = make(1, 5000);
    expect([0, 5000, 5000 + 1023, 5000 + 1024].map(now => wheel.isDue(now))).toEqual([
      false,
      false,
      false,
      true,
    ]);
  });

  it('records are ahead of the hand in buckets that it has not come to', () => {
    const wheel = make(1, 5000);
    expect([0, 1023, 1024, 5000].map(tick => wheel.isAhead(tick))).toEqual([false, false, true, true]);
    expect(wheel.isAhead(wheel.size * 1024)).toBe(false);
  });

  it('after a pause the hand skips the rounds that it missed', () => {
    const wheel = make(1, 5000);
    const now = 1000 * 1024;
    wheel.catchUp(now);
    expect(wheel.hand).toBe(1000 - wheel.size + 1);
    wheel.catchUp(now);
    expect(wheel.hand).toBe(1000 - wheel.size + 1);
  });
});
