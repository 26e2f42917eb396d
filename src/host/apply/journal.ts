/** One shim's undos, each written to its state file before its change is made. */
import type { Change } from '../plan/change.js';
import {
  type HostState,
  ipUndo,
  isShared,
  type LocalRule,
  nftUndo,
  readState,
  removeState,
  type UndoEntry,
  writeState,
} from '../state.js';

export class UndoJournal {
  /** Whether a killed predecessor has left undos, which are taken over. */
  readonly hasPredecessor: boolean;
  private readonly state: HostState;

  /** `localRules`: where they were, if the plan moves them. */
  constructor(
    private readonly tun: string,
    localRules: readonly LocalRule[],
  ) {
    const left = readState(tun);
    this.hasPredecessor = left !== undefined;
    this.state = { localRules: [...localRules], ...left, undo: left?.undo ?? [] };
  }

  /** In the order in which the changes were made. */
  get entries(): readonly UndoEntry[] {
    return this.state.undo;
  }

  /** Writes an undo down, in the place of one with its key if there is one. Returns whether there was none. */
  note(undo: UndoEntry): boolean {
    const { undo: entries } = this.state;
    const at = entries.findIndex(({ key }) => key === undo.key);
    if (at < 0) entries.push(undo);
    else entries[at] = undo;
    writeState(this.tun, this.state);
    return at < 0;
  }

  /** Strikes off the undos with this key. */
  strike(key: string): void {
    const kept = this.state.undo.filter(entry => entry.key !== key);
    if (kept.length === this.state.undo.length) return;
    this.state.undo = kept;
    writeState(this.tun, this.state);
  }

  /** Whether another shim of this host is to undo the same. */
  isShared(key: string): boolean {
    return isShared(this.tun, key);
  }

  /** Removes the file: nothing is left to undo. */
  close(): void {
    this.state.undo = [];
    removeState(this.tun);
  }
}

/** The undos of a change, one for each thing that it is about; none if it goes with the TUN. */
export function undosOf(change: Change): UndoEntry[] {
  switch (change.kind) {
    case 'sysctl': {
      const { kind, key, value, before } = change;
      return before === undefined ? [] : [{ kind, key, value, before }];
    }
    case 'ip':
      return change.down === undefined ? [] : [ipUndo(change.down)];
    case 'nft':
      return change.tables.map(nftUndo);
    case 'tun':
      return [];
  }
}
