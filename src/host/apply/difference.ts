/** What leads from the changes that are made to those that are wanted. */
import type { Change } from '../plan/change.js';
import { upCommand } from '../plan/script.js';
import type { UndoEntry } from '../state.js';
import { undosOf } from './journal.js';

export interface Difference {
  /** Changes to be made first: those that are new, or worded otherwise than they were made. */
  make: Change[];
  /** Undos to be run then, in this order. */
  undo: UndoEntry[];
  /** Changes to be made sure of in the end: those that one of the undos may have met. */
  makeSure: Change[];
}

/**
 * `made`: the wording of each change that is made, by its key. `undos`: those in the journal, in its order.
 *
 * Undos and changes are compared by their keys: what is wanted is not undone, even if another version of the shim has
 * made it and worded it otherwise.
 */
export function difference(
  wanted: readonly Change[],
  made: ReadonlyMap<string, string>,
  undos: readonly UndoEntry[],
): Difference {
  const kept = new Set(wanted.flatMap(undosOf).map(({ key }) => key));
  const undo = undos.filter(({ key }) => !kept.has(key)).reverse();
  return {
    make: wanted.filter(change => made.get(change.key) !== upCommand(change)),
    undo,
    // An undo may say less of a rule than the change does, its protocol for one. It then meets that rule as well.
    makeSure: wanted.filter(change => undo.some(({ key }) => change.key.startsWith(`${key} `))),
  };
}
