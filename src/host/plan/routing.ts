/** Routes and rules as changes. Rules are `protocol kernel`: systemd-networkd removes others that it didn't make. */
import type { Family } from '../facts/addresses.js';
import { familyFlag } from '../facts/host.js';
import type { Change } from './change.js';

/** Protocols by number: `ip` knows their names only from /etc/protocols, which a minimal host lacks. */
export const PROTOCOLS = {
  icmp: { 4: '1', 6: '58' },
  udp: '17',
  uoa: '248',
  destinationOptions: '60',
} as const;

export function route(family: Family, reason: string, spec: string[]): Change {
  const flag = familyFlag(family);
  return {
    kind: 'ip',
    up: [flag, 'route', 'replace', ...spec],
    down: [flag, 'route', 'del', ...spec],
    reason,
  };
}

export function rule(family: Family, reason: string, preference: number, spec: readonly string[]): Change {
  const flag = familyFlag(family);
  const args = ['pref', String(preference), ...spec, 'protocol', 'kernel'];
  return { kind: 'ip', up: [flag, 'rule', 'add', ...args], down: [flag, 'rule', 'del', ...args], reason };
}
