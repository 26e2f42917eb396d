/** The lists of the load balancer's section. They may be empty with `nat: external`. */
import { readUnicast, unicastAddress } from './addresses.js';
import { isMapping, list, type Mapping, mapping, orEmpty, repeated } from './collections.js';
import type { Fault } from './faults.js';
import { port, readPort } from './ports.js';
import { choice, wholeNumber } from './rules.js';

const weightRule = wholeNumber(0, 1000);
/** At most so much, all real servers of a service together. */
const MOST_WEIGHT = 10_000;

export const localAddresses = orEmpty(
  list(
    unicastAddress('an IPv4 or IPv6 unicast address of this host, such as 10.10.2.1 or fd00:2::1'),
    "a list of this host's addresses, at least one, such as [10.10.2.1]",
    repeatedAddresses,
  ),
);

export const realServers = orEmpty(
  list(
    mapping(
      {
        address: unicastAddress('an IPv4 or IPv6 unicast address such as 10.10.2.2 or fd00:2::2'),
        port,
        weight: weightRule,
      },
      ['port', 'weight'],
      '{ address: 10.10.2.2, port: 53, weight: 1 }',
    ),
    'a list of real servers, at least one, such as [{ address: 10.10.2.2, port: 53, weight: 1 }]',
    weights,
  ),
);

export const virtualServices = orEmpty(
  list(
    mapping(
      {
        vip: unicastAddress('an IPv4 or IPv6 unicast address such as 198.51.100.10 or 2001:db8::10'),
        port,
        schedule: choice(['source-hash', 'round-robin', 'random']),
        realServers,
      },
      ['schedule', 'realServers'],
      '{ vip: 198.51.100.10, port: 53, realServers: [{ address: 10.10.2.2 }] }',
    ),
    'a list of services, at least one, ' +
      'such as [{ vip: 198.51.100.10, port: 53, realServers: [{ address: 10.10.2.2 }] }]',
    (key, items) => [...repeatedServices(key, items), ...repeatedServers(key, items)],
  ),
);

function repeatedAddresses(key: string, items: unknown[]): Fault[] {
  return repeated(items.map(readUnicast)).map(({ index, first }) => ({
    key: `${key}[${index}]`,
    value: items[index],
    allowed: `an address other than ${key}[${first}]`,
  }));
}

/** Looks at the sum only if each weight is valid. */
function weights(key: string, items: unknown[]): Fault[] {
  let sum = 0;
  for (const item of items) {
    const { weight = 1 } = isMapping(item) ? item : {};
    if (weightRule('', weight).length > 0) return [];
    sum += Number(weight);
  }
  if (sum === 0)
    return [{ key, value: items, allowed: 'at least one above 0', problem: 'all weights are 0' }];
  if (sum <= MOST_WEIGHT) return [];
  return [{ key, value: items, allowed: `at most ${MOST_WEIGHT}`, problem: `the weights add up to ${sum}` }];
}

/** It would not be clear which entry's real servers get the flows. */
function repeatedServices(key: string, items: unknown[]): Fault[] {
  const services = items.map(item => (isMapping(item) ? item : {}));
  const sockets = services.map(service => socketOf(service.vip, service.port));
  return repeated(sockets).map(({ index, first }) => ({
    key: `${key}[${index}].port`,
    value: services[index].port,
    allowed: `a port of ${String(services[index].vip)} that ${key}[${first}] doesn't have`,
  }));
}

/** Not a rule of the list of real servers: a port that is left out there is the service's. */
function repeatedServers(key: string, items: unknown[]): Fault[] {
  return items.flatMap((item, i) => {
    if (!isMapping(item) || !Array.isArray(item.realServers)) return [];
    const servers: Mapping[] = item.realServers.map((server: unknown) => (isMapping(server) ? server : {}));
    const sockets = servers.map(({ address, port = item.port }) => socketOf(address, port));
    const at = `${key}[${i}].realServers`;
    return repeated(sockets).map(({ index, first }) => ({
      key: `${at}[${index}].address`,
      value: servers[index].address,
      allowed: `an address and port that ${at}[${first}] doesn't have`,
    }));
  });
}

/** `address:port` in its one spelling; undefined if either is not valid. */
function socketOf(addressValue: unknown, portValue: unknown): string | undefined {
  const address = readUnicast(addressValue);
  const number = readPort(portValue);
  return address === undefined || number === undefined ? undefined : `${address}:${number}`;
}
