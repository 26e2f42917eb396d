/**
 * The real server's way in by routing rules:
 *
 * | preference        | rule                                  | why                                            |
 * | ----------------- | ------------------------------------- | ---------------------------------------------- |
 * | priority          | from LB to service, UDP -> table      | the way in, ahead of local delivery            |
 * | priority          | to service, ICMP -> table             | IPv4: errors about replies                     |
 * | priority          | the same for protocol 60              | IPv6: fragments of what has a mark in front    |
 * | priority + 1      | the same for protocol 248             | carrier opp                                    |
 * | localPriority     | local                                 | moved from 0, where it always wins             |
 * | localPriority + 1 | from the LBs' interface: nowhere      | forwarding is on; still no router              |
 *
 * The local rule moves last and comes back first, so at no time is the host without one. IPv6's errors are left to
 * nftables: rules can't tell them from neighbour discovery, which has to stay.
 */

import type { LocalRule } from '../apply/state.js';
import { type Family, familyOf } from '../facts/addresses.js';
import type { LbInterface, RealServerFacts } from '../facts/real-server.js';
import { UDP_EARLY_DEMUX } from '../sysctl.js';
import { type Change, distinct } from './change.js';
import { switchOn } from './forwarding.js';
import { ingressRules } from './nft-real-server.js';
import type { RealServerPlan } from './real-server.js';
import { PROTOCOLS, route, rule } from './routing.js';

export function byRouting(
  options: RealServerPlan,
  facts: RealServerFacts,
  families: readonly Family[],
): Change[] {
  return [
    ...families.flatMap(family => forwarding(options, facts, family)),
    ...earlyDemux(facts),
    ...families.map(family => wayIn(options, family)),
    ...families.flatMap(family => steering(options, facts, family)),
    ...(families.includes(6) ? [errors6(options, facts)] : []),
    ...families.flatMap(family => moveLocalRule(options, facts, family)),
  ];
}

/** Where the local rule is while we run. */
export function localPreference(
  routing: RealServerPlan['routing'],
  facts: RealServerFacts,
  family: Family,
): number {
  const { priority } = localRule(facts, family);
  return localMustMove(routing, priority) ? routing.localPriority : priority;
}

/** Whether the local rule comes before ours; Cilium, for one, has moved it already. */
function localMustMove({ steering, priority }: RealServerPlan['routing'], local: number): boolean {
  return steering === 'policy-routing' && local <= priority + 1;
}

/** A host that does without IPv6 has no rule for it. */
function localRule({ localRules }: RealServerFacts, family: Family): LocalRule {
  return localRules.find(found => found.family === family) ?? { family, priority: 0, protocol: 'kernel' };
}

function forwarding({ routing }: RealServerPlan, facts: RealServerFacts, family: Family): Change[] {
  const preference = localPreference(routing, facts, family) + 1;
  return distinct(ofFamily(facts, family), ({ name }) => name)
    .filter(lb => lb.forwarding.off !== undefined)
    .flatMap(lb => [
      rule(family, 'forwarding to the TUN must not make the host a router', preference, [
        ...['iif', lb.name, 'blackhole'],
      ]),
      ...switchOn(
        lb.forwarding,
        'packets for the TUN are forwarded ones: without it they are dropped silently',
        ' or set routing.steering to nft-ingress, which needs no forwarding',
      ),
    ]);
}

function ofFamily({ towardsLb }: RealServerFacts, family: Family): LbInterface[] {
  return towardsLb.filter(lb => lb.family === family);
}

/** Forwarding drops what has a socket already: packets from an LB that some socket here is connected to. */
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

function wayIn({ tun, routing }: RealServerPlan, family: Family): Change {
  return route(family, 'the way in', ['default', 'dev', tun.name, 'table', String(routing.table)]);
}

function steering(options: RealServerPlan, facts: RealServerFacts, family: Family): Change[] {
  const { routing, loadBalancers } = options;
  const table = String(routing.table);
  const addresses = servedAddresses(options, family);
  const carried = loadBalancers.flatMap(({ prefix }, i) =>
    familyOf(prefix) !== family
      ? []
      : addresses.flatMap(address =>
          protocolsIn(family).map(({ protocol, what, behind }) =>
            rule(family, `from the load balancers: ${what}`, routing.priority + behind, [
              ...['from', prefix, 'to', address, 'iif', facts.towardsLb[i].name],
              ...['ipproto', protocol, 'lookup', table],
            ]),
          ),
        ),
  );
  if (family === 6) return carried;
  // Any router may have something to say about a reply.
  const errors = distinct(ofFamily(facts, 4), ({ name }) => name).flatMap(({ name }) =>
    addresses.map(address =>
      rule(4, 'errors about the replies', routing.priority, [
        ...['to', address, 'iif', name, 'ipproto', PROTOCOLS.icmp[4], 'lookup', table],
      ]),
    ),
  );
  return [...carried, ...errors];
}

function protocolsIn(family: Family): { protocol: string; what: string; behind: 0 | 1 }[] {
  const both = [
    { protocol: PROTOCOLS.udp, what: 'UDP', behind: 0 as const },
    { protocol: PROTOCOLS.uoa, what: 'UOA’s own protocol', behind: 1 as const },
  ];
  if (family === 4) return both;
  const options = {
    protocol: PROTOCOLS.destinationOptions,
    what: 'fragments behind a mark',
    behind: 0 as const,
  };
  return [...both, options];
}

function servedAddresses({ services }: RealServerPlan, family: Family): string[] {
  return [...new Set(services.map(({ address }) => address))].filter(address => familyOf(address) === family);
}

function errors6(options: RealServerPlan, facts: RealServerFacts): Change {
  const rules = ingressRules({
    tun: options.tun.name,
    loadBalancers: options.loadBalancers.flatMap(({ prefix }, i) =>
      familyOf(prefix) === 6 ? [{ prefix, interface: facts.towardsLb[i].name }] : [],
    ),
    addresses: servedAddresses(options, 6),
    mark: options.routing.mark,
    errorsOnly: true,
  });
  return { kind: 'nft', ...rules, reason: 'errors about the replies' };
}

function moveLocalRule({ routing }: RealServerPlan, facts: RealServerFacts, family: Family): Change[] {
  const { priority, protocol } = localRule(facts, family);
  if (!localMustMove(routing, priority)) return [];
  const before = ['pref', String(priority), 'lookup', 'local', 'protocol', protocol];
  const there = rule(family, 'local delivery, behind the way in', routing.localPriority, ['lookup', 'local']);
  return [
    there,
    {
      kind: 'ip',
      up: [`-${family}`, 'rule', 'del', ...before],
      down: [`-${family}`, 'rule', 'add', ...before],
      reason: 'and no longer ahead of it',
    },
  ];
}
