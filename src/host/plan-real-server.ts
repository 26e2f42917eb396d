/**
 * The real server's set-up as data: configuration and facts in, a list of changes out.
 *
 * | preference               | rule                                        | why                                  |
 * | ------------------------ | ------------------------------------------- | ------------------------------------ |
 * | priority                 | from LB to service, UDP -> table            | the way in, ahead of local delivery  |
 * | priority                 | to service, ICMP -> table                   | errors about replies                 |
 * | priority + 1             | the same for protocol 248                   | carrier opp                          |
 * | localPriority            | local                                       | moved from 0, where it always wins   |
 * | localPriority + 1        | from the LBs' interface: nowhere            | forwarding is on; still no router    |
 * | localPriority + 10       | own UDP from a service port -> table + 1    | the replies                          |
 * | localPriority + 12       | own ICMP errors -> table + 1                | about datagrams of clients           |
 * | 32800 (behind `default`) | from a service, UDP, ICMP -> table + 1      | a way to clients for rp_filter,      |
 * |                          |                                             | where there is no default route      |
 * | 32801, with nft-ingress  | from the TUN, UDP: nowhere                  | has rp_filter tell protocols apart   |
 *
 * The local rule moves last and comes back first, so at no time is the host without one. Rules are `protocol kernel`:
 * systemd-networkd removes others that it didn't make.
 */
import { ExitCode, OperatorError } from '../errors.js';
import { type Change, distinct, type TunOptions, tunDevice } from './change.js';
import { isOwn } from './facts.js';
import type { LbInterface, RealServerFacts } from './facts-real-server.js';
import { ingressRules } from './nft-real-server.js';
import { interfaceKey, UDP_EARLY_DEMUX } from './sysctl.js';

export interface RealServerPlan {
  tun: TunOptions;
  routing: {
    table: number;
    priority: number;
    localPriority: number;
    steering: 'policy-routing' | 'nft-ingress';
  };
  loadBalancers: readonly { prefix: string }[];
  services: readonly { address: string; from: number; to: number }[];
}

/** Behind `main` and `default`. */
const LAST_RESORT = 32800;
const LAST_PORT = 65535;
/** Protocols by number: `ip` knows their names only from /etc/protocols, which a minimal host lacks. */
const ICMP = '1';
const UDP = '17';
const UOA = '248';
/** The kernel keeps ICMP's type and code where ports are: type 3, any code. */
const DESTINATION_UNREACHABLE = '768-783';

/** The changes that take the LBs' UDP through the TUN, and the services' replies. */
export function planRealServer(options: RealServerPlan, facts: RealServerFacts): Change[] {
  const interfaces = distinct(facts.towardsLb, ({ name }) => name);
  return [
    ...tunDevice(options.tun, facts.hasIpv6),
    ...routes(options, facts),
    ...interfaces.flatMap(strictSource(facts)),
    ...replies(options, facts),
    ...(options.routing.steering === 'nft-ingress' ? byIngress(options, facts) : byRouting(options, facts)),
  ];
}

/** Steering by nftables: no forwarding, no local rule in the way. */
function byIngress({ tun, loadBalancers, services }: RealServerPlan, facts: RealServerFacts): Change[] {
  const rules = ingressRules({
    tun: tun.name,
    loadBalancers: loadBalancers.map(({ prefix }, i) => ({ prefix, interface: facts.towardsLb[i].name })),
    addresses: [...new Set(services.map(({ address }) => address))],
  });
  return [
    // Only a rule that is not for `iif lo` does that (fib_rule_requires_fldissect).
    rule('has rp_filter look for protocols, as the rules before this one do', LAST_RESORT + 1, [
      ...['iif', tun.name, 'ipproto', UDP, 'blackhole'],
    ]),
    { kind: 'nft', ...rules, reason: 'from the load balancers, ahead of routing' },
  ];
}

/** Steering by routing rules. */
function byRouting(options: RealServerPlan, facts: RealServerFacts): Change[] {
  const interfaces = distinct(facts.towardsLb, ({ name }) => name);
  return [
    ...interfaces.flatMap(lb => forwarding(options, facts, lb)),
    ...earlyDemux(facts),
    wayIn(options),
    ...steering(options, facts),
    ...localRule(options, facts),
  ];
}

function routes({ tun, routing, services }: RealServerPlan, facts: RealServerFacts): Change[] {
  const present = services.find(({ address }) => isOwn(facts, address))?.address;
  if (present === undefined)
    throw new OperatorError(
      `realServer.services: none of ${services.map(({ address }) => address).join(', ')} is an address of this ` +
        'host; allowed: addresses that `ip address` shows here',
      ExitCode.configuration,
    );
  const mtu = Math.min(...facts.towardsLb.map(lb => lb.mtu));
  return [
    route('the replies: source and packet size as without the TUN', [
      ...['default', 'dev', tun.name, 'table', String(routing.table + 1)],
      ...['src', facts.wildcardSource ?? present, 'mtu', String(mtu)],
    ]),
  ];
}

function wayIn({ tun, routing }: RealServerPlan): Change {
  return route('the way in', ['default', 'dev', tun.name, 'table', String(routing.table)]);
}

function route(reason: string, spec: string[]): Change {
  return {
    kind: 'ip',
    up: ['-4', 'route', 'replace', ...spec],
    down: ['-4', 'route', 'del', ...spec],
    reason,
  };
}

function rule(reason: string, preference: number, spec: string[]): Change {
  const args = ['pref', String(preference), ...spec, 'protocol', 'kernel'];
  return { kind: 'ip', up: ['-4', 'rule', 'add', ...args], down: ['-4', 'rule', 'del', ...args], reason };
}

function forwarding({ routing }: RealServerPlan, facts: RealServerFacts, lb: LbInterface): Change[] {
  if (lb.forwarding !== '0') return [];
  return [
    rule('forwarding to the TUN must not make the host a router', localPreference(routing, facts) + 1, [
      ...['iif', lb.name, 'blackhole'],
    ]),
    {
      kind: 'sysctl',
      key: interfaceKey(lb.name, 'forwarding'),
      value: '1',
      before: lb.forwarding,
      reason: 'packets for the TUN are forwarded ones: without it they are dropped silently',
    },
  ];
}

function strictSource(facts: RealServerFacts): (lb: LbInterface) => Change[] {
  return ({ name, rpFilter }) => {
    if (Math.max(Number(rpFilter), Number(facts.allRpFilter)) !== 1) return [];
    return [
      {
        kind: 'sysctl',
        key: interfaceKey(name, 'rp_filter'),
        value: '2',
        before: rpFilter,
        reason: 'strict rp_filter would drop direct clients: the way back to them is the TUN',
      },
    ];
  };
}

/** ip_forward() drops what has a socket already: packets from an LB that some socket here is connected to. */
function earlyDemux({ udpEarlyDemux }: RealServerFacts): Change[] {
  if (udpEarlyDemux === '0') return [];
  return [
    {
      kind: 'sysctl',
      key: UDP_EARLY_DEMUX,
      value: '0',
      before: udpEarlyDemux,
      reason: 'sockets connected to a load balancer would lose its packets on their way to the TUN',
    },
  ];
}

function replies({ routing, services }: RealServerPlan, facts: RealServerFacts): Change[] {
  const table = String(routing.table + 1);
  const preference = Math.max(localPreference(routing, facts), routing.localPriority) + 10;
  const ports = distinct(services, ({ from, to }) => `${from}-${to}`);
  const addresses = distinct(services, ({ address }) => address);
  return [
    ...ports.map(({ from, to }) =>
      rule('replies of the service', preference, [
        ...['iif', 'lo', 'ipproto', UDP, ...sourcePort(from, to), 'lookup', table],
      ]),
    ),
    rule('errors of the host’s own about datagrams: for the load balancers', preference + 2, [
      ...['iif', 'lo', 'ipproto', ICMP, 'dport', DESTINATION_UNREACHABLE, 'lookup', table],
    ]),
    ...addresses.flatMap(({ address }) =>
      [UDP, ICMP].map(protocol =>
        rule('clients have a route even if the host has no default route', LAST_RESORT, [
          ...['from', address, 'iif', 'lo', 'ipproto', protocol, 'lookup', table],
        ]),
      ),
    ),
  ];
}

function sourcePort(from: number, to: number): string[] {
  if (from === 0 && to === LAST_PORT) return [];
  return ['sport', from === to ? String(from) : `${from}-${to}`];
}

function steering({ routing, loadBalancers, services }: RealServerPlan, facts: RealServerFacts): Change[] {
  const table = String(routing.table);
  const addresses = distinct(services, ({ address }) => address);
  const interfaces = distinct(facts.towardsLb, ({ name }) => name);
  const marked = loadBalancers.flatMap(({ prefix }, i) =>
    addresses.flatMap(({ address }) =>
      [UDP, UOA].map((protocol, k) =>
        rule(`from the load balancers: ${k === 0 ? 'UDP' : 'UOA’s own protocol'}`, routing.priority + k, [
          ...['from', prefix, 'to', address, 'iif', facts.towardsLb[i].name],
          ...['ipproto', protocol, 'lookup', table],
        ]),
      ),
    ),
  );
  // Any router may have something to say about a reply.
  const errors = interfaces.flatMap(({ name }) =>
    addresses.map(({ address }) =>
      rule('errors about the replies', routing.priority, [
        ...['to', address, 'iif', name, 'ipproto', ICMP, 'lookup', table],
      ]),
    ),
  );
  return [...marked, ...errors];
}

/** Whether the local rule comes before ours and has to move; Cilium, for one, has moved it already. */
function localMustMove(routing: RealServerPlan['routing'], facts: RealServerFacts): boolean {
  return routing.steering === 'policy-routing' && facts.localRule.priority <= routing.priority + 1;
}

function localPreference(routing: RealServerPlan['routing'], facts: RealServerFacts): number {
  return localMustMove(routing, facts) ? routing.localPriority : facts.localRule.priority;
}

function localRule({ routing }: RealServerPlan, facts: RealServerFacts): Change[] {
  if (!localMustMove(routing, facts)) return [];
  const { priority, protocol } = facts.localRule;
  const before = ['pref', String(priority), 'lookup', 'local', 'protocol', protocol];
  return [
    rule('local delivery, behind the way in', routing.localPriority, ['lookup', 'local']),
    {
      kind: 'ip',
      up: ['-4', 'rule', 'del', ...before],
      down: ['-4', 'rule', 'add', ...before],
      reason: 'and no longer ahead of it',
    },
  ];
}
