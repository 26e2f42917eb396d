/** Routes and rules as changes. Rules are `protocol kernel`: systemd-networkd removes others that it didn't make. */
import { type Family, familyFlag } from '../family.js';
import { ipKey } from '../keys.js';
import type { Change, IpArguments } from './change.js';
import { words } from './words.js';

/** Protocols by number: `ip` knows their names only from /etc/protocols, which a minimal host lacks. */
export const PROTOCOLS = {
  icmp: { 4: '1', 6: '58' },
  udp: '17',
  uoa: '248',
  destinationOptions: '60',
} as const;

/** A route that takes the place of whatever leads to the same destination in its table. `spec`: as for `ip route`. */
export function route(family: Family, reason: string, spec: string): Change {
  const args = words(spec);
  return undoable(
    [familyFlag(family), 'route', 'replace', ...args],
    [familyFlag(family), 'route', 'del', ...args],
    reason,
  );
}

/** A rule at a preference. `spec`: as for `ip rule`. */
export function rule(family: Family, reason: string, preference: number, spec: string): Change {
  const args = words(`pref ${preference} ${spec} protocol kernel`);
  return undoable(
    [familyFlag(family), 'rule', 'add', ...args],
    [familyFlag(family), 'rule', 'del', ...args],
    reason,
  );
}

/** A change of `ip` with what undoes it, both as arguments. */
export function undoable(up: IpArguments, down: IpArguments, reason: string): Change {
  return { kind: 'ip', key: ipKey(down), up, down, reason };
}
