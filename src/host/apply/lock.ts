/** Locks on what only one shim of a network namespace may use, such as a TUN. The kernel frees them if the holder dies. */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode, OperatorError } from '../../errors.js';
import { native } from '../../io/native.js';
import { makeRunDirectory, RUN_DIRECTORY, runPath } from '../run-directory.js';

const LOCK = '.lock';

export interface Lock {
  /** Safe to call twice. */
  unlock(): void;
}

/** Takes the lock of this name, such as "TUN uoa0". Returns undefined if a living process has it. */
export function tryLock(name: string): Lock | undefined {
  makeRunDirectory();
  return tryLockFile(lockPath(name));
}

function tryLockFile(path: string): Lock | undefined {
  for (;;) {
    const fd = openSync(path, 'a+', 0o600);
    if (native.lockFile(fd) < 0) {
      closeSync(fd);
      return undefined;
    }
    // A holder that was just ending may have removed the file between our opening and locking it.
    if (fstatSync(fd).ino === statSync(path, { throwIfNoEntry: false })?.ino) return holding(fd, path);
    closeSync(fd);
  }
}

/** Takes the locks on all of `names`. Throws an OperatorError, and takes none, if another process has one of them. */
export function lockAll(names: readonly string[]): Lock {
  const locks: Lock[] = [];
  const unlock = (): void => {
    for (const lock of locks.splice(0)) lock.unlock();
  };
  for (const name of names) {
    const lock = tryLock(name);
    if (lock === undefined) {
      unlock();
      throw new OperatorError(`${name} is in use by another uoa-shim, ${holderOf(name)}`, ExitCode.failed);
    }
    locks.push(lock);
  }
  return { unlock };
}

/** Removes the lock files that killed processes have left in this network namespace. */
export function removeStaleLocks(): void {
  const ours = basename(runPath(''));
  for (const file of readdirSync(RUN_DIRECTORY))
    if (file.startsWith(ours) && file.endsWith(LOCK)) tryLockFile(join(RUN_DIRECTORY, file))?.unlock();
}

/** The process that has a lock, as text. */
export function holderOf(name: string): string {
  try {
    return `process ${readFileSync(lockPath(name), 'utf8').trim()}`;
  } catch {
    return 'which is just ending';
  }
}

function lockPath(name: string): string {
  return runPath(`${name.replaceAll(' ', '-')}${LOCK}`);
}

function holding(fd: number, path: string): Lock {
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  let isLocked = true;
  return {
    unlock() {
      if (!isLocked) return;
      isLocked = false;
      rmSync(path, { force: true });
      closeSync(fd);
    },
  };
}

const HOST = 'host';
const HOST_TIMEOUT_MS = 30_000;
const HOST_RETRY_MS = 20;

/**
 * Acts while no other shim of this network namespace changes the host, so that what several of them share is undone by
 * the last. Throws an OperatorError if another takes too long.
 */
export async function withHostLock<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + HOST_TIMEOUT_MS;
  let lock = tryLock(HOST);
  while (lock === undefined) {
    if (performance.now() > deadline)
      throw new OperatorError(`another uoa-shim is changing this host, ${holderOf(HOST)}`, ExitCode.failed);
    await sleep(HOST_RETRY_MS);
    lock = tryLock(HOST);
  }
  try {
    return await act();
  } finally {
    lock.unlock();
  }
}
