import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import * as linux from '../../../src/io/linux.js';
import { check, constant, NO_FD, native } from '../../../src/io/native.js';

const { EBADF, EINVAL } = constants.errno;

describe('an argument of the addon', () => {
  const four = new Int32Array(4);
  const bytes = new Uint8Array(100);

  it.each([
    ['none', () => Reflect.apply(native.closeDescriptor, native, [])],
    ['a text for a number', () => Reflect.apply(native.closeDescriptor, native, ['3'])],
    ['a number for a text', () => Reflect.apply(native.openTun, native, [3])],
    ['words for bytes', () => Reflect.apply(native.writeBatch, native, [NO_FD, four, four, four, four, 0])],
    ['bytes for words', () => Reflect.apply(native.writeBatch, native, [NO_FD, bytes, bytes, four, four, 0])],
  ])('of a wrong type throws a TypeError: %s', (_, call) => {
    expect(call).toThrow(TypeError);
  });

  it.each([
    ['an offset below the memory', [-1], [1], 1],
    ['a length below 0', [0], [-1], 1],
    ['an end behind the memory', [90], [11], 1],
    ['more packets than offsets', [0], [1], 2],
    ['fewer packets than none', [0], [1], -1],
    [
      'more packets than a batch holds',
      new Array<number>(linux.MAX_BATCH + 1).fill(0),
      new Array<number>(linux.MAX_BATCH + 1).fill(1),
      linux.MAX_BATCH + 1,
    ],
  ])('outside its memory throws a RangeError: %s', (_, offsets, lengths, count) => {
    const results = new Int32Array(Math.max(count, 1));
    const call = (batch: typeof native.writeBatch) => () =>
      batch(NO_FD, bytes, Int32Array.from(offsets), Int32Array.from(lengths), results, count);
    for (const batch of [native.readBatch, native.receiveBatch, native.writeBatch])
      expect(call(batch)).toThrow(RangeError);
    expect(call((fd, ...rest) => native.sendBatch(fd, fd, ...rest))).toThrow(RangeError);
  });

  it('with fewer results than packets throws a RangeError', () => {
    const two = new Int32Array(2);
    expect(() => native.writeBatch(NO_FD, bytes, two, two, new Int32Array(1), 2)).toThrow(RangeError);
  });
});

describe('a batch', () => {
  let directory: string;
  let fd: number;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'uoa-shim-native-'));
    fd = openSync(join(directory, 'file'), 'w+');
  });

  afterEach(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true, force: true });
  });

  it('is written a packet at a time, and its lengths stay as they are', () => {
    const lengths = Int32Array.of(2, 3);
    const results = Int32Array.of(99, 99, 99);
    const memory = Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(native.writeBatch(fd, memory, Int32Array.of(0, 4), lengths, results, 2)).toBe(0);
    expect([[...lengths], [...results]]).toEqual([
      [2, 3],
      [0, 0, 99],
    ]);
    expect([...readFileSync(join(directory, 'file'))]).toEqual([1, 2, 5, 6, 7]);
  });

  it('has the errno of each packet that was not written', () => {
    const results = new Int32Array(2);
    const both = Int32Array.of(1, 1);
    expect(native.writeBatch(NO_FD, new Uint8Array(4), both, both, results, 2)).toBe(2);
    expect([...results]).toEqual([-EBADF, -EBADF]);
  });

  it('is read up to the end, no packet longer than it may be', () => {
    native.writeBatch(fd, Uint8Array.of(1, 2, 3), Int32Array.of(0), Int32Array.of(3), new Int32Array(1), 1);
    const reader = openSync(join(directory, 'file'), 'r');
    const memory = new Uint8Array(20).fill(0xa5);
    const lengths = Int32Array.of(2, 4, 4);
    const results = Int32Array.of(99, 99, 99);
    expect(native.readBatch(reader, memory, Int32Array.of(10, 0, 5), lengths, results, 3)).toBe(2);
    closeSync(reader);
    expect([[...lengths], [...results]]).toEqual([
      [2, 4, 4],
      [2, 1, 99],
    ]);
    expect([memory[10], memory[11], memory[0], memory[1]]).toEqual([1, 2, 3, 0xa5]);
  });

  it('that cannot be read gives an errno', () => {
    const one = Int32Array.of(1);
    expect(native.readBatch(NO_FD, new Uint8Array(4), one, one, one, 1)).toBe(-EBADF);
    expect(native.receiveBatch(NO_FD, new Uint8Array(4), one, one, one, 1)).toBe(-EBADF);
  });

  it('of IP packets is sent in spite of a packet without a whole header, which gets EINVAL', () => {
    const memory = new Uint8Array(80).fill(0x45, 0, 40).fill(0x60, 40);
    const offsets = Int32Array.of(0, 0, 40, 40);
    const results = new Int32Array(4);
    expect(native.sendBatch(NO_FD, NO_FD, memory, offsets, Int32Array.of(20, 19, 40, 0), results, 4)).toBe(4);
    expect([...results]).toEqual([-EBADF, -EINVAL, -EBADF, -EINVAL]);
  });
});

describe('wait', () => {
  it('ends with an event, and drains it', () => {
    const fd = check('eventfd', native.openEvent());
    expect(native.wait(NO_FD, fd, 0)).toBe(0);
    native.signalEvent(fd);
    native.signalEvent(fd);
    expect(native.wait(NO_FD, fd, -1)).toBe(linux.WAIT_EVENT);
    expect(native.wait(NO_FD, fd, 0)).toBe(0);
    native.closeDescriptor(fd);
  });

  it('tells data from a descriptor that is closed', () => {
    const fd = check('eventfd', native.openEvent());
    native.signalEvent(fd);
    expect(native.wait(fd, NO_FD, -1)).toBe(linux.WAIT_DATA);
    native.closeDescriptor(fd);
    expect(native.wait(fd, NO_FD, -1)).toBe(linux.WAIT_BROKEN);
  });
});

describe('clock', () => {
  it('gives whole numbers of 32 bits that count up', () => {
    const now = native.clock();
    expect(now).toBe(now | 0);
    expect((native.clock() - now) | 0).toBeGreaterThanOrEqual(0);
  });
});

describe('the numbers of the addon', () => {
  it('are all there, with the values of the headers', () => {
    for (const [name, value] of Object.entries(linux)) expect(value, name).toEqual(expect.any(Number));
    expect(linux).toMatchObject({ AF_INET: 2, SOCK_DGRAM: expect.any(Number), IPPROTO_IPV6: 41, IP_MTU: 14 });
  });

  it('that it does not have are an error with their name', () => {
    expect(() => constant('SO_NOTHING')).toThrow('the addon has no SO_NOTHING');
  });
});
