/**
 * Making a plan's changes, undoing them, and going from one plan to another by the difference. Every change is
 * logged, and written down for `cleanup`, before it is made.
 */
import { ExitCode, OperatorError } from '../../errors.js';
import { commandFailed, type Outcome, run, said } from '../command.js';
import type { HostLog } from '../log.js';
import type { Change, IpChange, NftChange, SysctlChange } from '../plan/change.js';
import type { OwnedTables } from '../plan/nft.js';
import { ownedCommand, upCommand } from '../plan/script.js';
import {
  type HostState,
  isShared,
  type LocalRule,
  readState,
  removeState,
  type Undo,
  writeState,
} from '../state.js';
import { readSysctl, writeSysctl } from '../sysctl.js';
import { HeldTable } from './held-table.js';
import { withHostLock } from './lock.js';
import { EXISTS, except, GONE, makeUndone, undoAll } from './undo.js';

export class HostSetup {
  /** Commands of the changes made. */
  private readonly made = new Set<string>();
  /** Tables that go with the process, by id: nothing is written down for these. */
  private readonly held = new Map<string, HeldTable>();
  private readonly state: HostState;
  /** Whether there is something of a killed predecessor's, which is taken over. */
  readonly hasPredecessor: boolean;

  /** `localRules`: where they were, if the plan moves them. */
  constructor(
    private readonly tun: string,
    localRules: readonly LocalRule[],
    private readonly log: HostLog,
  ) {
    const left = readState(tun);
    this.hasPredecessor = left !== undefined;
    this.state = { localRules: [...localRules], ...left, undo: left?.undo ?? [] };
  }

  /**
   * Makes the host what `changes` says: first what is new, then without what is no longer wanted, be it ours or a
   * killed predecessor's. Throws at the first change that fails; `down` then undoes the others.
   */
  change(changes: readonly Change[]): Promise<void> {
    return withHostLock(() => this.changeTo(changes));
  }

  private async changeTo(changes: readonly Change[]): Promise<void> {
    for (const change of changes) if (!this.made.has(upCommand(change))) await this.make(change);
    const wanted = new Set(changes.map(change => JSON.stringify(undoOf(change))));
    const tables = new Set(changes.flatMap(change => (change.kind === 'nft' ? change.down.split('\n') : [])));
    for (const undo of this.state.undo.filter(entry => !wanted.has(JSON.stringify(entry))).reverse()) {
      await makeUndone(this.tun, except(undo, tables), this.log);
      this.strike(undo);
    }
    const owned = new Set(changes.map(change => (change.kind === 'nft' ? change.owned?.id : undefined)));
    await this.release(id => !owned.has(id));
    this.made.clear();
    for (const change of changes) this.made.add(upCommand(change));
  }

  /** Undoes everything. Safe to call twice. */
  async down(): Promise<void> {
    await this.release(() => true); // the way in: made last, closed first
    await withHostLock(async () => {
      await undoAll(this.tun, this.state.undo.splice(0), this.log);
      removeState(this.tun);
    });
    this.made.clear();
  }

  /** What should be there and is not, at the moment. */
  gone(): string[] {
    return [...this.held].filter(([, table]) => !table.isThere).map(([id]) => id);
  }

  private async make(change: Change): Promise<void> {
    if (change.kind === 'tun') return; // the process has it already: that is how it lives as long as we do
    if (change.kind === 'sysctl' && readSysctl(change.key) === change.value && !this.isShared(change)) return;
    if (change.kind === 'nft' && change.owned !== undefined) await this.makeOwned(change, change.owned);
    else await this.makeLasting(change);
  }

  /** Makes a table that goes with the process; where nft or the kernel can't, one that has to be undone. */
  private async makeOwned(change: NftChange & Change, owned: OwnedTables): Promise<void> {
    this.say(ownedCommand(owned), change.reason);
    const table = this.held.get(owned.id) ?? new HeldTable(this.log);
    const outcome = await table.put(owned);
    if (outcome.status === 0) {
      this.held.set(owned.id, table);
      this.strike({ kind: 'nft', script: change.down }); // a lasting one that it has replaced
      return;
    }
    if (this.held.has(owned.id)) throw nftFailed(['-i'], outcome);
    await this.makeLasting(change);
    this.log.warn(
      `${owned.id} will stay if the process is killed: nft refused one that goes with it, which takes Linux 5.12 and ` +
        `nftables 0.9.9: ${said(outcome)}`,
    );
  }

  private async makeLasting(change: Exclude<Change, { kind: 'tun' }>): Promise<void> {
    this.say(upCommand(change), change.reason);
    const undo = undoOf(change);
    // Another shim has made it already: then it is undone by the last of us.
    const isNew = undo !== undefined && this.note(undo) && !this.isShared(change);
    if (change.kind === 'sysctl') this.set(change);
    else await this.runFor(change, () => isNew && this.strike(undo));
  }

  private isShared(change: Change): boolean {
    const undo = undoOf(change);
    return undo !== undefined && isShared(this.tun, undo);
  }

  private say(text: string, reason: string): void {
    for (const line of `${text}  # ${reason}`.split('\n')) this.log.info(`host: ${line}`);
  }

  private async release(isUnwanted: (id: string) => boolean): Promise<void> {
    for (const [id, table] of this.held) {
      if (!isUnwanted(id)) continue;
      this.log.info(`host: the end of nft -i, and with it of ${id}`);
      this.held.delete(id);
      await table.close();
    }
  }

  private set({ key, value }: SysctlChange): void {
    try {
      writeSysctl(key, value);
    } catch (error) {
      // Conntrack's settings come with its first user, which is a later change of the same plan.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.log.warn(`host: there is no ${key} yet`);
    }
  }

  /** Runs the change's command; `disown` is called where it did not happen, or had happened before us. */
  private async runFor(change: IpChange | NftChange, disown: () => boolean): Promise<void> {
    const outcome = await (change.kind === 'ip' ? run('ip', change.up) : run('nft', ['-f', '-'], change.up));
    if (outcome.status === 0) return;
    const isOurs = !disown();
    if (change.kind === 'nft') throw nftFailed(['-f', '-'], outcome);
    if (EXISTS.test(outcome.stderr) || (isOurs && GONE.test(outcome.stderr))) return;
    throw commandFailed('ip', change.up, outcome);
  }

  /** Writes an undo down; false if it stands there already. */
  private note(undo: Undo): boolean {
    if (this.find(undo) >= 0) return false;
    this.state.undo.push(undo);
    writeState(this.tun, this.state);
    return true;
  }

  /** Strikes an undo off; false if it wasn't there. */
  private strike(undo: Undo): boolean {
    const at = this.find(undo);
    if (at < 0) return false;
    this.state.undo.splice(at, 1);
    writeState(this.tun, this.state);
    return true;
  }

  private find(undo: Undo): number {
    const text = JSON.stringify(undo);
    return this.state.undo.findIndex(other => JSON.stringify(other) === text);
  }
}

/** Undoes what a killed `run` left behind for this TUN; false if there was nothing. */
export async function undoLeftovers(tun: string, log: HostLog): Promise<boolean> {
  const state = readState(tun);
  if (state === undefined) return false;
  await withHostLock(async () => {
    await undoAll(tun, state.undo, log);
    removeState(tun);
  });
  return true;
}

function undoOf(change: Change): Undo | undefined {
  switch (change.kind) {
    case 'sysctl':
      if (change.before === undefined) return undefined;
      return { kind: 'sysctl', key: change.key, value: change.value, before: change.before };
    case 'ip':
      return change.down === undefined ? undefined : { kind: 'ip', args: change.down };
    case 'nft':
      return { kind: 'nft', script: change.down };
    case 'tun':
      return undefined;
  }
}

/** The kernel may lack a hook or an expression that the rules need. */
function nftFailed(args: readonly string[], outcome: Outcome): OperatorError {
  const failed = commandFailed('nft', args, outcome);
  if (!/not supported|No such file/.test(outcome.stderr)) return failed;
  return new OperatorError(
    `${failed.message}; a kernel with nftables, conntrack and the netdev egress hook (5.16 or later) is needed`,
    ExitCode.unavailable,
  );
}
