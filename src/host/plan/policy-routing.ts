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
 * IPv6's errors are left to nftables: rules can't tell them from neighbour discovery, which has to stay.
 */

import type { LbInterface, RealServerFacts } from '../facts/real-server.js';
import { type Family, familyOf } from '../family.js';
import { UDP_EARLY_DEMUX } from '../sysctl.js';
import { type Change, distinct } from './change.js';
import { switchOn } from './forwarding.js';
import { localPreference, moveLocalRule } from './local-rule.js';
import { ingressTables } from './nft-ingress.js';
import { type RealServerPlanOptions, servedAddresses } from './real-server-options.js';
import { PROTOCOLS, route, rule } from './routing.js';

/**
 * The changes that steer packets of these families into the TUN by routing rules. Throws an OperatorError if IPv6 has to be
 * forwarded and this kernel can't switch that on for one interface.
 */
export function byRouting(
  options: RealServerPlanOptions,
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

function forwarding({ routing }: RealServerPlanOptions, facts: RealServerFacts, family: Family): Change[] {
  const preference = localPreference(routing, facts, family) + 1;
  return distinct(ofFamily(facts, family), ({ name }) => name)
    .filter(lb => lb.forwarding.off !== undefined)
    .flatMap(lb => [
      rule(
        family,
        'forwarding to the TUN must not make the host a router',
        preference,
        `iif ${lb.name} blackhole`,
      ),
      ...switchOn(
        lb.forwarding,
        'packets for the TUN are forwarded packets: without this they are dropped silently',
        ' or set routing.steering to nft-ingress, which needs no forwarding',
      ),
    ]);
}

function ofFamily({ towardsLb }: RealServerFacts, family: Family): LbInterface[] {
  return towardsLb.filter(lb => lb.family === family);
}

/** Early demux finds a socket for a packet before routing. The kernel drops forwarded packets that have one. */
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

function wayIn({ tun, routing }: RealServerPlanOptions, family: Family): Change {
  return route(family, 'the way in', `default dev ${tun.name} table ${routing.table}`);
}

function steering(options: RealServerPlanOptions, facts: RealServerFacts, family: Family): Change[] {
  const { table, priority } = options.routing;
  const addresses = servedAddresses(options, family);
  const carried = options.loadBalancers.flatMap(({ prefix }, i) =>
    familyOf(prefix) !== family
      ? []
      : addresses.flatMap(address =>
          protocolsIn(family).map(({ protocol, description, behind }) =>
            rule(
              family,
              `from the load balancers: ${description}`,
              priority + behind,
              `from ${prefix} to ${address} iif ${facts.towardsLb[i].name} ipproto ${protocol} lookup ${table}`,
            ),
          ),
        ),
  );
  if (family === 6) return carried;
  // Any router on the way may report errors about a reply.
  const errors = distinct(ofFamily(facts, 4), ({ name }) => name).flatMap(({ name }) =>
    addresses.map(address =>
      rule(
        4,
        'errors about the replies',
        priority,
        `to ${address} iif ${name} ipproto ${PROTOCOLS.icmp[4]} lookup ${table}`,
      ),
    ),
  );
  return [...carried, ...errors];
}

/** `behind`: how far behind `priority` the rules for a protocol stand. */
function protocolsIn(family: Family): { protocol: string; description: string; behind: 0 | 1 }[] {
  const both = [
    { protocol: PROTOCOLS.udp, description: 'UDP', behind: 0 as const },
    { protocol: PROTOCOLS.uoa, description: 'UOA’s own protocol', behind: 1 as const },
  ];
  if (family === 4) return both;
  const options = {
    protocol: PROTOCOLS.destinationOptions,
    description: 'fragments behind a mark',
    behind: 0 as const,
  };
  return [...both, options];
}

function errors6(options: RealServerPlanOptions, facts: RealServerFacts): Change {
  const rules = ingressTables({
    tun: options.tun.name,
    loadBalancers: options.loadBalancers.flatMap(({ prefix }, i) =>
      familyOf(prefix) === 6 ? [{ prefix, interface: facts.towardsLb[i].name }] : [],
    ),
    addresses: servedAddresses(options, 6),
    fwmark: options.fwmark,
    errorsOnly: true,
  });
  return { kind: 'nft', ...rules, reason: 'errors about the replies' };
}
