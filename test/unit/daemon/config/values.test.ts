/** Which values each key refuses and takes. */
import { expect, test } from 'vitest';
import {
  BALANCED,
  BALANCED_SERVERS,
  changed,
  changedLb,
  faultsOf,
  GOOD,
  GOOD_LB,
  LOCAL_ADDRESS,
  LOCAL_ADDRESSES,
  ONE_PORT,
  PORTS,
  PREFIX,
  SERVICE,
  useConfigFiles,
  VIP,
  VIRTUAL_SERVICE,
  VIRTUAL_SERVICES,
} from '../../support/config.js';

useConfigFiles();

test('the configurations that these tests change have no faults', () => {
  expect(faultsOf(GOOD)).toEqual([]);
  expect(faultsOf(GOOD_LB)).toEqual([]);
});

const INTERFACE = 'an interface name of 1 to 15 bytes, without "/", ":", "%" or blanks';
const TUN_ADDRESS = 'an IPv4 unicast address with its prefix length, such as 192.0.2.254/32';

/** Nobody's unicast address: unspecified, loopback, IPv4-compatible, multicast, not one, not a bare one. */
const WRONG_IPV6 = [
  '::',
  '::1',
  '::10.0.0.1',
  'ff02::1',
  'fd00::1::',
  '[fd00::1]',
  'fd00::1/64',
  'fd00::1/128',
];

const WRONG_PORTS = [0, 65536, -1, 5.3, '0', '9-3', '1-65536', 'dns', '', null];

const TABLE = 'a table number from 1 to 4294967293, but not 252, 253, 254 or 255';

/** Key, values that it must refuse, and what it says is allowed. */
const REFUSED: [string, unknown[], string][] = [
  [
    'tun.name',
    ['', 'a234567890123456', 'a/b', 'a b', 'a:b', '.', '..', 'uoa%d', 'all', 5, null, ['a']],
    INTERFACE,
  ],
  ['tun.name', ['ä234567890123456', 'a\n', 'a\u0000'], INTERFACE],
  [
    'tun.address',
    ['', '192.0.2.254/33', '127.0.0.1/8', '0.0.0.0/0', '224.0.0.1/32', '1.2.3', 'fd00::1/128', 'fe80::1', 7],
    TUN_ADDRESS,
  ],
  ['tun.offload', ['on', 'AUTO', '', true, false, 1, null], 'auto or off'],
  ['tun.merge', ['True', 'auto', '', 0, 1, null], 'true or false'],
  ['tun.coalesce', [-1, 1001, 0.5, 'much', '', true, null], 'microseconds from 0 to 1000'],
  ['log.level', ['', 'trace', 'INFO', 1, true], 'error, warn, info or debug'],
  ['log.format', ['xml', null], 'text or json'],
  [
    'control.socket',
    ['', 'x', './x', '/x/', `/${'x'.repeat(107)}`, 1],
    'an absolute path of at most 107 bytes',
  ],
  ['metrics.listen', [9248, null], '""'],
  ['routing.table', [0, -1, 1.5, 252, 253, 254, 255, 4294967294, 'x', '', null], TABLE],
  ['routing.priority', [0, 32766, '1.5'], 'a whole number from 1 to 32765'],
  ['routing.localPriority', [0, 32701, [1]], 'a whole number from 1 to 32700'],
  ['routing.mark', [0, 0x1_0000_0000, '0x', '0xg', '1 '], 'a whole number from 1 to 4294967295'],
  ['routing.steering', ['iptables'], 'policy-routing or nft-ingress'],
  ['realServer.interface', ['a b', 7, 'a/b'], `${INTERFACE}, or ""`],
  ['realServer.datapath', ['xdp', ''], 'tun or auto'],
  ['realServer.flowTimeout', [0, 86401, 0.5, '6m', true], 'whole seconds from 1 to 86400'],
  ['realServer.maxFlows', [0, 16777217], 'a whole number from 1 to 16777216'],
  ['realServer.nat64', ['drop', '', null], 'keep or deliver'],
  [
    'realServer.loadBalancers',
    [[], '10.0.0.0/8', {}, { prefix: '10.0.0.0/8' }, 1],
    'a list of the load balancers, at least one, such as [{ prefix: 10.10.1.0/24 }]',
  ],
  ['realServer.loadBalancers[0]', ['10.0.0.0/8', null, []], 'a mapping such as { prefix: 10.10.1.0/24 }'],
  [
    'realServer.loadBalancers[0].prefix',
    ['10.0.0.0/33', '10.0.0/24', '', 'lb1', '010.0.0.0/8', 10, null],
    PREFIX,
  ],
  ['realServer.loadBalancers[0].prefix', ['fd00::/129', 'fd00:/64', 'fd00::/64/64', 'fd00::/'], PREFIX],
  ['realServer.loadBalancers[0].ack', ['yes', 'true', 1, null], 'true or false'],
  ['realServer.loadBalancers[0].deliverEmpty', ['no'], 'true or false'],
  ['realServer.loadBalancers[0].ask', ['no', null], 'true or false'],
  [
    'realServer.loadBalancers[0].timeout',
    [4, 86_401, 30.5, '30', null],
    'whole seconds from 5 to 86400, or { unanswered: 30, answered: 120 }',
  ],
  ['realServer.services[0].address', ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255'], SERVICE],
  ['realServer.services[0].address', ['10.0.0.1/24', '10.0.0.256', '', null, 10], SERVICE],
  ['realServer.services[0].address', WRONG_IPV6, SERVICE],
  [
    'realServer.services[0].port',
    [0, 65536, -1, 5.3, '0', '9-3', '0-9', '1-65536', '1-', 'dns', '', null],
    PORTS,
  ],
  ['role', ['', 'loadbalancer', 1, null], 'real-server or load-balancer'],
  ['loadBalancer.carrier', ['tcp', '', 1], 'ipo, opp or dstopt'],
  ['loadBalancer.maxTrails', [-1, 101, 0.5, '', null], 'a whole number from 0 to 100'],
  ['loadBalancer.interface.clients', ['a b', 7, null], `${INTERFACE}, or ""`],
  ['loadBalancer.interface.servers', ['a/b', 'all'], `${INTERFACE}, or ""`],
  ['loadBalancer.nat', ['none', '', null], 'managed or external'],
  ['loadBalancer.flowTimeout', [0, 86401], 'whole seconds from 1 to 86400'],
  ['loadBalancer.maxFlows', [0, 16777217], 'a whole number from 1 to 16777216'],
  ['loadBalancer.localAddresses', ['10.10.2.1', 1], LOCAL_ADDRESSES],
  ['loadBalancer.localAddresses[0]', ['10.10.2.1/32', '10.0.0.0/8', 'x', '', null, 5, []], LOCAL_ADDRESS],
  ['loadBalancer.localAddresses[0]', ['0.0.0.0', '127.0.0.1', '224.0.0.1', '255.255.255.255'], LOCAL_ADDRESS],
  ['loadBalancer.localAddresses[0]', WRONG_IPV6, LOCAL_ADDRESS],
  ['loadBalancer.services', ['dns', {}, 1], VIRTUAL_SERVICES],
  ['loadBalancer.services[0]', ['198.51.100.10:53', null, []], `a mapping such as ${VIRTUAL_SERVICE}`],
  ['loadBalancer.services[0].vip', ['', '198.51.100.0/24', '127.0.0.1', '224.0.0.1', 'vip', null], VIP],
  ['loadBalancer.services[0].vip', WRONG_IPV6, VIP],
  ['loadBalancer.services[0].port', WRONG_PORTS, ONE_PORT],
  ['loadBalancer.services[0].schedule', ['wrr', '', null], 'source-hash, round-robin or random'],
  ['loadBalancer.services[0].realServers', ['10.10.2.2', {}, null], BALANCED_SERVERS],
  [
    'loadBalancer.services[0].realServers[0]',
    ['10.10.2.2', null],
    'a mapping such as { address: 10.10.2.2, port: 53, weight: 1 }',
  ],
  ['loadBalancer.services[0].realServers[0].address', ['10.10.2.0/24', '127.0.0.1', null], BALANCED],
  ['loadBalancer.services[0].realServers[0].address', WRONG_IPV6, BALANCED],
  ['loadBalancer.services[0].realServers[0].port', WRONG_PORTS, ONE_PORT],
  [
    'loadBalancer.services[0].realServers[0].weight',
    [-1, 1001, 0.5, '1', null],
    'a whole number from 0 to 1000',
  ],
];

// What is there but can't be used isn't missing as well, and the section of the other role is looked at too.
const LB_REFUSED = REFUSED.filter(([key]) => key.startsWith('loadBalancer'));

test.each(LB_REFUSED)('%s refuses %j on a load balancer', (key, values, allowed) => {
  for (const value of values)
    expect(faultsOf(changedLb({ [key]: value }))).toEqual([
      `${key}: ${JSON.stringify(value)} is not allowed; allowed: ${allowed}`,
    ]);
});

test('only a load balancer that knows ACKs and puts no marks into empty datagrams can be asked', () => {
  const key = 'realServer.loadBalancers[0]';
  expect(faultsOf(changed({ [`${key}.ask`]: true, [`${key}.ack`]: false }))).toEqual([
    `${key}.ask: true is not allowed; allowed: false, as ack is false`,
  ]);
  expect(faultsOf(changed({ [`${key}.ask`]: true, [`${key}.deliverEmpty`]: true }))).toEqual([
    `${key}.ask: true is not allowed; allowed: false, as deliverEmpty is true`,
  ]);
  expect(faultsOf(changed({ [`${key}.ask`]: true }))).toEqual([]);
});

test('both of a load balancer’s time-outs must be allowed, and there', () => {
  const key = 'realServer.loadBalancers[0].timeout';
  expect(faultsOf(changed({ [key]: { unanswered: 4, answered: 120 } }))).toEqual([
    `${key}.unanswered: 4 is not allowed; allowed: whole seconds from 5 to 86400`,
  ]);
  expect(faultsOf(changed({ [key]: { unanswered: 30 } }))).toEqual([
    `${key}.answered: missing; required: whole seconds from 5 to 86400`,
  ]);
});

test.each(REFUSED)('%s refuses %j', (key, values, allowed) => {
  for (const value of values)
    expect(faultsOf(changed({ [key]: value }))).toEqual([
      `${key}: ${JSON.stringify(value)} is not allowed; allowed: ${allowed}`,
    ]);
});

test.each([
  ['tun.name', ['a', 'a23456789012345', 'uoa-0.1']],
  ['tun.address', ['10.1.2.3/24', '10.1.2.3']],
  ['tun.offload', ['auto', 'off']],
  ['tun.merge', [true, false, 'true', 'false']],
  ['tun.coalesce', [0, 1, 1000, '50']],
  ['control.socket', [`/${'x'.repeat(106)}`]],
  ['routing.table', [1, 251, 256, 4294967293, '0x200', '7']],
  ['routing.mark', [1, 0xffffffff]],
  ['routing.localPriority', [23, 32700]],
  ['realServer.loadBalancers[0].prefix', ['10.0.0.1', '10.0.0.0/8', '0.0.0.0/0', '10.0.0.1/32']],
  ['realServer.loadBalancers[0].prefix', ['fd00::1', 'FD00:0::/64', '::/0', '64:ff9b::/96', 'fd00::1/128']],
  ['realServer.services[0].address', ['fd00::2', '2001:DB8:0::7', '64:ff9b::10.0.0.1']],
  ['loadBalancer.carrier', ['ipo', 'opp', 'dstopt']],
  ['realServer.services[0].port', [1, 65535, '53', '1-65535', '7-7', 'any']],
  ['loadBalancer.maxTrails', [0, 100, '5']],
  ['loadBalancer.localAddresses', [[], null, ['10.10.2.1', '10.10.2.2']]],
  ['loadBalancer.services', [[], null]],
  ['loadBalancer.services[0].port', [1, 65535, '53']],
  ['loadBalancer.services[0].realServers', [[], undefined]],
  ['loadBalancer.services[0].realServers[0].port', [1, 65535, '53', undefined]],
  ['loadBalancer.services[0].realServers[0].weight', [1, 1000, undefined]],
])('%s takes %j', (key, values) => {
  for (const value of values) expect(faultsOf(changed({ [key]: value }))).toEqual([]);
});

test.each([
  ['realServer.datapath', 'bpf', 'tun or auto'],
  ['realServer.datapath', 'conntrack', 'tun or auto'],
  ['metrics.listen', '127.0.0.1:9248', '""'],
  ['loadBalancer.services[0].port', '5000-5999', ONE_PORT],
  ['loadBalancer.services[0].port', 'any', ONE_PORT],
  ['loadBalancer.services[0].realServers[0].port', 'any', ONE_PORT],
])('%s refuses %j because it is not built yet', (key, value, allowed) => {
  expect(faultsOf(changed({ [key]: value }))).toEqual([
    `${key}: "${value}" is not built yet; allowed: ${allowed}`,
  ]);
});

const ADDRESSES: [string, string][] = [
  ['realServer.loadBalancers[0].prefix', PREFIX],
  ['realServer.services[0].address', SERVICE],
  ['loadBalancer.localAddresses[0]', LOCAL_ADDRESS],
  ['loadBalancer.services[0].vip', VIP],
  ['loadBalancer.services[0].realServers[0].address', BALANCED],
];

test.each(ADDRESSES)('%s refuses IPv6 addresses that are not routed, and says why', (key, allowed) => {
  for (const [value, what] of [
    ['fe80::1', 'is link-local'],
    ['FEBF::1/128', 'is link-local'],
    ['fe80::1%eth0', 'is link-local'],
    ['fd00::1%eth0', 'has a zone'],
    ['::ffff:10.0.0.1', 'is IPv4-mapped'],
    ['0::FFFF:a00:0/104', 'is IPv4-mapped'],
    ['::ffff:127.0.0.1/64', 'is IPv4-mapped'],
  ])
    expect(faultsOf(changed({ [key]: value }))).toEqual([`${key}: "${value}" ${what}; allowed: ${allowed}`]);
});

test('a prefix with host bits is refused with the two prefixes that may be meant', () => {
  expect(faultsOf(changed({ 'realServer.loadBalancers[0].prefix': '10.10.1.5/24' }))).toEqual([
    'realServer.loadBalancers[0].prefix: "10.10.1.5/24" is not allowed; ' +
      'allowed: 10.10.1.0/24 (the whole prefix) or 10.10.1.5/32 (one host)',
  ]);
  expect(faultsOf(changed({ 'realServer.loadBalancers[0].prefix': 'FD00:1:0::5/64' }))).toEqual([
    'realServer.loadBalancers[0].prefix: "FD00:1:0::5/64" is not allowed; ' +
      'allowed: fd00:1::/64 (the whole prefix) or fd00:1::5/128 (one host)',
  ]);
});
