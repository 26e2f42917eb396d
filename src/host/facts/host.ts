/** The facts that every role's planner needs. */
import { existsSync } from 'node:fs';
import { type Prefix, PrefixList } from '../../flow/prefixes.js';
import { parseAddress, parsePrefix } from '../addresses.js';
import { FAMILIES, type Family } from '../family.js';
import { readLocalRoutes } from './routes.js';

export interface Facts {
  /** The host's own addresses, without the broadcast addresses. */
  ownAddresses: Prefix[];
  broadcastAddresses: Prefix[];
  hasIpv6: boolean;
}

/** The families that this kernel has: it may have been started without IPv6. */
export function hostFamilies(): readonly Family[] {
  return existsSync('/proc/sys/net/ipv6') ? FAMILIES : [4];
}

/** Throws an OperatorError if `ip` fails. */
export async function readFacts(): Promise<Facts> {
  return { ...(await readLocalAddresses()), hasIpv6: hostFamilies().includes(6) };
}

/** The addresses that the table local has. They come and go while the shim runs. */
export async function readLocalAddresses(): Promise<Pick<Facts, 'ownAddresses' | 'broadcastAddresses'>> {
  const routes = await readLocalRoutes(hostFamilies());
  const ofType = (...wanted: string[]): Prefix[] =>
    routes.filter(({ type }) => wanted.includes(type ?? '')).map(({ dst }) => parsePrefix(dst));
  return { ownAddresses: ofType('local', 'anycast'), broadcastAddresses: ofType('broadcast') };
}

/** Whether an address (text) is one of the host's own. */
export function isOwn(facts: Facts, address: string): boolean {
  return new PrefixList(facts.ownAddresses).has(parseAddress(address), 0);
}
