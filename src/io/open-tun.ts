/** Attaching to a TUN. */
import { TUN_F_CSUM, TUN_F_USO4, TUN_F_USO6 } from './linux.js';
import { type Native, SystemCallError } from './native.js';

const BUSY_RETRIES = 20;
const BUSY_PAUSE_MS = 50;

/**
 * Attaches to the TUN `name` and gives its descriptor. The TUN is made if there is none. While a predecessor exits the
 * TUN is busy for a moment, so EBUSY is tried again for a second. Throws a SystemCallError.
 */
export function openTun(native: Native, name: string): number {
  for (let attempt = 0; ; attempt++) {
    const fd = native.openTun(name);
    if (fd >= 0) return fd;
    const error = new SystemCallError(`open TUN ${name}`, -fd);
    if (error.code !== 'EBUSY' || attempt === BUSY_RETRIES) throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PAUSE_MS);
  }
}

/**
 * Has the TUN bring super-packets and leave checksums to its reader, or not. False if this kernel cannot (before Linux
 * 6.2). The kernel takes USO only with checksums, and IPv4's only with IPv6's.
 */
export function offloadTun(native: Native, fd: number, wanted: boolean): boolean {
  return native.setTunOffload(fd, wanted ? TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6 : 0) >= 0;
}
