/** What a killed `run` has left behind. */
import type { HostLog } from '../log.js';
import { readState, removeState } from '../state.js';
import { withHostLock } from './lock.js';
import { undoAll } from './undo.js';

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
