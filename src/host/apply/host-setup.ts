/**
 * Makes a plan's changes, undoes them, and goes from one plan to another by the difference. Every change is logged, and
 * its undo is written down for `cleanup`, before it is made.
 */
import { ExitCode, OperatorError } from '../../errors.js';
import { commandFailed, complaint, type Outcome, run } from '../command.js';
import type { HostLog } from '../log.js';
import type { Change, NftChange } from '../plan/change.js';
import type { OwnedTables } from '../plan/nft.js';
import { ownedCommand, upCommand } from '../plan/script.js';
import type { LocalRule } from '../state.js';
import { readSysctl, writeSysctl } from '../sysctl.js';
import { difference } from './difference.js';
import { UndoJournal, undosOf } from './journal.js';
import { withHostLock } from './lock.js';
import { TableOwner } from './table-owner.js';
import { EXISTS, MISSING, makeUndone, undoAll } from './undo.js';

export class HostSetup {
  /** The commands that the changes were made with, by their keys. */
  private readonly made = new Map<string, string>();
  /** The owners of tables that go with the process, by the tables' id: no undos are written down for these. */
  private readonly owners = new Map<string, TableOwner>();
  private readonly journal: UndoJournal;

  /** `localRules`: where they were, if the plan moves them. */
  constructor(
    private readonly tun: string,
    localRules: readonly LocalRule[],
    private readonly log: HostLog,
  ) {
    this.journal = new UndoJournal(tun, localRules);
  }

  /** Whether a killed predecessor has left changes behind, which are taken over. */
  get hasPredecessor(): boolean {
    return this.journal.hasPredecessor;
  }

  /**
   * Makes the changes that are new, then undoes those that are no longer wanted, ours or a killed predecessor's. Throws at
   * the first change that fails. `down` then undoes the others.
   */
  change(changes: readonly Change[]): Promise<void> {
    return withHostLock(() => this.changeTo(changes));
  }

  private async changeTo(changes: readonly Change[]): Promise<void> {
    const { make, undo, makeSure } = difference(changes, this.made, this.journal.entries);
    for (const change of make) await this.make(change);
    for (const entry of undo) {
      await makeUndone(this.tun, entry, this.log);
      this.journal.strike(entry.key);
    }
    for (const change of makeSure) await this.make(change);
    const owned = new Set(changes.map(change => (change.kind === 'nft' ? change.owned?.id : undefined)));
    await this.close(id => !owned.has(id));
    const keys = new Set(changes.map(({ key }) => key));
    for (const key of this.made.keys()) if (!keys.has(key)) this.made.delete(key);
  }

  /** Undoes everything. Safe to call twice. */
  async down(): Promise<void> {
    await this.close(() => true); // the way in: opened last, closed first
    await withHostLock(async () => {
      await undoAll(this.tun, this.journal.entries, this.log);
      this.journal.close();
    });
    this.made.clear();
  }

  /** Ids of owned tables that should be there and are missing at the moment. */
  missing(): string[] {
    return [...this.owners].filter(([, owner]) => !owner.isThere).map(([id]) => id);
  }

  private async make(change: Change): Promise<void> {
    this.made.delete(change.key);
    await this.makeIt(change);
    this.made.set(change.key, upCommand(change));
  }

  private async makeIt(change: Change): Promise<void> {
    if (change.kind === 'tun') return; // the process holds it already, and it goes with the process
    if (change.kind === 'sysctl' && this.isSet(change.key, change.value)) return;
    if (change.kind === 'nft' && change.owned !== undefined) await this.makeOwned(change, change.owned);
    else await this.makeLasting(change);
  }

  /** Makes tables that go with the process. If nft or the kernel can't, makes tables that have to be undone. */
  private async makeOwned(change: NftChange & Change, owned: OwnedTables): Promise<void> {
    this.say(ownedCommand(owned), change.reason);
    const owner = this.owners.get(owned.id) ?? new TableOwner(this.log);
    const outcome = await owner.put(owned);
    if (outcome.status === 0) {
      this.owners.set(owned.id, owner);
      for (const id of change.tables) this.journal.strike(id); // lasting ones that it has replaced
      return;
    }
    if (this.owners.has(owned.id)) throw nftFailed(['-i'], outcome);
    await this.makeLasting(change);
    this.log.warn(
      `${owned.id} will stay if the process is killed: nft refused to make it with \`flags owner\`, which needs ` +
        `Linux 5.12 and nftables 0.9.9: ${complaint(outcome)}`,
    );
  }

  private async makeLasting(change: Exclude<Change, { kind: 'tun' }>): Promise<void> {
    this.say(upCommand(change), change.reason);
    // The undo of a change that another shim has made is noted as well: the last shim undoes it.
    const ours = undosOf(change).filter(undo => this.journal.note(undo) && !this.journal.isShared(undo.key));
    if (change.kind === 'sysctl') return writeSysctl(change.key, change.value);
    const outcome = await (change.kind === 'ip' ? run('ip', change.up) : run('nft', ['-f', '-'], change.up));
    if (outcome.status === 0) return;
    // The change did not happen, or was there before us. Neither is ours to undo.
    for (const { key } of ours) this.journal.strike(key);
    if (change.kind === 'nft') throw nftFailed(['-f', '-'], outcome);
    if (EXISTS.test(outcome.stderr) || (ours.length === 0 && MISSING.test(outcome.stderr))) return;
    throw commandFailed('ip', change.up, outcome);
  }

  private say(text: string, reason: string): void {
    for (const line of `${text}  # ${reason}`.split('\n')) this.log.info(`host: ${line}`);
  }

  private async close(isUnwanted: (id: string) => boolean): Promise<void> {
    for (const [id, owner] of this.owners) {
      if (!isUnwanted(id)) continue;
      this.log.info(`host: nft -i ends, and ${id} with it`);
      this.owners.delete(id);
      await owner.close();
    }
  }

  /** Whether a setting has this value without any shim. */
  private isSet(key: string, value: string): boolean {
    return readSysctl(key) === value && !this.journal.isShared(key);
  }
}

/** The error for nft. The kernel may lack a hook or an expression that the rules need. */
function nftFailed(args: readonly string[], outcome: Outcome): OperatorError {
  const failed = commandFailed('nft', args, outcome);
  if (!/not supported|No such file/.test(outcome.stderr)) return failed;
  return new OperatorError(
    `${failed.message}; a kernel with nftables, conntrack and the netdev egress hook (5.16 or later) is needed`,
    ExitCode.unavailable,
  );
}
