/**
 * Kernel settings by their sysctl names. A dot inside an interface's name is written as a slash, as sysctl(8) has it:
 * net.ipv4.conf.eth0/100.forwarding.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import type { Family } from './family.js';

export const UDP_EARLY_DEMUX = 'net.ipv4.udp_early_demux';

/** The name of an interface's setting. */
export function interfaceKey(name: string, setting: string, family: Family = 4): string {
  return `net.ipv${family}.conf.${name.replaceAll('.', '/')}.${setting}`;
}

function path(key: string): string {
  const parts = key.split('.').map(part => part.replaceAll('/', '.'));
  return `/proc/sys/${parts.join('/')}`;
}

/** The value, or undefined if there is no such setting. */
export function readSysctl(key: string): string | undefined {
  try {
    return readFileSync(path(key), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Throws an Error with `code` ENOENT if there is no such setting. */
export function writeSysctl(key: string, value: string): void {
  writeFileSync(path(key), value);
}
