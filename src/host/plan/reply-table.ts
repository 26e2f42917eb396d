/** The table of the replies: which source each destination gets, and the routes that give it. */
import * as ipv6 from '../../codec/ipv6.js';
import { GROWTH } from '../../codec/translate.js';
import { isOwn } from '../facts/host.js';
import type { RealServerFacts } from '../facts/real-server.js';
import { EVERYWHERE, type ReplySource, sourcesOfFamily } from '../facts/reply-sources.js';
import { FAMILIES, type Family } from '../family.js';
import type { Change } from './change.js';
import type { ReplyTable } from './host-plan.js';
import { type RealServerPlanOptions, servedAddresses } from './real-server-options.js';
import { route } from './routing.js';

/** The reply table: for each family of a service here, the sources of all destinations. */
export function replyTable(options: RealServerPlanOptions, facts: RealServerFacts): ReplyTable {
  return {
    tun: options.tun.name,
    table: options.routing.table + 1,
    sources: FAMILIES.flatMap(family => completeSources(options, facts, family)),
  };
}

/** The sources that the host's routes give. Where they leave destinations out, those get an address of a service. */
function completeSources(
  options: RealServerPlanOptions,
  facts: RealServerFacts,
  family: Family,
): ReplySource[] {
  const known = sourcesOfFamily(facts.replySources, family);
  const source = ownServiceAddress(options, facts, family);
  if (source === undefined || known.some(({ prefix }) => prefix === EVERYWHERE[family])) return known;
  return [{ prefix: EVERYWHERE[family], source }, ...known];
}

/** The first address of a service that this host has. Others may be on another host for now, such as a keepalived VIP. */
export function ownServiceAddress(
  options: RealServerPlanOptions,
  facts: RealServerFacts,
  family: Family,
): string | undefined {
  return servedAddresses(options, family).find(address => isOwn(facts, address));
}

/** The routes of the reply table for a family. */
export function replyRoutes(
  { tun, table, sources }: ReplyTable,
  { nat64 }: RealServerPlanOptions,
  facts: RealServerFacts,
  family: Family,
): Change[] {
  const mtu = replyMtu(nat64, facts, family);
  return sourcesOfFamily(sources, family).map(({ prefix, source }) => {
    const destination = prefix === EVERYWHERE[family] ? 'default' : prefix;
    return route(
      family,
      'replies have the source and packet size that they have without the TUN',
      `${destination} dev ${tun} table ${table} src ${source} mtu ${mtu}`,
    );
  });
}

/** The largest packet, in bytes, that fits on the way to every load balancer, translated to its family if need be. */
function replyMtu(
  nat64: RealServerPlanOptions['nat64'],
  { towardsLb }: RealServerFacts,
  family: Family,
): number {
  const ways = towardsLb.filter(lb => lb.family === family || nat64 === 'deliver');
  const mtus = ways.map(lb => (family === 4 && lb.family === 6 ? lb.mtu - GROWTH : lb.mtu));
  return Math.max(Math.min(...mtus), family === 6 ? ipv6.MIN_PATH_MTU : 0);
}
