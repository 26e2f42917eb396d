/** The host's routes and interfaces, as `ip` shows them. */
import { run, runChecked } from '../command.js';
import { type Family, familyFlag, familyOf } from '../family.js';

/** A route as `ip -j route` prints it. */
export interface JsonRoute {
  type?: string;
  dst: string;
  dev?: string;
  prefsrc?: string;
  metrics?: { mtu?: number }[];
}

/** The routes of the table local. Their destinations are the host's own addresses, broadcast addresses included. */
export async function readLocalRoutes(families: readonly Family[]): Promise<JsonRoute[]> {
  const routes = families.map(family =>
    readJson<JsonRoute>([familyFlag(family), 'route', 'show', 'table', 'local']),
  );
  return (await Promise.all(routes)).flat();
}

/**
 * The route to an address (text), by the interface `oif` if that is not empty. Undefined if there is none, or if the
 * address is the host's own. It is the route for TCP: of a shim that is running, rules may lead UDP into the TUN.
 */
export async function readRoute(address: string, oif = ''): Promise<JsonRoute | undefined> {
  const by = oif === '' ? [] : ['oif', oif];
  const question = ['route', 'get', address, 'ipproto', 'tcp', ...by];
  const outcome = await run('ip', ['-j', familyFlag(familyOf(address)), ...question]);
  const route = outcome.status === 0 ? (JSON.parse(outcome.stdout) as JsonRoute[])[0] : undefined;
  return route?.dev === undefined || route.type === 'local' ? undefined : route;
}

/** What `ip -j` prints. An empty array if it prints nothing. Throws an OperatorError if it fails. */
export async function readJson<T>(args: readonly string[]): Promise<T[]> {
  const text = await runChecked('ip', ['-j', ...args]);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}

/** Whether a routing table has routes. */
export async function tableHasRoutes(families: readonly Family[], table: number): Promise<boolean> {
  const shown = families.map(family =>
    run('ip', [familyFlag(family), 'route', 'show', 'table', String(table)]),
  );
  return (await Promise.all(shown)).some(({ stdout }) => stdout.trim() !== '');
}
