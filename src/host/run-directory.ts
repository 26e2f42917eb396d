/** The directory for locks and state files, and the names of this network namespace's files in it. */
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { namespaceCookie } from '../io/namespace.js';

/** On a file system that a reboot empties, as it does the changes that are written down here. */
export const RUN_DIRECTORY = '/run/uoa-shim';

/** To be called before the first file is written. */
export function makeRunDirectory(): void {
  mkdirSync(RUN_DIRECTORY, { recursive: true, mode: 0o755 });
}

/** A path in the run directory for something of this network namespace. */
export function runPath(name: string): string {
  namespace ??= namespaceName();
  return join(RUN_DIRECTORY, `${namespace}-${name}`);
}

/** Where the flows of the shim on this TUN outlive it (dataplane/flow-file.ts). */
export function flowPath(tun: string): string {
  return runPath(`${tun}.flows`);
}

/** Removes that file, and what a killed or failed start has left beside it; false if there was none. */
export function removeFlows(tun: string): boolean {
  const path = flowPath(tun);
  const isThere = existsSync(path);
  for (const end of ['', '.new', '.bad']) rmSync(`${path}${end}`, { force: true });
  return isThere;
}

let namespace: string | undefined;

/** What tells this network namespace from every other until the next boot: inodes are used again, cookies are not. */
function namespaceName(): string {
  const cookie = namespaceCookie();
  return cookie === 0n ? `inode${statSync('/proc/self/ns/net').ino}` : `ns${cookie}`;
}
