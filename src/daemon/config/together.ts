/** Faults that no key has by itself. */
import { readUnicast } from './addresses.js';
import { elements, isMapping, isNone, missing, valueIn } from './collections.js';
import { acrossFamilies } from './families.js';
import type { Fault } from './faults.js';
import { keys } from './keys.js';
import { realServers } from './load-balancer.js';
import type { Values } from './values.js';

/** The kernel's own rules for the tables main and default come behind this preference. */
const LAST_LOCAL_PRIORITY = 32_700;

/** The largest mark that leaves a bit above it. */
const LARGEST_ON_LB = 0x7fff_ffff;

/** The faults of keys that have none in `faults` yet. A value whose key is in `faults` may be anything. */
export function acrossKeys(values: Values, faults: readonly Fault[]): Fault[] {
  const known = new Set(faults.map(({ key }) => key));
  return [
    ...missingLists(values, known),
    ...priorities(values, known),
    ...localVips(values),
    ...divertBit(values, known),
    ...acrossFamilies(values, known),
  ].filter(({ key }) => !known.has(key));
}

/** Lists that the role can't do without. */
function missingLists(values: Values, known: ReadonlySet<string>): Fault[] {
  // If the role itself is wrong, it is not clear which lists it needs.
  if (known.has('role')) return [];
  return values.role === 'real-server' ? missingSources(values) : missingNat(values, known);
}

function missingSources({ realServer }: Values): Fault[] {
  return (['loadBalancers', 'services'] as const)
    .filter(name => realServer[name] === null)
    .flatMap(name => missingKey(`realServer.${name}`));
}

/** Managed NAT is made from these lists. */
function missingNat({ loadBalancer }: Values, known: ReadonlySet<string>): Fault[] {
  if (known.has('loadBalancer.nat') || loadBalancer.nat === 'external') return [];
  const by = 'nat: managed';
  const lists = (['localAddresses', 'services'] as const)
    .filter(name => isNone(loadBalancer[name]))
    .flatMap(name => missingKey(`loadBalancer.${name}`, by));
  const servers = elements(loadBalancer.services).flatMap((service, i) =>
    isMapping(service) && isNone(service.realServers)
      ? [missing(realServers, `loadBalancer.services[${i}].realServers`, by)]
      : [],
  );
  return [...lists, ...servers];
}

function missingKey(path: string, by?: string): Fault[] {
  const key = keys.get(path);
  return key === undefined ? [] : [missing(key.rule, path, by)];
}

/** The rules at `priority` and `priority + 1` have to come before the rule for the table local. */
function priorities({ routing }: Values, known: ReadonlySet<string>): Fault[] {
  const { priority, localPriority } = routing;
  if (known.has('routing.priority') || localPriority > priority + 1) return [];
  const allowed = `a whole number above ${priority + 1} (routing.priority and its next) up to ${LAST_LOCAL_PRIORITY}`;
  return [{ key: 'routing.localPriority', value: localPriority, allowed }];
}

/** If a local address were a VIP as well, replies to it could be taken for requests. */
function localVips({ loadBalancer }: Values): Fault[] {
  const local = elements(loadBalancer.localAddresses).map(readUnicast);
  return elements(loadBalancer.services).flatMap((service, i) => {
    const value = valueIn(service, 'vip');
    const vip = readUnicast(value);
    const at = vip === undefined ? -1 : local.indexOf(vip);
    if (at === -1) return [];
    const allowed = `an address other than loadBalancer.localAddresses[${at}]`;
    return [{ key: `loadBalancer.services[${i}].vip`, value, allowed }];
  });
}

/** A load balancer also uses the bit above the mark: it sends packets into the TUN. */
function divertBit({ role, routing }: Values, known: ReadonlySet<string>): Fault[] {
  const { mark } = routing;
  if (role !== 'load-balancer' || known.has('routing.mark') || mark <= LARGEST_ON_LB) return [];
  const allowed = `a whole number from 1 to ${LARGEST_ON_LB} on a load balancer, which uses the bit above it too`;
  return [{ key: 'routing.mark', value: mark, allowed }];
}
