/** A table whose flows are saved in memory, and what the next process makes of that memory. */
import { type Plausibility, type Restored, restoreFlows } from '../../../src/flow/restore.js';
import { HEADER_WORDS, SavedFlows, savedBytes, writeHeader } from '../../../src/flow/saved-flows.js';
import { FlowTable, type TableOptions } from '../../../src/flow/table.js';

export const OWNER = [11, 22, 33, 44, 55, 66, 77, 88];
/** Whatever a test learns. */
export const ANY: Plausibility = { knownFlags: 0x0fff, isWanted: () => true };

export interface Saving {
  table: FlowTable;
  /** The file's. */
  words: Int32Array;
  saved: SavedFlows;
}

function shared(options: TableOptions): SharedArrayBuffer {
  return new SharedArrayBuffer(FlowTable.byteLength(options));
}

/** A table that is saved as it changes. */
export function saving(options: TableOptions, now: number, seed = 4711, room = options.maxFlows): Saving {
  const file = new ArrayBuffer(savedBytes(options.maxFlows));
  const words = new Int32Array(file);
  writeHeader(words, OWNER, seed);
  const saved = new SavedFlows(file, seed, options.timeoutMs);
  saved.room = room;
  return { table: FlowTable.create(shared(options), options, now, saved), words, saved };
}

/** What a new process has of it: what was in memory when the old one was killed. */
export function restored(
  words: Int32Array,
  options: TableOptions,
  now: number,
  plausibility: Plausibility = ANY,
): { table: FlowTable; restored: Restored } {
  const table = FlowTable.create(shared(options), options, now);
  return { table, restored: restoreFlows(table, Int32Array.from(words), plausibility, now) };
}

/** The words of the records, without the header. */
export function recordsOf(words: Int32Array): Int32Array {
  return words.subarray(HEADER_WORDS);
}
