/**
 * Who uses a TUN or a routing table of this network namespace: a lock that its holder's death frees.
 */
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
  release(): void;
}

/** Takes the lock on `what` (such as "TUN uoa0"); undefined if a living process has it. */
export function tryLock(what: string): Lock | undefined {
  makeRunDirectory();
  return tryLockFile(lockPath(what));
}

function tryLockFile(path: string): Lock | undefined {
  for (;;) {
    const fd = openSync(path, 'a+', 0o600);
    if (native.lockFile(fd) < 0) {
      closeSync(fd);
      return undefined;
    }
    // A holder that was just leaving may have removed the file between our opening and locking it.
    if (fstatSync(fd).ino === statSync(path, { throwIfNoEntry: false })?.ino) return holding(fd, path);
    closeSync(fd);
  }
}

/** Takes the locks on all of `whats`, or none of them and throws. */
export function lockAll(whats: readonly string[]): Lock {
  const locks: Lock[] = [];
  const release = (): void => {
    for (const lock of locks.splice(0)) lock.release();
  };
  for (const what of whats) {
    const lock = tryLock(what);
    if (lock === undefined) {
      release();
      throw new OperatorError(`${what} is in use by another uoa-shim, ${holderOf(what)}`, ExitCode.failed);
    }
    locks.push(lock);
  }
  return { release };
}

/** Removes what processes that were killed have left of their locks in this network namespace. */
export function removeStaleLocks(): void {
  const ours = basename(runPath(''));
  for (const file of readdirSync(RUN_DIRECTORY))
    if (file.startsWith(ours) && file.endsWith(LOCK)) tryLockFile(join(RUN_DIRECTORY, file))?.release();
}

/** The process that holds a lock, as text. */
export function holderOf(what: string): string {
  try {
    return `process ${readFileSync(lockPath(what), 'utf8').trim()}`;
  } catch {
    return 'which is just ending';
  }
}

function lockPath(what: string): string {
  return runPath(`${what.replaceAll(' ', '-')}${LOCK}`);
}

function holding(fd: number, path: string): Lock {
  ftruncateSync(fd);
  writeSync(fd, `${process.pid}\n`);
  let held = true;
  return {
    release() {
      if (!held) return;
      held = false;
      rmSync(path, { force: true });
      closeSync(fd);
    },
  };
}

const HOST = 'host';
const HOST_PATIENCE_MS = 30_000;
const HOST_STEP_MS = 20;

/** One shim of this network namespace after the other: what several of them share is undone by the last. */
export async function withHostLock<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + HOST_PATIENCE_MS;
  let lock = tryLock(HOST);
  while (lock === undefined) {
    if (performance.now() > deadline)
      throw new OperatorError(`another uoa-shim is changing this host, ${holderOf(HOST)}`, ExitCode.failed);
    await sleep(HOST_STEP_MS);
    lock = tryLock(HOST);
  }
  try {
    return await act();
  } finally {
    lock.release();
  }
}
