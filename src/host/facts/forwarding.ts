/**
 * Whether packets that come in by an interface are forwarded. IPv4 has a switch for each interface. IPv6 had one for
 * the whole host, which makes it a router in all respects, until Linux 6.17 brought one for each interface.
 */
import type { Family } from '../family.js';
import { interfaceKey, readSysctl } from '../sysctl.js';
import type { Originals } from './originals.js';

export interface Forwarding {
  family: Family;
  interface: string;
  /** Absent if it is on. `key` is the switch. `before` is undefined if this kernel has no such switch. */
  off?: { key: string; before: string | undefined };
}

/** Whether an interface forwards packets of a family, our own changes apart. */
export function readForwarding(name: string, family: Family, originals: Originals): Forwarding {
  const entry = { family, interface: name };
  if (family === 4) {
    const key = interfaceKey(name, 'forwarding');
    return originals.sysctl(key) === '0' ? { ...entry, off: { key, before: '0' } } : entry;
  }
  if (readSysctl(interfaceKey('all', 'forwarding', 6)) === '1') return entry;
  const key = interfaceKey(name, 'force_forwarding', 6);
  if (readSysctl(key) === undefined) return { ...entry, off: { key, before: undefined } };
  return originals.sysctl(key) === '0' ? { ...entry, off: { key, before: '0' } } : entry;
}
