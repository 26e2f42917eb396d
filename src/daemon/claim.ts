/** What only one shim may use at a time. */
import { ExitCode, OperatorError } from '../errors.js';
import { type Lock, lockAll } from '../host/apply/lock.js';
import { hostFamilies } from '../host/facts/host.js';
import { tableHasRoutes } from '../host/facts/routes.js';

/**
 * Takes the TUN's name and the routing tables for this process. Throws an OperatorError if another shim has one of
 * them, or if a table has routes already.
 */
export async function claim(tun: string, tables: readonly number[]): Promise<Lock> {
  const lock = lockAll([`TUN ${tun}`, ...tables.map(table => `table ${table}`)]);
  try {
    await requireEmpty(tables);
  } catch (error) {
    lock.unlock();
    throw error;
  }
  return lock;
}

async function requireEmpty(tables: readonly number[]): Promise<void> {
  for (const number of tables)
    if (await tableHasRoutes(hostFamilies(), number))
      throw new OperatorError(
        `routing table ${number} already has routes (ip route show table ${number}); ` +
          'set routing.table to a free table whose next one is free too',
        ExitCode.failed,
      );
}
