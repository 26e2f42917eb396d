/** What the host is like, read with `ip` and from /proc; nothing is changed by it. */
import { existsSync } from 'node:fs';
import type { Prefix } from '../../flow/prefixes.js';
import { PrefixList } from '../../flow/prefixes.js';
import { parseAddress, parsePrefix } from '../addresses.js';
import { run, runChecked } from '../command.js';
import { FAMILIES, type Family, familyFlag, familyOf } from '../family.js';
import { type HostState, type LocalRule, readOtherStates, readState, type SysctlUndo } from '../state.js';
import { readSysctl } from '../sysctl.js';

/** What every role wants to know. */
export interface Facts {
  /** The host's own addresses as prefixes, broadcast addresses apart. */
  ownAddresses: Prefix[];
  broadcastAddresses: Prefix[];
  hasIpv6: boolean;
}

/** Those that this kernel has: it may have been started without IPv6. */
export function hostFamilies(): readonly Family[] {
  return existsSync('/proc/sys/net/ipv6') ? FAMILIES : [4];
}

export async function readFacts(): Promise<Facts> {
  return { ...(await readLocalAddresses()), hasIpv6: hostFamilies().includes(6) };
}

export interface JsonRoute {
  type?: string;
  dst: string;
  dev?: string;
  prefsrc?: string;
  metrics?: { mtu?: number }[];
}

/** The routes of the table local: the addresses that packets to or from are the host's own. */
export async function readLocalRoutes(): Promise<JsonRoute[]> {
  const routes = await Promise.all(
    hostFamilies().map(family =>
      readJson<JsonRoute>([familyFlag(family), 'route', 'show', 'table', 'local']),
    ),
  );
  return routes.flat();
}

export async function readLocalAddresses(): Promise<Pick<Facts, 'ownAddresses' | 'broadcastAddresses'>> {
  const routes = await readLocalRoutes();
  const ofType = (...wanted: string[]): Prefix[] =>
    routes.filter(({ type }) => wanted.includes(type ?? '')).map(({ dst }) => parsePrefix(dst));
  return { ownAddresses: ofType('local', 'anycast'), broadcastAddresses: ofType('broadcast') };
}

/** The route to an address (text), by one interface if need be; undefined if there is none or it is the host itself. */
export async function readRoute(address: string, by?: string): Promise<JsonRoute | undefined> {
  const family = familyFlag(familyOf(address));
  const outcome = await run('ip', ['-j', family, 'route', 'get', address, ...(by ? ['oif', by] : [])]);
  const route = outcome.status === 0 ? (JSON.parse(outcome.stdout) as JsonRoute[])[0] : undefined;
  return route?.dev === undefined || route.type === 'local' ? undefined : route;
}

/** What `ip -j` prints, an array even if it prints nothing. */
export async function readJson<T>(args: string[]): Promise<T[]> {
  const text = await runChecked('ip', ['-j', ...args]);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}

/** Whether a routing table has routes. */
export async function tableHasRoutes(table: number): Promise<boolean> {
  const shown = await Promise.all(
    hostFamilies().map(family => run('ip', [familyFlag(family), 'route', 'show', 'table', String(table)])),
  );
  return shown.some(({ stdout }) => stdout.trim() !== '');
}

/** Whether an address (text) is one of the host's own. */
export function isOwn(facts: Facts, address: string): boolean {
  return new PrefixList(facts.ownAddresses).has(parseAddress(address), 0);
}

/**
 * The host's settings as they were before us. What a `run` on any TUN changed (and wrote down) counts as
 * unchanged, so that a plan made while it runs, or after it was killed, is the same as one made before.
 */
export class Originals {
  private readonly states: readonly HostState[];

  constructor(tun: string) {
    // Our own first: it knows what was before the others came.
    const own = readState(tun);
    this.states = [...(own === undefined ? [] : [own]), ...readOtherStates(tun)];
  }

  localRule(family: Family): LocalRule | undefined {
    for (const { localRules } of this.states) {
      const found = localRules?.find(rule => rule.family === family);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** A sysctl's value, '0' where there is no such setting. */
  sysctl(key: string): string {
    const undo = this.states
      .flatMap(state => state.undo)
      .find((entry): entry is SysctlUndo => entry.kind === 'sysctl' && entry.key === key);
    return undo?.before ?? readSysctl(key) ?? '0';
  }
}
