import { expect, it } from 'vitest';
import { CtQueries } from '../../../src/io/ct-queries.js';
import { checkBatch, checkTunHeader } from '../../../src/io/limits.js';
import { MAX_BATCH } from '../../../src/io/linux.js';
import { FakeKernel } from '../support/fake-kernel.js';

it('a batch of as many pieces as the addon takes passes', () => {
  checkBatch(64, 64);
  checkBatch(MAX_BATCH);
});

it('a batch of more pieces than the addon takes is an error with both numbers', () => {
  expect(() => checkBatch(65, 64)).toThrow('a batch of 65 is more than the addon takes: 64 (MAX_BATCH)');
  expect(() => new CtQueries(new FakeKernel(), 10, MAX_BATCH)).toThrow('(MAX_BATCH)');
});

it('the TUN’s header has the length that the addon asks for', () => {
  expect(checkTunHeader).not.toThrow();
});

it.each([10, 14])('an addon whose TUN header has %i bytes is an error with both numbers', addons => {
  expect(() => checkTunHeader(12, addons)).toThrow(
    `the TUN's header has 12 bytes in codec/virtio.ts, and ${addons} in the addon (VIRTIO_HEADER)`,
  );
});
