/** The lists of the load balancer's section: their shape is checked, nothing reads them yet. */
import { anyAddress } from './addresses.js';
import { list, mapping } from './collections.js';
import { ports } from './ports.js';
import { choice, type Rule, wholeNumber } from './rules.js';

/** These may be empty as long as the role isn't built. */
function orEmpty(rule: Rule): Rule {
  return (key, value) => (Array.isArray(value) && value.length === 0 ? [] : rule(key, value));
}

export const localAddresses = orEmpty(list(anyAddress, 'a list of addresses such as [10.10.2.1]'));

const realServers = list(
  mapping(
    { address: anyAddress, port: ports, weight: wholeNumber(0, 65535) },
    ['weight'],
    '{ address: 10.10.2.2, port: 53, weight: 1 }',
  ),
  'a list of real servers such as [{ address: 10.10.2.2, port: 53, weight: 1 }]',
);

export const virtualServices = orEmpty(
  list(
    mapping(
      {
        vip: anyAddress,
        port: ports,
        schedule: choice(['source-hash', 'round-robin', 'random']),
        realServers,
      },
      ['schedule'],
      '{ vip: 198.51.100.10, port: 53, realServers: [...] }',
    ),
    'a list of services such as [{ vip: 198.51.100.10, port: 53, realServers: [...] }]',
  ),
);
