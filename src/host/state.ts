/**
 * What a `run` has changed on this host, written down before it is changed, so that a `cleanup` or the next
 * `run` can undo it after a kill. One file per network namespace and TUN, on a file system that a reboot empties,
 * as it does the changes.
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { namespaceCookie } from '../io/namespace.js';
import type { Family } from './family.js';

export const RUN_DIRECTORY = '/run/uoa-shim';
const STATE = '.json';

/** Put back only if the value is still the one that we set. */
export interface SysctlUndo {
  kind: 'sysctl';
  key: string;
  value: string;
  before: string;
}

export type Undo = { kind: 'ip'; args: readonly string[] } | { kind: 'nft'; script: string } | SysctlUndo;

/** The rule for the table local. */
export interface LocalRule {
  family: Family;
  priority: number;
  /** Who made it, as `ip -d rule` has it: kernel, unless somebody moved it. */
  protocol: string;
}

export interface HostState {
  /** Where the local rules were, as far as the plan moves them. */
  localRules?: LocalRule[];
  /** In the order in which the changes were made. */
  undo: Undo[];
}

/** A path in the run directory for something of this network namespace. */
export function runPath(name: string): string {
  namespace ??= namespaceName();
  return join(RUN_DIRECTORY, `${namespace}-${name}`);
}

let namespace: string | undefined;

/** What tells this network namespace from every other until the next boot: inodes are used again, cookies are not. */
function namespaceName(): string {
  const cookie = namespaceCookie();
  return cookie === 0n ? `inode${statSync('/proc/self/ns/net').ino}` : `ns${cookie}`;
}

export function makeRunDirectory(): void {
  mkdirSync(RUN_DIRECTORY, { recursive: true, mode: 0o755 });
}

function statePath(tun: string): string {
  return runPath(`${tun}${STATE}`);
}

/** What is written down for this TUN, or undefined. */
export function readState(tun: string): HostState | undefined {
  try {
    return JSON.parse(readFileSync(statePath(tun), 'utf8')) as HostState;
  } catch {
    return undefined;
  }
}

/** What is written down for the other TUNs of this network namespace. */
export function readOtherStates(tun: string): HostState[] {
  const ours = basename(statePath(tun));
  const prefix = basename(runPath(''));
  const files = existsSync(RUN_DIRECTORY) ? readdirSync(RUN_DIRECTORY) : [];
  return files
    .filter(file => file.startsWith(prefix) && file.endsWith(STATE) && file !== ours)
    .flatMap(file => readState(file.slice(prefix.length, -STATE.length)) ?? []);
}

/** Whether another shim of this network namespace has made the same change, and is still to undo it. */
export function isShared(tun: string, undo: Undo): boolean {
  const text = JSON.stringify(undo);
  return readOtherStates(tun).some(state => state.undo.some(other => JSON.stringify(other) === text));
}

export function writeState(tun: string, state: HostState): void {
  const path = statePath(tun);
  writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

export function removeState(tun: string): void {
  rmSync(statePath(tun), { force: true });
}
