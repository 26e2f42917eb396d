/**
 * What a `run` has changed on this host, written down before it is changed, so that a `cleanup` or the next `run` can
 * undo it after a kill. One file per network namespace and TUN.
 */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Family } from './family.js';
import { ipKey, tablesIn } from './keys.js';
import { RUN_DIRECTORY, runPath } from './run-directory.js';

const STATE = '.json';

/** What takes back one change of one thing. */
export type UndoEntry = IpUndo | NftUndo | SysctlUndo;

export interface IpUndo {
  kind: 'ip';
  key: string;
  /** Arguments of `ip`. */
  args: readonly string[];
}

/** Takes a table away. */
export interface NftUndo {
  kind: 'nft';
  /** The table's id, such as `table ip uoa_uoa0`. */
  key: string;
  script: string;
}

/** Put back only if the value is still the one that we set. */
export interface SysctlUndo {
  kind: 'sysctl';
  /** The setting's name. */
  key: string;
  value: string;
  before: string;
}

/** The rule for the table local. */
export interface LocalRule {
  family: Family;
  priority: number;
  /** Which program made it, as `ip -d rule` has it: kernel, unless the rule was moved. */
  protocol: string;
}

export interface HostState {
  /** Where the local rules were, as far as the plan moves them. */
  localRules?: LocalRule[];
  /** In the order in which the changes were made; one for each key. */
  undo: UndoEntry[];
}

function statePath(tun: string): string {
  return runPath(`${tun}${STATE}`);
}

/** What is written down for this TUN, or undefined. */
export function readState(tun: string): HostState | undefined {
  try {
    return parseState(readFileSync(statePath(tun), 'utf8'));
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
export function isShared(tun: string, key: string): boolean {
  return readOtherStates(tun).some(state => state.undo.some(other => other.key === key));
}

/** Writes the file in one step: a kill leaves the old one or the new one. */
export function writeState(tun: string, state: HostState): void {
  const path = statePath(tun);
  writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** Safe to call twice. */
export function removeState(tun: string): void {
  rmSync(statePath(tun), { force: true });
}

// ---- older versions ------------------------------------------------------------------------------------------

/** What a version wrote that had keys for settings only, and one script for all tables of a change. */
type KeylessUndo = Omit<IpUndo, 'key'> | Omit<NftUndo, 'key'>;

/** The content of a state file, of this version or an older one. */
export function parseState(text: string): HostState {
  const { undo, ...state } = JSON.parse(text) as { undo: (UndoEntry | KeylessUndo)[] };
  return { ...state, undo: undo.flatMap(entry => ('key' in entry ? entry : withKeys(entry))) };
}

function withKeys(entry: KeylessUndo): UndoEntry[] {
  return entry.kind === 'ip' ? [ipUndo(entry.args)] : tablesIn(entry.script).map(nftUndo);
}

/** The undo that `ip` makes with these arguments. */
export function ipUndo(args: readonly string[]): IpUndo {
  return { kind: 'ip', key: ipKey(args), args };
}

/** The undo that takes a table away, which need not be there. */
export function nftUndo(id: string): NftUndo {
  return { kind: 'nft', key: id, script: `${id}\ndelete ${id}` };
}
