/** Undoing changes, from what was written down about them. */
import { commandFailed, run } from '../command.js';
import type { HostLog } from '../log.js';
import { command, nftCommand, setCommand } from '../plan/script.js';
import { isShared, type UndoEntry } from '../state.js';
import { readSysctl, writeSysctl } from '../sysctl.js';

/** What `ip` says where a change was made already, or where what is to be deleted is missing. */
export const EXISTS = /File exists/;
export const MISSING = /No such (file or directory|process|device)|Cannot find device|does not exist/;

/** Undoes the changes of a shim for `tun`, the last one first. */
export async function undoAll(tun: string, undos: readonly UndoEntry[], log: HostLog): Promise<void> {
  for (const entry of [...undos].reverse()) await makeUndone(tun, entry, log);
}

/**
 * Undoes one change, unless another shim of this host needs it, too. Never throws: what can't be undone is logged, and
 * the rest still gets its turn.
 */
export async function makeUndone(tun: string, undo: UndoEntry, log: HostLog): Promise<void> {
  if (isShared(tun, undo.key)) return;
  try {
    if (undo.kind === 'sysctl') {
      if (readSysctl(undo.key) !== undo.value) return;
      log.info(`host: ${setCommand(undo.key, undo.before)}`);
      writeSysctl(undo.key, undo.before);
      return;
    }
    const [program, args, input] =
      undo.kind === 'ip' ? ['ip', undo.args, ''] : ['nft', ['-f', '-'], undo.script];
    const text = undo.kind === 'ip' ? command(program, args) : nftCommand(input);
    for (const line of text.split('\n')) log.info(`host: ${line}`);
    const outcome = await run(program, args, input);
    if (outcome.status !== 0 && !EXISTS.test(outcome.stderr) && !MISSING.test(outcome.stderr))
      log.warn(`undo: ${commandFailed(program, args, outcome).message}`);
  } catch (error) {
    log.warn(`undo: ${(error as Error).message}`);
  }
}
