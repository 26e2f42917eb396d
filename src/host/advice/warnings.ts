/** Warnings about what keeps the shim from working on this host, or works differently with it, each with a remedy. */
import { readdirSync } from 'node:fs';
import { Firewall } from '../facts/firewall.js';
import type { RealServerFacts } from '../facts/real-server.js';
import { hasDestinationNat, readRuleset } from '../facts/ruleset.js';
import type { Steering } from '../plan/real-server-options.js';
import { interfaceKey, readSysctl } from '../sysctl.js';
import {
  type DroppingChain,
  type FirewallQuestion,
  forwardDroppers,
  inputDroppers,
} from './dropping-chains.js';

/** Warnings about chains of the firewall and about strict rp_filter. */
export async function realServerWarnings(
  question: FirewallQuestion,
  facts: RealServerFacts,
  steering: Steering,
): Promise<string[]> {
  const isRouted = steering === 'policy-routing';
  const firewall = await Firewall.read();
  return [
    ...(isRouted ? (await forwardDroppers(question, facts, firewall)).map(notForwarded(question.tun)) : []),
    ...inputDroppers(question, facts, firewall).map(notLetIn(question.tun)),
    ...(isRouted ? strictInterfaces(facts, question.tun) : []),
  ];
}

function notForwarded(tun: string): (dropping: DroppingChain) => string {
  return ({ chain, remedy }) =>
    `the chain ${chain} does not forward packets to ${tun}; to allow them: ${remedy}; ` +
    'or set routing.steering to nft-ingress, whose packets do not pass that chain';
}

function notLetIn(tun: string): (dropping: DroppingChain) => string {
  return ({ chain, remedy }) =>
    `the input chain ${chain} accepts packets of the load balancers, but not those from ${tun} with a client’s address; ` +
    `to allow them: ${remedy}`;
}

/** An external NAT is not the shim's to make. Without any there are no flows to mark. */
export async function loadBalancerWarnings(nat: 'managed' | 'external'): Promise<string[]> {
  if (nat === 'managed') return [];
  const ruleset = await readRuleset();
  if (ruleset === undefined || hasDestinationNat(ruleset)) return [];
  return ['loadBalancer.nat is external, but nftables has no DNAT rule: no flow will get a mark'];
}

/** A warning about interfaces with strict rp_filter, those towards the LBs apart: direct clients there are dropped. */
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
    `strict rp_filter on ${strict.join(', ')} drops packets of clients that come to a service there without a load balancer; ` +
      `to allow them: ${strict.map(name => `sysctl -w ${interfaceKey(name, 'rp_filter')}=2`).join('; ')}`,
  ];
}
