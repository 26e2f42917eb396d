/**
 * What lets packets that come in by an interface be forwarded. IPv4 has a switch for each interface; IPv6 had one for
 * the whole host, which makes it a router in all respects, until Linux 6.17 brought one for each interface.
 */
import { ExitCode, OperatorError } from '../../errors.js';
import type { Family } from '../facts/addresses.js';
import type { Originals } from '../facts/host.js';
import { interfaceKey, readSysctl } from '../sysctl.js';
import type { Change } from './change.js';

export interface Forwarding {
  family: Family;
  interface: string;
  /** undefined: it is on. `before` is undefined where this kernel has no such switch. */
  off?: { key: string; before: string | undefined };
}

export function readForwarding(name: string, family: Family, originals: Originals): Forwarding {
  const how = { family, interface: name };
  if (family === 4) {
    const key = interfaceKey(name, 'forwarding');
    return originals.sysctl(key) === '0' ? { ...how, off: { key, before: '0' } } : how;
  }
  if (readSysctl(interfaceKey('all', 'forwarding', 6)) === '1') return how;
  const key = interfaceKey(name, 'force_forwarding', 6);
  if (readSysctl(key) === undefined) return { ...how, off: { key, before: undefined } };
  return originals.sysctl(key) === '0' ? { ...how, off: { key, before: '0' } } : how;
}

/** The change that switches it on. Throws an OperatorError where the kernel has no switch for it; `remedy` is another. */
export function switchOn({ interface: name, off }: Forwarding, reason: string, remedy: string): Change[] {
  if (off === undefined) return [];
  const { key, before } = off;
  if (before === undefined)
    throw new OperatorError(
      `${name} does not forward IPv6, and this kernel can't switch it on for one interface (${key}, Linux 6.17); ` +
        `forward on the whole host (sysctl -w net.ipv6.conf.all.forwarding=1)${remedy}`,
      ExitCode.unavailable,
    );
  return [{ kind: 'sysctl', key, value: '1', before, reason }];
}
