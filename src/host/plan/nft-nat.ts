/** The load balancer's NAT, where the shim makes it: VIPs to real servers, from the local addresses. */
import { type Family, familyOf } from '../family.js';
import { chain, type NftScripts, quote, scripts, set, type Table, tableFor } from './nft.js';
import { DIALECTS, type Dialect } from './nft-dialects.js';

export interface RealServerTarget {
  address: string;
  port: number;
  /** Its share of the flows; 0: none. */
  weight: number;
}

export interface BalancedService {
  vip: string;
  port: number;
  schedule: 'source-hash' | 'round-robin' | 'random';
  realServers: readonly RealServerTarget[];
}

export interface NatOptions {
  tun: string;
  localAddresses: readonly string[];
  /** At least one. */
  services: readonly BalancedService[];
  /** Interfaces that did not forward such packets before. They forward balanced packets only. */
  guarded: readonly { name: string; family: Family }[];
}

/** A table for each family of the services. */
export function natTables(options: NatOptions): NftScripts {
  const families = new Set(options.services.map(({ vip }) => familyOf(vip)));
  return scripts([...families].map(family => familyTable(options, DIALECTS[family])));
}

/**
 * A table for each family that drops what is for a service and has not been balanced. It has to be there before the NAT
 * is, and after it: hooks are in force a moment before their rules, and a connection that begins meanwhile would stay
 * without NAT for as long as its client makes no pause. Conntrack keeps none whose first packet was dropped.
 */
export function refusalTables({ tun, services }: Pick<NatOptions, 'tun' | 'services'>): NftScripts {
  const families = new Set(services.map(({ vip }) => familyOf(vip)));
  return scripts([...families].map(family => refusalTable(tun, services, DIALECTS[family])));
}

function refusalTable(tun: string, services: readonly BalancedService[], { family, ip }: Dialect): Table {
  const ours = services.filter(({ vip }) => familyOf(vip) === family);
  const drops = ours.map(({ vip, port }) => `${ip} daddr ${vip} udp dport ${port} drop`);
  return tableFor(tun, ip, [chain('input', 'type filter hook input priority filter', drops)], 'refusal');
}

function familyTable(options: NatOptions, dialect: Dialect): Table {
  const { family, ip } = dialect;
  const services = options.services.filter(({ vip }) => familyOf(vip) === family);
  const localAddresses = options.localAddresses.filter(address => familyOf(address) === family);
  const chains = [
    chain(
      'prerouting',
      'type nat hook prerouting priority dstnat',
      services.map(service => destinationNat(service, dialect)),
    ),
    chain(
      'postrouting',
      'type nat hook postrouting priority srcnat',
      services.map(service => sourceNat(service, localAddresses, dialect)),
    ),
    chain('forward', 'type filter hook forward priority filter', guards(options, family)),
  ];
  return tableFor(options.tun, ip, chains, 'nat');
}

function guards(options: NatOptions, family: Family): string[] {
  const guarded = options.guarded.filter(entry => entry.family === family);
  if (guarded.length === 0) return [];
  const from = `iifname ${set(guarded.map(({ name }) => quote(name)))}`;
  // Packets that conntrack does not follow have no status at all, and are dropped as well.
  return [`${from} ct status dnat accept`, `${from} drop`];
}

function destinationNat({ vip, port, schedule, realServers }: BalancedService, { ip }: Dialect): string {
  const match = `${ip} daddr ${vip} udp dport ${port}`;
  const serving = realServers.filter(({ weight }) => weight > 0);
  if (serving.length === 1) return `${match} dnat to ${endpoint(serving[0])}`;
  let total = 0;
  const shares = serving.map(({ address, port: serverPort, weight }) => {
    const from = total;
    total += weight;
    return `${weight === 1 ? from : `${from}-${total - 1}`} : ${address} . ${serverPort}`;
  });
  const choice = {
    // A fixed seed: a client stays with its server over a restart.
    'source-hash': `jhash ${ip} saddr mod ${total} seed 0x1`,
    'round-robin': `numgen inc mod ${total}`,
    random: `numgen random mod ${total}`,
  }[schedule];
  return `${match} dnat ${ip} addr . port to ${choice} map ${set(shares)}`;
}

function endpoint({ address, port }: RealServerTarget): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

function sourceNat(
  { vip, port }: BalancedService,
  localAddresses: readonly string[],
  { ip }: Dialect,
): string {
  const match = `meta l4proto udp ct status dnat ct original ${ip} daddr ${vip} ct original proto-dst ${port}`;
  // The kernel prefers the client's own port, and would give it to the next client with that port as soon as it is free.
  if (localAddresses.length === 1) return `${match} snat to ${localAddresses[0]} fully-random`;
  const shares = localAddresses.map((address, i) => `${i} : ${address}`);
  const choice = `jhash ${ip} saddr . udp sport mod ${localAddresses.length} seed 0x1`;
  return `${match} snat ${ip} to ${choice} map ${set(shares)} fully-random`;
}
