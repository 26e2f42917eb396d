/**
 * Making a plan's changes, undoing them, and going from one plan to another by the difference. Every change is
 * logged, and written down for `cleanup`, before it is made.
 */
import { commandFailed, run } from './command.js';
import type { LocalRule } from './facts.js';
import type { Change } from './plan.js';
import { command, setCommand, upCommand } from './script.js';
import { type HostState, readState, removeState, type Undo, writeState } from './state.js';
import { readSysctl, writeSysctl } from './sysctl.js';

export interface HostLog {
  info(message: string): void;
  warn(message: string): void;
}

/** What `ip` says where a change was made already, or where what is to be deleted is gone. */
const EXISTS = /File exists/;
const GONE = /No such (file or directory|process|device)|Cannot find device|does not exist/;

export class HostSetup {
  private applied: Change[] = [];
  private readonly state: HostState;

  constructor(
    private readonly tun: string,
    localRule: LocalRule,
    private readonly log: HostLog,
  ) {
    this.state = { pid: process.pid, localRule, undo: [] };
  }

  /** Makes the host what `changes` says. Throws at the first that fails; `down` then undoes the others. */
  async change(changes: readonly Change[]): Promise<void> {
    const before = new Set(this.applied.map(upCommand));
    const after = new Set(changes.map(upCommand));
    for (const change of changes) if (!before.has(upCommand(change))) await this.make(change);
    for (const change of this.applied.filter(change => !after.has(upCommand(change))).reverse()) {
      const undo = undoOf(change);
      if (undo !== undefined && this.forget(undo)) await makeUndone(undo, this.log);
    }
    this.applied = [...changes];
  }

  /** Undoes everything. Safe to call twice. */
  async down(): Promise<void> {
    await undoAll(this.state.undo.splice(0), this.log);
    this.applied = [];
    removeState(this.tun);
  }

  private async make(change: Change): Promise<void> {
    if (change.kind === 'tun') return; // the process has it already: that is how it lives as long as we do
    if (change.kind === 'sysctl' && readSysctl(change.key) === change.value) return;
    this.log.info(`host: ${upCommand(change)}  # ${change.reason}`);
    const undo = undoOf(change);
    if (undo !== undefined) {
      this.state.undo.push(undo);
      writeState(this.tun, this.state);
    }
    if (change.kind === 'sysctl') {
      writeSysctl(change.key, change.value);
      return;
    }
    const outcome = await run('ip', change.up);
    if (outcome.status === 0) return;
    // What did not happen, or was there before us, isn't ours to undo.
    if (undo !== undefined) this.forget(undo);
    if (!EXISTS.test(outcome.stderr)) throw commandFailed('ip', change.up, outcome);
  }

  /** Strikes an undo off the list; false if it wasn't there. */
  private forget(undo: Undo): boolean {
    const text = JSON.stringify(undo);
    const at = this.state.undo.findIndex(other => JSON.stringify(other) === text);
    if (at < 0) return false;
    this.state.undo.splice(at, 1);
    writeState(this.tun, this.state);
    return true;
  }
}

/** Undoes what a killed `run` left behind for this TUN; false if there was nothing. */
export async function undoLeftovers(tun: string, log: HostLog): Promise<boolean> {
  const state = readState(tun);
  if (state === undefined) return false;
  await undoAll(state.undo, log);
  removeState(tun);
  return true;
}

function undoOf(change: Change): Undo | undefined {
  if (change.kind === 'sysctl' && change.before !== undefined)
    return { kind: 'sysctl', key: change.key, value: change.value, before: change.before };
  if (change.kind === 'ip' && change.down !== undefined) return { kind: 'ip', args: change.down };
  return undefined;
}

async function undoAll(undo: readonly Undo[], log: HostLog): Promise<void> {
  for (const entry of [...undo].reverse()) await makeUndone(entry, log);
}

/** Undoes one change. Never throws: what can't be undone is logged, and the rest still gets its turn. */
async function makeUndone(undo: Undo, log: HostLog): Promise<void> {
  try {
    if (undo.kind === 'ip') {
      log.info(`host: ${command('ip', undo.args)}`);
      const outcome = await run('ip', undo.args);
      if (outcome.status !== 0 && !EXISTS.test(outcome.stderr) && !GONE.test(outcome.stderr))
        log.warn(`undo: ${commandFailed('ip', undo.args, outcome).message}`);
    } else if (readSysctl(undo.key) === undo.value) {
      log.info(`host: ${setCommand(undo.key, undo.before)}`);
      writeSysctl(undo.key, undo.before);
    }
  } catch (error) {
    log.warn(`undo: ${(error as Error).message}`);
  }
}
