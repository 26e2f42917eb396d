/**
 * The real server's set-up as data: configuration and facts in, a list of changes out. What steers packets in is in
 * policy-routing.ts or nft-real-server.ts; this is the rest, the way of the replies above all:
 *
 * | preference               | rule                                        | why                                  |
 * | ------------------------ | ------------------------------------------- | ------------------------------------ |
 * | localPriority + 10       | own UDP from a service port -> table + 1    | the replies                          |
 * | localPriority + 12       | own ICMP errors -> table + 1                | about datagrams of clients           |
 * | 32800 (behind `default`) | from a service, UDP, ICMP -> table + 1      | IPv4: a way to clients for rp_filter,|
 * |                          |                                             | where there is no default route      |
 * | 32801, where IPv4 is not | from the TUN, UDP: nowhere                  | has rp_filter tell protocols apart   |
 * | steered by rules         |                                             |                                      |
 */

import { GROWTH } from '../../codec/translate.js';
import { ExitCode, OperatorError } from '../../errors.js';
import { type Family, familyOf } from '../facts/addresses.js';
import { FAMILIES, isOwn } from '../facts/host.js';
import type { RealServerFacts } from '../facts/real-server.js';
import { EVERYWHERE, sourcesOfFamily } from '../facts/reply-sources.js';
import { interfaceKey } from '../sysctl.js';
import { type Change, distinct, type TunOptions, tunDevice } from './change.js';
import { ingressRules } from './nft-real-server.js';
import { byRouting, localPreference } from './policy-routing.js';
import { PROTOCOLS, route, rule } from './routing.js';

export interface RealServerPlan {
  tun: TunOptions;
  routing: {
    table: number;
    priority: number;
    localPriority: number;
    mark: number;
    steering: 'policy-routing' | 'nft-ingress';
  };
  loadBalancers: readonly { prefix: string }[];
  services: readonly { address: string; from: number; to: number }[];
  nat64: 'keep' | 'deliver';
}

/** Behind `main` and `default`. */
const LAST_RESORT = 32800;
const LAST_PORT = 65535;
/**
 * The kernel keeps ICMP's type and code where ports are, `type << 8 | code`: destination unreachable, and of IPv6 also
 * parameter problem, which is what an unknown next header gets.
 */
const OWN_ERRORS: Readonly<Record<Family, readonly string[]>> = {
  4: ['768-783'],
  6: ['256-511', '1024-1279'],
};
/** RFC 8200, 5. */
const SMALLEST_IPV6_MTU = 1280;

/** The changes that take the LBs' UDP through the TUN, and the services' replies. */
export function planRealServer(options: RealServerPlan, facts: RealServerFacts): Change[] {
  const steered = steeredFamilies(options);
  const answering = FAMILIES.filter(
    family => steered.includes(family) || (options.nat64 === 'deliver' && serves(options, family)),
  );
  const isByIngress = options.routing.steering === 'nft-ingress';
  return [
    ...tunDevice(options.tun, facts.hasIpv6, answering.includes(6)),
    ...answering.flatMap(family => replyRoutes(options, facts, family)),
    ...(answering.includes(4) ? strictSources(facts) : []),
    ...answering.flatMap(family => replies(options, facts, family)),
    ...(answering.includes(4) && (isByIngress || !steered.includes(4)) ? [protocolsApart(options)] : []),
    ...(isByIngress ? [byIngress(options, facts)] : byRouting(options, facts, steered)),
  ];
}

/** Those in which load balancers can reach a service. */
function steeredFamilies(options: RealServerPlan): Family[] {
  return FAMILIES.filter(
    family =>
      serves(options, family) && options.loadBalancers.some(({ prefix }) => familyOf(prefix) === family),
  );
}

function serves({ services }: RealServerPlan, family: Family): boolean {
  return services.some(({ address }) => familyOf(address) === family);
}

/** Only a rule that is not for `iif lo` does that (fib_rule_requires_fldissect); those that steer IPv4 are such. */
function protocolsApart({ tun }: RealServerPlan): Change {
  return rule(4, 'has rp_filter look for protocols, as the rules before this one do', LAST_RESORT + 1, [
    ...['iif', tun.name, 'ipproto', PROTOCOLS.udp, 'blackhole'],
  ]);
}

function byIngress(options: RealServerPlan, facts: RealServerFacts): Change {
  const { tun, loadBalancers, services } = options;
  const rules = ingressRules({
    tun: tun.name,
    loadBalancers: loadBalancers.map(({ prefix }, i) => ({ prefix, interface: facts.towardsLb[i].name })),
    addresses: [...new Set(services.map(({ address }) => address))],
    mark: options.routing.mark,
    errorsOnly: false,
  });
  return { kind: 'nft', ...rules, reason: 'from the load balancers, ahead of routing' };
}

function replyRoutes(options: RealServerPlan, facts: RealServerFacts, family: Family): Change[] {
  const { tun, routing } = options;
  const addresses = options.services.map(({ address }) => address).filter(text => familyOf(text) === family);
  const present = addresses.find(address => isOwn(facts, address));
  if (present === undefined)
    throw new OperatorError(
      `realServer.services: none of ${addresses.join(', ')} is an address of this ` +
        'host; allowed: addresses that `ip address` shows here',
      ExitCode.configuration,
    );
  const sources = sourcesOfFamily(facts.replySources ?? [], family);
  const hasDefault = sources.some(({ prefix }) => prefix === EVERYWHERE[family]);
  const complete = hasDefault ? sources : [{ prefix: EVERYWHERE[family], source: present }, ...sources];
  const mtu = String(replyMtu(options, facts, family));
  return complete.map(({ prefix, source }) =>
    route(family, 'the replies: source and packet size as without the TUN', [
      ...[prefix === EVERYWHERE[family] ? 'default' : prefix, 'dev', tun.name],
      ...['table', String(routing.table + 1), 'src', source, 'mtu', mtu],
    ]),
  );
}

/** What fits on the way to every load balancer, translated to its family if need be. */
function replyMtu({ nat64 }: RealServerPlan, { towardsLb }: RealServerFacts, family: Family): number {
  const ways = towardsLb.filter(lb => lb.family === family || nat64 === 'deliver');
  const mtus = ways.map(lb => (family === 4 && lb.family === 6 ? lb.mtu - GROWTH : lb.mtu));
  return Math.max(Math.min(...mtus), family === 6 ? SMALLEST_IPV6_MTU : 0);
}

function strictSources(facts: RealServerFacts): Change[] {
  return distinct(facts.towardsLb, ({ name }) => name).flatMap(({ name, rpFilter }) => {
    if (Math.max(Number(rpFilter), Number(facts.allRpFilter)) !== 1) return [];
    return [
      {
        kind: 'sysctl' as const,
        key: interfaceKey(name, 'rp_filter'),
        value: '2',
        before: rpFilter,
        reason: 'strict rp_filter would drop direct clients: the way back to them is the TUN',
      },
    ];
  });
}

function replies(options: RealServerPlan, facts: RealServerFacts, family: Family): Change[] {
  const { routing } = options;
  const services = options.services.filter(({ address }) => familyOf(address) === family);
  const table = String(routing.table + 1);
  const preference = Math.max(localPreference(routing, facts, family), routing.localPriority) + 10;
  const ports = distinct(services, ({ from, to }) => `${from}-${to}`);
  return [
    ...ports.map(({ from, to }) =>
      rule(family, 'replies of the service', preference, [
        ...['iif', 'lo', 'ipproto', PROTOCOLS.udp, ...sourcePort(from, to), 'lookup', table],
      ]),
    ),
    ...OWN_ERRORS[family].map(types =>
      rule(family, 'errors of the host’s own about datagrams: for the load balancers', preference + 2, [
        ...['iif', 'lo', 'ipproto', PROTOCOLS.icmp[family], 'dport', types, 'lookup', table],
      ]),
    ),
    // IPv6 has no rp_filter that would ask for a way back.
    ...(family === 4 ? lastResort(services, table) : []),
  ];
}

function lastResort(services: RealServerPlan['services'], table: string): Change[] {
  return distinct(services, ({ address }) => address).flatMap(({ address }) =>
    [PROTOCOLS.udp, PROTOCOLS.icmp[4]].map(protocol =>
      rule(4, 'clients have a route even if the host has no default route', LAST_RESORT, [
        ...['from', address, 'iif', 'lo', 'ipproto', protocol, 'lookup', table],
      ]),
    ),
  );
}

function sourcePort(from: number, to: number): string[] {
  if (from === 0 && to === LAST_PORT) return [];
  return ['sport', from === to ? String(from) : `${from}-${to}`];
}
