/** The two lists that a real server must have: the sources whose marks count, and the application's sockets. */
import { prefix, readPrefix, readUnicast, unicastAddress } from './addresses.js';
import { isMapping, list, mapping, repeated, valueIn } from './collections.js';
import type { Fault } from './faults.js';
import { overlap, type PortRange, ports, readPorts } from './ports.js';
import { trueOrFalse, type ValueRule, wholeNumber } from './rules.js';

/** At least a margin for the way and some seconds more. */
const seconds = wholeNumber(5, 86_400, 'whole seconds');
const EXAMPLE = '{ unanswered: 30, answered: 120 }';
const phases = mapping({ unanswered: seconds, answered: seconds }, [], EXAMPLE);

/** One number, or conntrack's two. */
const timeout: ValueRule = (key, value) => {
  if (isMapping(value)) return phases(key, value);
  return seconds(key, value).map(fault => ({ ...fault, allowed: `${fault.allowed}, or ${EXAMPLE}` }));
};

export const loadBalancers = list(
  mapping(
    { prefix, ack: trueOrFalse, ask: trueOrFalse, deliverEmpty: trueOrFalse, timeout },
    ['ack', 'ask', 'deliverEmpty', 'timeout'],
    '{ prefix: 10.10.1.0/24 }',
  ),
  'a list of the load balancers, at least one, such as [{ prefix: 10.10.1.0/24 }]',
  (key, items) => [...repeatedPrefixes(key, items), ...impossibleAsks(key, items)],
);

const address = unicastAddress(
  'an IPv4 or IPv6 unicast address of this host, such as 10.10.1.2 or fd00:1::2',
);

export const services = list(
  mapping({ address, port: ports }, [], '{ address: 10.10.1.2, port: 53 }'),
  "a list of the application's sockets, at least one, such as [{ address: 10.10.1.2, port: 53 }]",
  sharedPorts,
);

/** It would not be clear which entry's `ack` counts. */
function repeatedPrefixes(key: string, items: unknown[]): Fault[] {
  const prefixes = items.map(item => valueIn(item, 'prefix'));
  return repeated(prefixes.map(readPrefix)).map(({ index, first }) => ({
    key: `${key}[${index}].prefix`,
    value: prefixes[index],
    allowed: `a prefix that ${key}[${first}] doesn't have`,
  }));
}

/** A load balancer without ACKs passes asks on to clients, and with deliverEmpty the application gets the answers. */
function impossibleAsks(key: string, items: unknown[]): Fault[] {
  return items.flatMap((item, index) => {
    if (valueIn(item, 'ask') !== true) return [];
    const reason = valueIn(item, 'ack') === false ? 'ack is false' : 'deliverEmpty is true';
    const canAsk = valueIn(item, 'ack') !== false && valueIn(item, 'deliverEmpty') !== true;
    return canAsk ? [] : [{ key: `${key}[${index}].ask`, value: true, allowed: `false, as ${reason}` }];
  });
}

function sharedPorts(key: string, items: unknown[]): Fault[] {
  const seen: (PortRange & { address: string; index: number })[] = [];
  return items.flatMap((item, index) => {
    const value = valueIn(item, 'port');
    const range = readPorts(value);
    const address = readUnicast(valueIn(item, 'address'));
    if (range === undefined || address === undefined) return [];
    const other = seen.find(socket => socket.address === address && overlap(socket, range));
    seen.push({ ...range, address, index });
    if (other === undefined) return [];
    const allowed = `ports of ${address} that ${key}[${other.index}] doesn't have`;
    return [{ key: `${key}[${index}].port`, value, allowed }];
  });
}
