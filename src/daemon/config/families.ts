/** Faults of keys whose addresses have to be of the same family, or of both. */
import { type Family, familyOf } from '../../host/family.js';
import { readUnicast } from './addresses.js';
import { elements, isNone, valueIn } from './collections.js';
import type { Fault } from './faults.js';
import { overlap, type PortRange, readPorts } from './ports.js';
import type { Values } from './values.js';

/** `known` are the keys that have faults already. */
export function acrossFamilies(values: Values, known: ReadonlySet<string>): Fault[] {
  return [
    ...undeliverable(values, known),
    ...untranslatable(values),
    ...(values.role === 'load-balancer' ? sourceless(values, known) : []),
  ];
}

/** `nat64: deliver` needs a service of the other family to deliver to. */
function undeliverable({ realServer: { nat64, services } }: Values, known: ReadonlySet<string>): Fault[] {
  // A fault in a service is reported already, and may be the reason.
  if (nat64 !== 'deliver' || services === null || hasFaults(known, 'realServer.services')) return [];
  const portsOf = (family: Family) =>
    services
      .filter(({ address }) => familyOf(address) === family)
      .map(({ port }) => readPorts(port) as PortRange);
  const ports6 = portsOf(6);
  if (portsOf(4).some(ports => ports6.some(others => overlap(ports, others)))) return [];
  const allowed = 'keep, as long as no IPv4 and IPv6 address in realServer.services share a port';
  return [{ key: 'realServer.nat64', value: nat64, allowed }];
}

/** The kernel's NAT can't translate between families. */
function untranslatable({ loadBalancer }: Values): Fault[] {
  return elements(loadBalancer.services).flatMap((service, i) => {
    const vip = readUnicast(valueIn(service, 'vip'));
    return elements(valueIn(service, 'realServers')).flatMap((server, j) => {
      const value = valueIn(server, 'address');
      const address = readUnicast(value);
      if (vip === undefined || address === undefined || familyOf(vip) === familyOf(address)) return [];
      const key = `loadBalancer.services[${i}].realServers[${j}].address`;
      return [{ key, value, allowed: `an IPv${familyOf(vip)} unicast address, because the vip is one` }];
    });
  });
}

/** Managed NAT needs a local address of each family that is balanced: it is the source towards the real servers. */
function sourceless({ loadBalancer }: Values, known: ReadonlySet<string>): Fault[] {
  const { nat, localAddresses, services } = loadBalancer;
  const key = 'loadBalancer.localAddresses';
  // An empty list is reported as missing (together.ts).
  if (nat !== 'managed' || isNone(localAddresses) || hasFaults(known, key)) return [];
  const families = new Set(localAddresses?.map(familyOf));
  const vips = elements(services).map(service => readUnicast(valueIn(service, 'vip')));
  return ([4, 6] as const).flatMap(family => {
    const first = vips.findIndex(vip => vip !== undefined && familyOf(vip) === family);
    if (first === -1 || families.has(family)) return [];
    const problem = `no IPv${family} address for loadBalancer.services[${first}]`;
    return [
      { key, value: localAddresses, allowed: "at least one of each family of the services' VIPs", problem },
    ];
  });
}

function hasFaults(known: ReadonlySet<string>, path: string): boolean {
  return [...known].some(key => key.startsWith(path));
}
