/** Faults that no key has by itself. */
import { type Fault, missing } from './faults.js';
import { keys } from './keys.js';
import type { Values } from './values.js';

/** The kernel's own rules for the tables main and default begin behind this. */
const LAST_LOCAL_PRIORITY = 32_700;

/** Looks at keys side by side, except those that are in `faults` already. */
export function acrossKeys(values: Values, faults: readonly Fault[]): Fault[] {
  const known = new Set(faults.map(({ key }) => key));
  return [...missingLists(values), ...priorities(values, known)].filter(({ key }) => !known.has(key));
}

/** Without these a real server has nothing to do. */
function missingLists({ role, realServer }: Values): Fault[] {
  if (role === 'load-balancer') return [];
  const faults: Fault[] = [];
  for (const name of ['loadBalancers', 'services'] as const) {
    const path = `realServer.${name}`;
    const required = keys.get(path)?.rule(path, undefined)[0].allowed ?? '';
    if (realServer[name] === null) faults.push(missing(path, required));
  }
  return faults;
}

/** The rules at `priority` and behind it have to be seen before the one for the local table. */
function priorities({ routing }: Values, known: ReadonlySet<string>): Fault[] {
  const { priority, localPriority } = routing;
  if (known.has('routing.priority') || localPriority > priority + 1) return [];
  const allowed = `a whole number above ${priority + 1} (routing.priority and its next) up to ${LAST_LOCAL_PRIORITY}`;
  return [{ key: 'routing.localPriority', value: localPriority, allowed }];
}
