/** Undoing changes, from what was written down about them. */
import { commandFailed, run } from '../command.js';
import type { HostLog } from '../log.js';
import { command, nftCommand, setCommand } from '../plan/script.js';
import { isShared, type Undo } from '../state.js';
import { readSysctl, writeSysctl } from '../sysctl.js';

/** What `ip` says where a change was made already, or where what is to be deleted is gone. */
export const EXISTS = /File exists/;
export const GONE = /No such (file or directory|process|device)|Cannot find device|does not exist/;

/** Undoes the changes of a shim for `tun`, the last one first. */
export async function undoAll(tun: string, undo: readonly Undo[], log: HostLog): Promise<void> {
  for (const entry of [...undo].reverse()) await makeUndone(tun, entry, log);
}

/** An undo without the tables that stay: other changes may have put some of the same names in their place. */
export function except(undo: Undo, lines: ReadonlySet<string>): Undo {
  if (undo.kind !== 'nft') return undo;
  const script = undo.script.split('\n').filter(line => !lines.has(line));
  return { ...undo, script: script.join('\n') };
}

/**
 * Undoes one change, unless another shim of this host needs it, too. Never throws: what can't be undone is logged, and
 * the rest still gets its turn.
 */
export async function makeUndone(tun: string, undo: Undo, log: HostLog): Promise<void> {
  if (isShared(tun, undo)) return;
  try {
    if (undo.kind === 'sysctl') {
      if (readSysctl(undo.key) !== undo.value) return;
      log.info(`host: ${setCommand(undo.key, undo.before)}`);
      writeSysctl(undo.key, undo.before);
      return;
    }
    if (undo.kind === 'nft' && undo.script === '') return;
    const text = undo.kind === 'ip' ? command('ip', undo.args) : nftCommand(undo.script);
    for (const line of text.split('\n')) log.info(`host: ${line}`);
    const outcome = await (undo.kind === 'ip' ? run('ip', undo.args) : run('nft', ['-f', '-'], undo.script));
    if (outcome.status !== 0 && !EXISTS.test(outcome.stderr) && !GONE.test(outcome.stderr))
      log.warn(`undo: ${commandFailed(text.split('\n')[0], [], outcome).message}`);
  } catch (error) {
    log.warn(`undo: ${(error as Error).message}`);
  }
}
