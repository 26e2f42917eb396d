/** Numbers that are written in two places, because one of them is the addon's: where they don't fit, nothing starts. */
import { VIRTIO_HEADER } from '../codec/virtio.js';
import { MAX_BATCH, TUN_HEADER } from './linux.js';

/** Throws if the addon does not take so many pieces in one call. */
export function checkBatch(capacity: number, maxBatch = MAX_BATCH): void {
  if (capacity > maxBatch)
    throw new Error(`a batch of ${capacity} is more than the addon takes: ${maxBatch} (MAX_BATCH)`);
}

/** Throws if the TUN's header is not as long as the addon asks the kernel for. */
export function checkTunHeader(ours = VIRTIO_HEADER, addons = TUN_HEADER): void {
  if (ours !== addons)
    throw new Error(
      `the TUN's header has ${ours} bytes in codec/virtio.ts, and ${addons} in the addon (VIRTIO_HEADER)`,
    );
}
