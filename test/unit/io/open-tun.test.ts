import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { offloadTun, openTun } from '../../../src/io/open-tun.js';
import { FakeKernel } from '../support/fake-kernel.js';

const { EBUSY, EINVAL, EPERM } = constants.errno;

describe('openTun', () => {
  it('gives the descriptor once a TUN is no longer busy', () => {
    const kernel = new FakeKernel();
    kernel.openAnswers.push(-EBUSY, -EBUSY, 7);
    expect(openTun(kernel, 'uoa0')).toBe(7);
  });

  it('throws at once for another errno, with the TUN’s name', () => {
    const kernel = new FakeKernel();
    kernel.openAnswers.push(-EPERM, 7);
    expect(() => openTun(kernel, 'uoa0')).toThrow('open TUN uoa0: EPERM');
    expect(kernel.openAnswers).toEqual([7]);
  });
});

describe('offloadTun', () => {
  it('asks for checksums and USO of both families together, or for nothing', () => {
    const kernel = new FakeKernel();
    expect([offloadTun(kernel, 5, true), offloadTun(kernel, 5, false)]).toEqual([true, true]);
    expect(kernel.offloads).toEqual([0x61, 0]);
  });

  it('is false on a kernel that does not know USO', () => {
    const kernel = new FakeKernel();
    kernel.offloadAnswer = -EINVAL;
    expect(offloadTun(kernel, 5, true)).toBe(false);
  });
});
