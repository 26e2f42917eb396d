/** The two lists that a real server must have: whose marks count, and which sockets are the application's. */
import { prefix, readPrefix, serviceAddress } from './addresses.js';
import { isMapping, list, mapping } from './collections.js';
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

export const services = list(
  mapping({ address: serviceAddress, port: ports }, [], '{ address: 10.10.1.2, port: 53 }'),
  "a list of the application's sockets, at least one, such as [{ address: 10.10.1.2, port: 53 }]",
  sharedPorts,
);

/** Which entry's `ack` would count? */
function repeatedPrefixes(key: string, items: unknown[]): Fault[] {
  const seen = new Map<string, number>();
  return items.flatMap((item, i) => {
    const value = isMapping(item) ? item.prefix : undefined;
    const text = readPrefix(value);
    if (text === undefined) return [];
    const first = seen.get(text);
    if (first === undefined) {
      seen.set(text, i);
      return [];
    }
    return [{ key: `${key}[${i}].prefix`, value, allowed: `a prefix that ${key}[${first}] doesn't have` }];
  });
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
