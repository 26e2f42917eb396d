/**
 * The real server's way in by nftables, instead of routing rules: packets go into the TUN as they come in from the
 * interface, ahead of routing, FORWARD and conntrack. The tables go with the process.
 */
import { familyOf } from '../family.js';
import {
  chain,
  hex,
  type NftScripts,
  type OwnedTables,
  quote,
  scriptsOrOwned,
  set,
  type Table,
  tableFor,
} from './nft.js';
import { DIALECTS, type Dialect, intoTun } from './nft-dialects.js';

export interface IngressOptions {
  tun: string;
  /** Load-balancer prefixes, and for each the interface towards it. */
  loadBalancers: readonly { prefix: string; interface: string }[];
  /** The services' addresses. */
  addresses: readonly string[];
  /** The SO_MARK of what the shim sends. */
  fwmark: number;
  /** Whether routing rules bring the rest. */
  errorsOnly: boolean;
}

/** A table for the interfaces; unless it is for errors only, also one for what the shim sends. */
export function ingressTables(options: IngressOptions): NftScripts & { owned: OwnedTables } {
  const interfaces = [...new Set(options.loadBalancers.map(lb => lb.interface))];
  const chains = interfaces.map((device, i) =>
    chain(
      `in_${i}`,
      `type filter hook ingress device ${quote(device)} priority 0`,
      [DIALECTS[4], DIALECTS[6]].flatMap(dialect => arriving(options, device, dialect)),
    ),
  );
  const ingress = tableFor(options.tun, 'netdev', chains);
  return scriptsOrOwned(options.errorsOnly ? [ingress] : [ingress, untracked(options)]);
}

/**
 * Conntrack has not seen what came in. To it our answers would be flows of their own, with sources to masquerade.
 * Routing rules lead through conntrack, and rules for established flows may count on that.
 */
function untracked({ tun, fwmark }: IngressOptions): Table {
  const rules = [`meta mark & ${hex(fwmark)} == ${hex(fwmark)} notrack`];
  return tableFor(tun, 'inet', [chain('ours', 'type filter hook output priority raw', rules)]);
}

/** The rules for what comes in by `device`. */
function arriving(options: IngressOptions, device: string, dialect: Dialect): string[] {
  const { ip, family } = dialect;
  const addresses = options.addresses.filter(address => familyOf(address) === family);
  const sources = options.loadBalancers.filter(
    lb => lb.interface === device && familyOf(lb.prefix) === family,
  );
  if (addresses.length === 0 || sources.length === 0) return [];
  const to = `${ip} daddr ${set(addresses)}`;
  const forward = intoTun(options.tun, dialect);
  const carried = sources.flatMap(({ prefix }) =>
    dialect.carried.map(match => `${ip} saddr ${prefix} ${to} ${match} ${forward}`),
  );
  // Any router on the way may report errors about a reply.
  return [...(options.errorsOnly ? [] : carried), `${to} ${dialect.errors} ${forward}`];
}
