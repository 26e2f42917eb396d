/** What on this host keeps the shim from working, or works otherwise than without it, and the remedy. */
import { readdirSync } from 'node:fs';
import type { Family } from './addresses.js';
import { run } from './command.js';
import type { RealServerFacts } from './facts-real-server.js';
import { droppingForwardChains } from './forward-chains.js';
import { interfaceKey, readSysctl } from './sysctl.js';

const IPTABLES: Readonly<Record<Family, string>> = { 4: 'iptables', 6: 'ip6tables' };

export async function realServerWarnings(facts: RealServerFacts, tun: string): Promise<string[]> {
  return [...(await forwardPolicy(facts, tun)), ...strictInterfaces(facts, tun)];
}

/** Without a NAT there is nothing to mark: the shim stands beside rules that somebody else makes. */
export async function loadBalancerWarnings(nat: 'managed' | 'external'): Promise<string[]> {
  if (nat === 'managed') return [];
  const rules = (await run('nft', ['list', 'ruleset'])).stdout;
  if (/\b(dnat|redirect|DNAT|REDIRECT)\b.* to|xt target "?DNAT/.test(rules)) return [];
  return ['loadBalancer.nat is external, but nftables has no DNAT rule: no flow will get a mark'];
}

async function forwardPolicy(facts: RealServerFacts, tun: string): Promise<string[]> {
  const families = [...new Set(facts.towardsLb.map(({ family }) => family))];
  const accept = facts.towardsLb.map(
    ({ name, family }) => `${IPTABLES[family]} -I FORWARD -i ${name} -o ${tun} -j ACCEPT`,
  );
  return (await droppingForwardChains(families)).map(
    chain =>
      `the chain ${chain} drops what it is not told to forward, and with it what is to go ` +
      `to ${tun}, unless a rule accepts it: ${[...new Set(accept)].join('; ')}; ` +
      'or set routing.steering to nft-ingress, which it does not see',
  );
}

/** Interfaces apart from the LBs' with strict rp_filter: direct clients behind them are dropped. */
function strictInterfaces(facts: RealServerFacts, tun: string): string[] {
  const ours = new Set(['all', 'default', 'lo', tun, ...facts.towardsLb.map(({ name }) => name)]);
  const strict = readdirSync('/proc/sys/net/ipv4/conf')
    .filter(name => !ours.has(name))
    .filter(name => {
      const own = Number(readSysctl(interfaceKey(name, 'rp_filter')) ?? '0');
      return Math.max(own, Number(facts.allRpFilter)) === 1;
    });
  if (strict.length === 0) return [];
  return [
    `strict rp_filter on ${strict.join(', ')} drops clients that come to a service there without a load balancer; ` +
      `to allow them: ${strict.map(name => `sysctl -w ${interfaceKey(name, 'rp_filter')}=2`).join('; ')}`,
  ];
}
