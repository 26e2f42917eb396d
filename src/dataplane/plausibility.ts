/** What of the flows of a process before this one its successor may believe, by its role. */
import type { Plausibility } from '../flow/restore.js';
import { LOAD_BALANCER_FLAGS, REAL_SERVER_FLAGS } from '../role/flow-flags.js';
import { RealServerSettings } from '../role/real-server/settings.js';
import type { RoleSettings } from './make-role.js';

/** A word that differs between the roles, and changes with the flags that one of them has. */
export function roleWord({ name }: RoleSettings): number {
  return name === 'real-server' ? (1 << 16) | REAL_SERVER_FLAGS : (2 << 16) | LOAD_BALANCER_FLAGS;
}

export function plausibilityFor(role: RoleSettings): Plausibility {
  // The load balancer takes from conntrack what it needs to know, and compares: any flow will do.
  if (role.name === 'load-balancer') return { knownFlags: LOAD_BALANCER_FLAGS, isWanted: () => true };
  const settings = new RealServerSettings(role.options);
  return { knownFlags: REAL_SERVER_FLAGS, isWanted: (words, at) => settings.mayLearn(words, at) };
}
