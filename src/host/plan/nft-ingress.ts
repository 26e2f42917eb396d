/**
 * The real server's way in by nftables, instead of routing rules: packets go into the TUN as they come in from the
 * interface, ahead of routing, FORWARD and conntrack. The table goes with the process.
 */
import { familyOf } from '../family.js';
import {
  chain,
  DIALECTS,
  type Dialect,
  hex,
  intoTun,
  type NftScripts,
  name,
  type OwnedTables,
  owned,
  quote,
  set,
  type Table,
  table,
} from './nft.js';

export interface IngressRules {
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

export function ingressRules(rules: IngressRules): NftScripts & { owned: OwnedTables } {
  const interfaces = [...new Set(rules.loadBalancers.map(lb => lb.interface))];
  const chains = interfaces.map((device, i) =>
    chain(
      `in_${i}`,
      `type filter hook ingress device ${quote(device)} priority 0`,
      [DIALECTS[4], DIALECTS[6]].flatMap(dialect => arriving(rules, device, dialect)),
    ),
  );
  const ingress = table('netdev', `uoa_${name(rules.tun)}`, chains);
  return owned(rules.errorsOnly ? [ingress] : [ingress, untracked(rules)]);
}

/**
 * Conntrack has not seen what came in, so to it our answers would be flows of their own, with sources to masquerade.
 * Routing rules lead through conntrack, and rules for established flows may count on that.
 */
function untracked({ tun, fwmark }: IngressRules): Table {
  return table('inet', `uoa_${name(tun)}`, [
    chain('ours', 'type filter hook output priority raw', [
      `meta mark & ${hex(fwmark)} == ${hex(fwmark)} notrack`,
    ]),
  ]);
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
