/**
 * The real server's way in by nftables, instead of routing rules: packets go into the TUN as they come in from the
 * interface, ahead of routing, FORWARD and conntrack. The table goes with the process.
 */
import { familyOf } from './addresses.js';
import {
  chain,
  DIALECTS,
  type Dialect,
  intoTun,
  name,
  type OwnedTable,
  ownedTable,
  quote,
  set,
} from './nft.js';

export interface IngressRules {
  tun: string;
  /** Load-balancer prefixes, and for each the interface towards it. */
  loadBalancers: readonly { prefix: string; interface: string }[];
  /** The services' addresses. */
  addresses: readonly string[];
  /** Whether routing rules bring the rest. */
  errorsOnly: boolean;
}

export function ingressRules(rules: IngressRules): OwnedTable {
  const interfaces = [...new Set(rules.loadBalancers.map(lb => lb.interface))];
  const chains = interfaces.map((device, i) =>
    chain(
      `in_${i}`,
      `type filter hook ingress device ${quote(device)} priority 0`,
      [DIALECTS[4], DIALECTS[6]].flatMap(dialect => arriving(rules, device, dialect)),
    ),
  );
  return ownedTable('netdev', `uoa_${name(rules.tun)}`, chains);
}

function arriving(rules: IngressRules, device: string, dialect: Dialect): string[] {
  const { ip, family } = dialect;
  const addresses = rules.addresses.filter(address => familyOf(address) === family);
  const sources = rules.loadBalancers.filter(lb => lb.interface === device && familyOf(lb.prefix) === family);
  if (addresses.length === 0 || sources.length === 0) return [];
  const to = `${ip} daddr ${set(addresses)}`;
  const forward = intoTun(rules.tun, dialect);
  const carried = sources.flatMap(({ prefix }) =>
    dialect.carried.map(match => `${ip} saddr ${prefix} ${to} ${match} ${forward}`),
  );
  // Any router may have something to say about a reply.
  return [...(rules.errorsOnly ? [] : carried), `${to} ${dialect.errors} ${forward}`];
}
