/** The two lists that a real server must have: whose marks count, and which sockets are the application's. */
import { prefix, readPrefix, unicastAddress } from './addresses.js';
import { isMapping, list, mapping, repeated } from './collections.js';
import type { Fault } from './faults.js';
import { type PortRange, ports, readPorts } from './ports.js';
import { trueOrFalse } from './rules.js';

export const loadBalancers = list(
  mapping(
    { prefix, ack: trueOrFalse, deliverEmpty: trueOrFalse },
    ['ack', 'deliverEmpty'],
    '{ prefix: 10.10.1.0/24 }',
  ),
  'a list of the load balancers, at least one, such as [{ prefix: 10.10.1.0/24 }]',
  repeatedPrefixes,
);

const address = unicastAddress('an IPv4 unicast address of this host, such as 10.10.1.2');

export const services = list(
  mapping({ address, port: ports }, [], '{ address: 10.10.1.2, port: 53 }'),
  "a list of the application's sockets, at least one, such as [{ address: 10.10.1.2, port: 53 }]",
  sharedPorts,
);

/** Which entry's `ack` would count? */
function repeatedPrefixes(key: string, items: unknown[]): Fault[] {
  const prefixes = items.map(item => (isMapping(item) ? item.prefix : undefined));
  return repeated(prefixes.map(readPrefix)).map(({ index, first }) => ({
    key: `${key}[${index}].prefix`,
    value: prefixes[index],
    allowed: `a prefix that ${key}[${first}] doesn't have`,
  }));
}

function sharedPorts(key: string, items: unknown[]): Fault[] {
  const seen: (PortRange & { address: unknown; index: number })[] = [];
  return items.flatMap((item, index) => {
    const range = isMapping(item) ? readPorts(item.port) : undefined;
    if (range === undefined || !isMapping(item)) return [];
    const { address, port: value } = item;
    const other = seen.find(s => s.address === address && s.from <= range.to && range.from <= s.to);
    seen.push({ ...range, address, index });
    if (other === undefined) return [];
    const allowed = `ports of ${String(address)} that ${key}[${other.index}] doesn't have`;
    return [{ key: `${key}[${index}].port`, value, allowed }];
  });
}
