import { Command } from 'commander';
import { readTunName } from '../daemon/config/index.js';
import { undoLeftovers } from '../host/apply/leftovers.js';
import { holderOf, removeStaleLocks, tryLock } from '../host/apply/lock.js';
import { removeFlows } from '../host/run-directory.js';
import { complain, print, sources, withConfiguration } from './context.js';

/** `cleanup`: takes down what a killed `run` left behind. */
export function cleanupCommand(): Command {
  return withConfiguration(new Command('cleanup'))
    .description('take down what a killed `run` left behind')
    .action(async (_options, command: Command) => {
      const tun = readTunName(sources(command));
      const lock = tryLock(`TUN ${tun}`);
      if (lock === undefined) {
        complain(`uoa-shim: ${tun} is being served by ${holderOf(`TUN ${tun}`)}: nothing to clean up`);
        return;
      }
      try {
        const hadFlows = removeFlows(tun);
        const found = (await undoLeftovers(tun, { info: print, warn: complain })) || hadFlows;
        print(found ? `${tun}: cleaned up` : `${tun}: nothing was left behind`);
      } finally {
        lock.unlock();
        removeStaleLocks();
      }
    });
}
