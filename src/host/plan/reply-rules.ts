/**
 * The rules that lead replies into the TUN, to be turned back there:
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
import type { RealServerFacts } from '../facts/real-server.js';
import { type Family, familyOf } from '../family.js';
import { type Change, distinct } from './change.js';
import { localPreference } from './local-rule.js';
import { type RealServerPlanOptions, servedAddresses } from './real-server-options.js';
import { PROTOCOLS, rule } from './routing.js';

/** A preference behind those of `main` and `default`. */
const LAST_RESORT = 32800;
const LAST_PORT = 65535;
/**
 * The ICMP errors that this host sends about datagrams, as ports: the kernel looks for `type << 8 | code` there. They are
 * destination unreachable, and of IPv6 also parameter problem, which answers an unknown next header.
 */
const OWN_ERRORS: Readonly<Record<Family, readonly string[]>> = {
  4: ['768-783'],
  6: ['256-511', '1024-1279'],
};

/** The rules for the replies of a family. */
export function replyRules(options: RealServerPlanOptions, facts: RealServerFacts, family: Family): Change[] {
  const { routing } = options;
  const services = options.services.filter(({ address }) => familyOf(address) === family);
  const table = routing.table + 1;
  const preference = Math.max(localPreference(routing, facts, family), routing.localPriority) + 10;
  const ports = distinct(services, ({ from, to }) => `${from}-${to}`);
  return [
    ...ports.map(({ from, to }) =>
      rule(
        family,
        'replies of the service',
        preference,
        `iif lo ipproto ${PROTOCOLS.udp}${sourcePort(from, to)} lookup ${table}`,
      ),
    ),
    ...OWN_ERRORS[family].map(types =>
      rule(
        family,
        'ICMP errors of this host about datagrams, for the load balancers',
        preference + 2,
        `iif lo ipproto ${PROTOCOLS.icmp[family]} dport ${types} lookup ${table}`,
      ),
    ),
    // IPv6 has no rp_filter that would ask for a way back.
    ...(family === 4 ? lastResort(servedAddresses(options, 4), table) : []),
  ];
}

function lastResort(addresses: readonly string[], table: number): Change[] {
  return addresses.flatMap(address =>
    [PROTOCOLS.udp, PROTOCOLS.icmp[4]].map(protocol =>
      rule(
        4,
        'clients have a route even if the host has no default route',
        LAST_RESORT,
        `from ${address} iif lo ipproto ${protocol} lookup ${table}`,
      ),
    ),
  );
}

function sourcePort(from: number, to: number): string {
  if (from === 0 && to === LAST_PORT) return '';
  return ` sport ${from === to ? from : `${from}-${to}`}`;
}

/**
 * The kernel has rp_filter look at protocols only if there is a rule with one that is not for `iif lo`
 * (fib_rule_requires_fldissect). The rules that steer IPv4 are such. Without those, this one is.
 */
export function protocolsApart({ tun }: RealServerPlanOptions): Change {
  return rule(
    4,
    'with this rule rp_filter heeds protocols, as the rules before it do',
    LAST_RESORT + 1,
    `iif ${tun.name} ipproto ${PROTOCOLS.udp} blackhole`,
  );
}
