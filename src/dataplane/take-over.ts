/** Takes over the flows of the process before this one, and begins to save them for the next one. */
import { rmSync } from 'node:fs';
import { countSaved, type Restored, restoreFlows } from '../flow/restore.js';
import { FlowTable, type TableOptions } from '../flow/table.js';
import type { Native } from '../io/native.js';
import {
  createFlowFile,
  type FlowFile,
  type OldFlows,
  ownerWords,
  putInPlace,
  readOldFlows,
} from './flow-file.js';
import type { RoleSettings } from './make-role.js';
import { plausibilityFor, roleWord } from './plausibility.js';

/** Hears what became of the flows of the process before this one, in a sentence each. */
export interface FlowNews {
  info(message: string): void;
  warn(message: string): void;
}

/**
 * Makes the table in `buffer`, with the flows that were saved at `path`, whatever is found there. Undefined: flows can't be
 * saved there from now on, and the news say why.
 */
export function takeOver(
  native: Native,
  path: string,
  buffer: SharedArrayBuffer,
  options: TableOptions,
  role: RoleSettings,
  news: FlowNews,
): FlowFile | undefined {
  const owner = ownerWords(roleWord(role));
  const old = readOld(path, owner);
  if (old.fault !== undefined) news.warn(`flows of the run before: the file is ${old.fault}`);
  const file = newFile(native, path, owner, options, old.words, news);
  const now = native.clock();
  const table = FlowTable.create(buffer, options, now);
  if (old.words !== undefined) tell(restoreFlows(table, old.words, plausibilityFor(role), now), news);
  if (file !== undefined) {
    FlowTable.open(buffer, options, file.flows).saveAll();
    putInPlace(path);
  }
  return file;
}

function readOld(path: string, owner: readonly number[]): OldFlows {
  try {
    return readOldFlows(path, owner);
  } catch (error) {
    return { fault: `not readable: ${(error as Error).message}` };
  }
}

function newFile(
  native: Native,
  path: string,
  owner: readonly number[],
  { maxFlows, timeoutMs }: TableOptions,
  old: Int32Array | undefined,
  news: FlowNews,
): FlowFile | undefined {
  const extent = old === undefined ? 0 : countSaved(old);
  try {
    return createFlowFile(native, { path, owner, maxFlows, timeoutMs, extent });
  } catch (error) {
    news.warn(`flows will not survive a restart: ${path}: ${(error as Error).message}`);
    // The next process would take the flows in there for those of this one.
    rmSync(path, { force: true });
    return undefined;
  }
}

function tell({ kept, expired, damaged, superfluous, unwanted }: Restored, news: FlowNews): void {
  const left = [
    [damaged, 'damaged'],
    [expired, 'idle for too long'],
    [superfluous, 'more than maxFlows'],
    [unwanted, 'no longer configured'],
  ] as const;
  const without = left.filter(([count]) => count > 0).map(([count, words]) => `, ${count} ${words}`);
  const message = `flows of the run before: ${kept} kept${without.join('')}`;
  if (damaged > 0) news.warn(message);
  else if (kept > 0 || without.length > 0) news.info(message);
}
