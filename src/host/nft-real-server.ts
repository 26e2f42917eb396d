/**
 * The real server's way in by nftables, instead of routing rules: packets go into the TUN as they come in from the
 * interface, ahead of routing, FORWARD and conntrack.
 */
import { both, chain, intoTun, name, quote, set, table } from './nft.js';

export interface IngressRules {
  tun: string;
  /** Load-balancer prefixes, and for each the interface towards it. */
  loadBalancers: readonly { prefix: string; interface: string }[];
  /** The services' addresses. */
  addresses: readonly string[];
}

export function ingressRules({ tun, loadBalancers, addresses }: IngressRules): { up: string; down: string } {
  const interfaces = [...new Set(loadBalancers.map(lb => lb.interface))];
  const to = `ip daddr ${set(addresses)}`;
  const chains = interfaces.map((device, i) =>
    chain(`in_${i}`, `type filter hook ingress device ${quote(device)} priority 0`, [
      ...loadBalancers
        .filter(lb => lb.interface === device)
        .map(({ prefix }) => `ip saddr ${prefix} ${to} ip protocol { udp, 248 } ${intoTun(tun)}`),
      // Any router may have something to say about a reply.
      `${to} icmp type { destination-unreachable, time-exceeded, parameter-problem } ${intoTun(tun)}`,
    ]),
  );
  return both([table('netdev', `uoa_${name(tun)}`, chains)]);
}
