/**
 * The real server's set-up as data: configuration and facts in, a list of changes out.
 *
 * | preference               | rule                                        | why                                  |
 * | ------------------------ | ------------------------------------------- | ------------------------------------ |
 * | priority                 | from LB to service, UDP -> table            | the way in, ahead of local delivery  |
 * | priority + 1             | the same for protocol 248                   | carrier opp                          |
 * | localPriority            | local                                       | moved from 0, where it always wins   |
 * | localPriority + 1        | from the LBs' interface: nowhere            | forwarding is on; still no router    |
 * | localPriority + 10       | own UDP from a service port -> table + 1    | the replies                          |
 * | 32800 (behind `default`) | from a service, UDP -> table + 1            | a way to clients for rp_filter,      |
 * |                          |                                             | where there is no default route      |
 *
 * The local rule moves last and comes back first, so at no time is the host without one. Rules are `protocol kernel`: systemd-networkd removes others it didn't make.
 */
import { ExitCode, OperatorError } from '../errors.js';
import { type Change, distinct, type TunOptions, tunDevice } from './change.js';
import { isOwn } from './facts.js';
import type { LbInterface, RealServerFacts } from './facts-real-server.js';
import { interfaceKey, UDP_EARLY_DEMUX } from './sysctl.js';

export interface RealServerPlan {
  tun: TunOptions;
  routing: { table: number; priority: number; localPriority: number };
  loadBalancers: readonly { prefix: string }[];
  services: readonly { address: string; from: number; to: number }[];
}

/** Behind `main` and `default`. */
const LAST_RESORT = 32800;
const LAST_PORT = 65535;

/** The changes that take the LBs' UDP through the TUN, and the services' replies. */
export function planRealServer(options: RealServerPlan, facts: RealServerFacts): Change[] {
  const interfaces = distinct(facts.towardsLb, ({ name }) => name);
  return [
    ...tunDevice(options.tun, facts.hasIpv6),
    ...routes(options, facts),
    ...interfaces.flatMap(lb => receiving(options, facts, lb)),
    ...earlyDemux(facts),
    ...replies(options, facts),
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
  const into = String(routing.table);
  const back = String(routing.table + 1);
  return [
    route('the way in', ['default', 'dev', tun.name, 'table', into]),
    route('the replies: source and packet size as without the TUN', [
      ...[
        'default',
        'dev',
        tun.name,
        'table',
        back,
        'src',
        facts.wildcardSource ?? present,
        'mtu',
        String(mtu),
      ],
    ]),
  ];
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

function receiving({ routing }: RealServerPlan, facts: RealServerFacts, lb: LbInterface): Change[] {
  const changes: Change[] = [];
  if (lb.forwarding === '0') {
    changes.push(
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
    );
  }
  if (Math.max(Number(lb.rpFilter), Number(facts.allRpFilter)) === 1)
    changes.push({
      kind: 'sysctl',
      key: interfaceKey(lb.name, 'rp_filter'),
      value: '2',
      before: lb.rpFilter,
      reason: 'strict rp_filter would drop direct clients: the way back to them is the TUN',
    });
  return changes;
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
  const preference = localPreference(routing, facts) + 10;
  const ports = distinct(services, ({ from, to }) => `${from}-${to}`);
  const addresses = distinct(services, ({ address }) => address);
  return [
    ...ports.map(({ from, to }) =>
      rule('replies of the service', preference, [
        ...['iif', 'lo', 'ipproto', 'udp', ...sourcePort(from, to), 'lookup', table],
      ]),
    ),
    ...addresses.map(({ address }) =>
      rule('clients have a route even if the host has no default route', LAST_RESORT, [
        ...['from', address, 'iif', 'lo', 'ipproto', 'udp', 'lookup', table],
      ]),
    ),
  ];
}

function sourcePort(from: number, to: number): string[] {
  if (from === 0 && to === LAST_PORT) return [];
  return ['sport', from === to ? String(from) : `${from}-${to}`];
}

function steering({ routing, loadBalancers, services }: RealServerPlan, facts: RealServerFacts): Change[] {
  const addresses = distinct(services, ({ address }) => address);
  return loadBalancers.flatMap(({ prefix }, i) =>
    addresses.flatMap(({ address }) =>
      ['udp', '248'].map((protocol, k) =>
        rule(`from the load balancers: ${k === 0 ? 'UDP' : 'UOA’s own protocol'}`, routing.priority + k, [
          ...['from', prefix, 'to', address, 'iif', facts.towardsLb[i].name],
          ...['ipproto', protocol, 'lookup', String(routing.table)],
        ]),
      ),
    ),
  );
}

/** Whether the local rule comes before ours and has to move; Cilium, for one, has moved it already. */
function localMustMove(routing: RealServerPlan['routing'], facts: RealServerFacts): boolean {
  return facts.localRule.priority <= routing.priority + 1;
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
