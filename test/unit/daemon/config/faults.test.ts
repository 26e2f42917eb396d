import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { ConfigError, loadConfig, type Sources } from '../../../../src/daemon/config/index.js';

const directory = mkdtempSync(join(tmpdir(), 'uoa-config-'));
afterAll(() => rmSync(directory, { recursive: true }));
const yaml = join(directory, 'config.yaml');
const json = join(directory, 'config.json');

const GOOD = {
  role: 'real-server',
  tun: { name: 'uoa0', address: '192.0.2.254/32', offload: 'auto', merge: true, coalesce: 50 },
  log: { level: 'info', format: 'text' },
  control: { socket: '/run/uoa-shim/uoa0.sock' },
  metrics: { listen: '' },
  routing: { table: 248, priority: 21, localPriority: 100, mark: 32, steering: 'policy-routing' },
  realServer: {
    interface: '',
    loadBalancers: [{ prefix: '10.10.1.0/24', ack: true, deliverEmpty: false }],
    services: [{ address: '10.10.1.2', port: 53 }],
    datapath: 'tun',
    flowTimeout: 360,
    maxFlows: 1048576,
    nat64: 'keep',
  },
  loadBalancer: {
    carrier: 'ipo',
    maxTrails: 3,
    interface: { clients: '', servers: '' },
    nat: 'managed',
    localAddresses: ['10.10.2.1'],
    services: [
      {
        vip: '198.51.100.10',
        port: 53,
        schedule: 'source-hash',
        realServers: [{ address: '10.10.2.2', port: 53, weight: 1 }],
      },
    ],
    flowTimeout: 360,
    maxFlows: 1048576,
  },
};

const GOOD_LB = { ...GOOD, role: 'load-balancer', realServer: {} };

/** A good configuration with other values at some paths. */
function changed(changes: Record<string, unknown>, good: unknown = GOOD): unknown {
  const copy: unknown = structuredClone(good);
  for (const [path, value] of Object.entries(changes)) {
    const names = path.split(/[.[\]]+/).filter(name => name !== '');
    const last = names.pop() ?? '';
    let at = copy as Record<string, unknown>;
    for (const name of names) at = at[name] as Record<string, unknown>;
    at[last] = value;
  }
  return copy;
}

function changedLb(changes: Record<string, unknown>): unknown {
  return changed(changes, GOOD_LB);
}

/** The faults of a configuration, a line each. */
function faultsOf(config: unknown): string[] {
  // JSON has no way to write undefined: such a key is left out.
  writeFileSync(json, JSON.stringify(config));
  return faultsFrom({ file: json, env: {}, flags: {} });
}

function faultsFrom(sources: Sources): string[] {
  try {
    loadConfig(sources);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = error.message.split('\n');
    expect(lines).toHaveLength(error.faults.length);
    return lines;
  }
  return [];
}

const INTERFACE = 'an interface name of 1 to 15 bytes, without "/", ":", "%" or blanks';
const TUN_ADDRESS = 'an IPv4 unicast address with its prefix length, such as 192.0.2.254/32';
const PREFIX = 'an IPv4 or IPv6 prefix such as 10.10.1.0/24 or fd00:1::/64';
const SERVICE = 'an IPv4 or IPv6 unicast address of this host, such as 10.10.1.2 or fd00:1::2';
const PORTS = 'a port from 1 to 65535, a range such as "5000-5999", or "any"';
const LOCAL_ADDRESS = 'an IPv4 or IPv6 unicast address of this host, such as 10.10.2.1 or fd00:2::1';
const LOCAL_ADDRESSES = "a list of this host's addresses, at least one, such as [10.10.2.1]";
const VIP = 'an IPv4 or IPv6 unicast address such as 198.51.100.10 or 2001:db8::10';
const BALANCED = 'an IPv4 or IPv6 unicast address such as 10.10.2.2 or fd00:2::2';
const BALANCED_SERVERS =
  'a list of real servers, at least one, such as [{ address: 10.10.2.2, port: 53, weight: 1 }]';
const VIRTUAL_SERVICE = '{ vip: 198.51.100.10, port: 53, realServers: [{ address: 10.10.2.2 }] }';
const VIRTUAL_SERVICES = `a list of services, at least one, such as [${VIRTUAL_SERVICE}]`;
const ONE_PORT = 'a port from 1 to 65535';
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

test('the good configurations are good', () => {
  expect(faultsOf(GOOD)).toEqual([]);
  expect(faultsOf(GOOD_LB)).toEqual([]);
});

// What is there but can't be used isn't missing as well, and the section of the other role is looked at too.
const LB_REFUSED = REFUSED.filter(([key]) => key.startsWith('loadBalancer'));
test.each(LB_REFUSED)('%s refuses %j on a load balancer', (key, values, allowed) => {
  for (const value of values)
    expect(faultsOf(changedLb({ [key]: value }))).toEqual([
      `${key}: ${JSON.stringify(value)} is not allowed; allowed: ${allowed}`,
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
])('%s: %s is not built yet', (key, value, allowed) => {
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

test.each(ADDRESSES)('%s: IPv6 addresses that nobody could route to', (key, allowed) => {
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

test('each role needs its own lists, and with a slip in the role nobody knows which', () => {
  const managed = [
    `loadBalancer.localAddresses: missing; required with nat: managed: ${LOCAL_ADDRESSES}`,
    `loadBalancer.services: missing; required with nat: managed: ${VIRTUAL_SERVICES}`,
  ];
  expect(faultsOf({ role: 'load-balancer' })).toEqual(managed);
  expect(faultsOf(changedLb({ 'loadBalancer.localAddresses': null, 'loadBalancer.services': [] }))).toEqual(
    managed,
  );
  expect(faultsOf({ role: 'load-balancer', loadBalancer: { nat: 'external' } })).toEqual([]);
  expect(faultsOf({ role: 'load-balancer', loadBalancer: { nat: 'none' } })).toEqual([
    'loadBalancer.nat: "none" is not allowed; allowed: managed or external',
  ]);
  expect(faultsOf({ role: 'loadbalancer' })).toEqual([
    'role: "loadbalancer" is not allowed; allowed: real-server or load-balancer',
  ]);
});

test("the other role's section may be short, but not wrong", () => {
  expect(faultsOf(changedLb({ realServer: { services: [], flowTimeout: 0 } }))).toEqual([
    "realServer.services: [] is not allowed; allowed: a list of the application's sockets, at least one, " +
      'such as [{ address: 10.10.1.2, port: 53 }]',
    'realServer.flowTimeout: 0 is not allowed; allowed: whole seconds from 1 to 86400',
  ]);
  expect(faultsOf(changed({ loadBalancer: { carrier: 'opp', maxTrails: 101 } }))).toEqual([
    'loadBalancer.maxTrails: 101 is not allowed; allowed: a whole number from 0 to 100',
  ]);
});

test('a service has real servers, unless the NAT is made elsewhere', () => {
  const without = { 'loadBalancer.services[0].realServers': undefined };
  const none = { 'loadBalancer.services[0].realServers': [] };
  for (const changes of [without, none]) {
    expect(faultsOf(changedLb(changes))).toEqual([
      `loadBalancer.services[0].realServers: missing; required with nat: managed: ${BALANCED_SERVERS}`,
    ]);
    expect(
      faultsOf(changedLb({ ...changes, 'loadBalancer.nat': 'external', 'loadBalancer.localAddresses': [] })),
    ).toEqual([]);
  }
});

test('weights: one above 0, and not too many of them', () => {
  const servers = (...weights: (number | undefined)[]) =>
    changedLb({
      'loadBalancer.services[0].realServers': weights.map((weight, i) => ({
        address: `10.10.2.${i}`,
        weight,
      })),
    });
  const key = 'loadBalancer.services[0].realServers';
  expect(faultsOf(servers(0, undefined))).toEqual([]);
  expect(faultsOf(servers(0, 0))).toEqual([`${key}: all weights are 0; allowed: at least one above 0`]);
  const ten: number[] = Array(10).fill(1000);
  expect(faultsOf(servers(...ten))).toEqual([]);
  expect(faultsOf(servers(...ten, undefined))).toEqual([
    `${key}: the weights add up to 10001; allowed: at most 10000`,
  ]);
  expect(faultsOf(servers(...ten, 10_000))).toEqual([
    `${key}[10].weight: 10000 is not allowed; allowed: a whole number from 0 to 1000`,
  ]);
});

test('a local address counts once', () => {
  expect(
    faultsOf(changedLb({ 'loadBalancer.localAddresses': ['10.10.2.1', '10.10.2.9', '10.10.2.1'] })),
  ).toEqual([
    'loadBalancer.localAddresses[2]: "10.10.2.1" is not allowed; ' +
      'allowed: an address other than loadBalancer.localAddresses[0]',
  ]);
});

test('an address is repeated whatever its spelling', () => {
  const localAddresses = ['10.10.2.1', 'fd00:2::1', 'FD00:2:0::0001'];
  expect(faultsOf(changedLb({ 'loadBalancer.localAddresses': localAddresses }))).toEqual([
    'loadBalancer.localAddresses[2]: "FD00:2:0::0001" is not allowed; ' +
      'allowed: an address other than loadBalancer.localAddresses[1]',
  ]);
  const services = [
    { vip: '2001:db8::a', port: 53, realServers: [{ address: 'fd00:2::2' }, { address: 'fd00:2:0::2' }] },
    { vip: '2001:DB8::A', port: 53, realServers: [{ address: 'fd00:2::2' }] },
    { vip: 'fd00:2::0:1', port: 53, realServers: [{ address: 'fd00:2::2' }] },
  ];
  const lists = { 'loadBalancer.localAddresses': ['fd00:2::1'], 'loadBalancer.services': services };
  expect(faultsOf(changedLb(lists))).toEqual([
    'loadBalancer.services[1].port: 53 is not allowed; ' +
      "allowed: a port of 2001:DB8::A that loadBalancer.services[0] doesn't have",
    'loadBalancer.services[0].realServers[1].address: "fd00:2:0::2" is not allowed; ' +
      "allowed: an address and port that loadBalancer.services[0].realServers[0] doesn't have",
    'loadBalancer.services[2].vip: "fd00:2::0:1" is not allowed; ' +
      'allowed: an address other than loadBalancer.localAddresses[0]',
  ]);
});

test("a service's real servers are of its VIP's family", () => {
  const services = [
    { vip: '198.51.100.10', port: 53, realServers: [{ address: '10.10.2.2' }, { address: 'fd00:2::2' }] },
    { vip: '2001:db8::10', port: 53, realServers: [{ address: '10.10.2.2' }, { address: 'fd00:2::2' }] },
    { vip: '2001:db8::11', port: 53, realServers: [{ address: 'x' }, { address: 'fd00:2::2' }] },
    { vip: 'x', port: 53, realServers: [{ address: '10.10.2.2' }, { address: 'fd00:2::2' }] },
  ];
  const key = (i: number, j: number) => `loadBalancer.services[${i}].realServers[${j}].address`;
  const faults = [
    `${key(2, 0)}: "x" is not allowed; allowed: ${BALANCED}`,
    `loadBalancer.services[3].vip: "x" is not allowed; allowed: ${VIP}`,
    `${key(0, 1)}: "fd00:2::2" is not allowed; allowed: an IPv4 unicast address, because the vip is one`,
    `${key(1, 0)}: "10.10.2.2" is not allowed; allowed: an IPv6 unicast address, because the vip is one`,
  ];
  const lists = {
    'loadBalancer.localAddresses': ['10.10.2.1', 'fd00:2::1'],
    'loadBalancer.services': services,
  };
  for (const config of [changed, changedLb]) expect(faultsOf(config(lists))).toEqual(faults);
  expect(faultsOf(changedLb({ ...lists, 'loadBalancer.nat': 'external' }))).toEqual(faults);
});

test('a NAT of our own has a local address for each family', () => {
  const key = 'loadBalancer.localAddresses';
  const services = [
    { vip: '198.51.100.10', port: 53, realServers: [{ address: '10.10.2.2' }] },
    { vip: '2001:db8::10', port: 53, realServers: [{ address: 'fd00:2::2' }] },
  ];
  const having = (localAddresses: string[], nat = 'managed') =>
    faultsOf(
      changedLb({ [key]: localAddresses, 'loadBalancer.services': services, 'loadBalancer.nat': nat }),
    );
  const fault = (family: number, i: number) =>
    `${key}: no IPv${family} address for loadBalancer.services[${i}]; ` +
    "allowed: at least one of each family of the services' VIPs";
  expect(having(['10.10.2.1', 'fd00:2::1'])).toEqual([]);
  expect(having(['10.10.2.1'])).toEqual([fault(6, 1)]);
  expect(having(['fd00:2::1'])).toEqual([fault(4, 0)]);
  expect(having(['10.10.2.1'], 'external')).toEqual([]);
  // One fault explains the other.
  expect(having(['10.10.2.1', 'fd00:2:1'])).toEqual([
    `${key}[1]: "fd00:2:1" is not allowed; allowed: ${LOCAL_ADDRESS}`,
  ]);
  expect(having([])).toEqual([`${key}: missing; required with nat: managed: ${LOCAL_ADDRESSES}`]);
  // A family that is not balanced may have one, and a real server needs none at all.
  expect(faultsOf(changedLb({ [key]: ['10.10.2.1', 'fd00:2::1'] }))).toEqual([]);
  expect(faultsOf(changed({ 'loadBalancer.services': services }))).toEqual([]);
});

test('nat64: deliver has somewhere to deliver to', () => {
  const delivering = (...services: [string, unknown][]) =>
    faultsOf(
      changed({
        'realServer.nat64': 'deliver',
        'realServer.services': services.map(([address, port]) => ({ address, port })),
      }),
    );
  const fault =
    'realServer.nat64: "deliver" is not allowed; ' +
    'allowed: keep, as long as no IPv4 and IPv6 address in realServer.services share a port';
  expect(delivering(['10.10.1.2', 53], ['fd00:1::2', 53])).toEqual([]);
  expect(delivering(['10.10.1.2', 53], ['fd00:1::2', 54], ['fd00:1::3', '50-53'])).toEqual([]);
  expect(delivering(['fd00:1::2', 'any'], ['10.10.1.2', 53])).toEqual([]);
  expect(delivering(['10.10.1.2', 53])).toEqual([fault]);
  expect(delivering(['fd00:1::2', 53])).toEqual([fault]);
  expect(delivering(['10.10.1.2', '50-53'], ['fd00:1::2', '54-60'])).toEqual([fault]);
  expect(delivering(['10.10.1.2', 53], ['fd00:1:2', 53])).toEqual([
    `realServer.services[1].address: "fd00:1:2" is not allowed; allowed: ${SERVICE}`,
  ]);
  expect(faultsOf(changed({ 'realServer.nat64': 'deliver', 'realServer.services': null }))).toEqual([
    expect.stringMatching(/^realServer\.services: missing/),
  ]);
  expect(faultsOf(changedLb({ 'realServer.nat64': 'deliver' }))).toEqual([]);
});

test('a real server may have services without a load balancer of their family, and the reverse', () => {
  const services = [{ address: 'fd00:1::2', port: 53 }];
  expect(faultsOf(changed({ 'realServer.services': services }))).toEqual([]);
  expect(faultsOf(changed({ 'realServer.loadBalancers': [{ prefix: 'fd00:1::/64' }] }))).toEqual([]);
});

test('what is wrong twice is not repeated as well', () => {
  const services = Array(2).fill({ vip: 'x', port: 53, realServers: Array(2).fill({ address: 'y' }) });
  const lines = faultsOf(
    changedLb({ 'loadBalancer.localAddresses': ['x', 'x'], 'loadBalancer.services': services }),
  );
  expect(lines.map(line => line.slice('loadBalancer.'.length, line.indexOf(':')))).toEqual([
    'localAddresses[0]',
    'localAddresses[1]',
    ...[0, 1].flatMap(i =>
      ['vip', 'realServers[0].address', 'realServers[1].address'].map(name => `services[${i}].${name}`),
    ),
  ]);
});

test('services share no VIP and port, however the port is written', () => {
  const realServers = [{ address: '10.10.2.2' }];
  const services = [
    { vip: '198.51.100.10', port: 53, realServers },
    { vip: '198.51.100.10', port: 54, realServers },
    { vip: '198.51.100.11', port: 53, realServers },
    { vip: '198.51.100.10', port: '53', realServers },
  ];
  expect(faultsOf(changedLb({ 'loadBalancer.services': services }))).toEqual([
    'loadBalancer.services[3].port: "53" is not allowed; ' +
      "allowed: a port of 198.51.100.10 that loadBalancer.services[0] doesn't have",
  ]);
});

test("a service's real servers differ; a port that is left out is the service's", () => {
  const key = 'loadBalancer.services[0].realServers';
  const realServers = [
    { address: '10.10.2.2' },
    { address: '10.10.2.2', port: 54 },
    { address: '10.10.2.3', port: 53 },
    { address: '10.10.2.2', port: '53' },
    { address: '10.10.2.3' },
  ];
  expect(faultsOf(changedLb({ [key]: realServers }))).toEqual([
    `${key}[3].address: "10.10.2.2" is not allowed; allowed: an address and port that ${key}[0] doesn't have`,
    `${key}[4].address: "10.10.2.3" is not allowed; allowed: an address and port that ${key}[2] doesn't have`,
  ]);
});

test('no address is local and a VIP', () => {
  const fault =
    'loadBalancer.services[0].vip: "10.10.2.1" is not allowed; ' +
    'allowed: an address other than loadBalancer.localAddresses[0]';
  for (const config of [changed, changedLb])
    expect(faultsOf(config({ 'loadBalancer.services[0].vip': '10.10.2.1' }))).toEqual([fault]);
  const env = { UOA_SHIM_LOAD_BALANCER_SERVICES: '[{ vip: 10.10.2.1, port: 53, realServers: [] }]' };
  writeFileSync(json, JSON.stringify(GOOD));
  expect(faultsFrom({ file: json, env, flags: {} })).toEqual([
    fault.replace('vip:', 'vip (from UOA_SHIM_LOAD_BALANCER_SERVICES):'),
  ]);
});

test('the rule for the local table comes after both of ours', () => {
  const fault = (value: number, bound: number) =>
    `routing.localPriority: ${value} is not allowed; ` +
    `allowed: a whole number above ${bound} (routing.priority and its next) up to 32700`;
  expect(faultsOf(changed({ 'routing.priority': 100 }))).toEqual([fault(100, 101)]);
  expect(faultsOf(changed({ 'routing.localPriority': 22 }))).toEqual([fault(22, 22)]);
  expect(faultsOf(changed({ 'routing.priority': 0, 'routing.localPriority': 1 }))).toEqual([
    'routing.priority: 0 is not allowed; allowed: a whole number from 1 to 32765',
  ]);
});

test('host bits: the fault says what was probably meant', () => {
  expect(faultsOf(changed({ 'realServer.loadBalancers[0].prefix': '10.10.1.5/24' }))).toEqual([
    'realServer.loadBalancers[0].prefix: "10.10.1.5/24" is not allowed; ' +
      'allowed: 10.10.1.0/24 (the whole prefix) or 10.10.1.5/32 (one host)',
  ]);
  expect(faultsOf(changed({ 'realServer.loadBalancers[0].prefix': 'FD00:1:0::5/64' }))).toEqual([
    'realServer.loadBalancers[0].prefix: "FD00:1:0::5/64" is not allowed; ' +
      'allowed: fd00:1::/64 (the whole prefix) or fd00:1::5/128 (one host)',
  ]);
});

test('a prefix counts once, however it is written', () => {
  const loadBalancers = [
    { prefix: '10.1.1.1' },
    { prefix: '10.1.1.0/24' },
    { prefix: '10.1.1.1/32' },
    { prefix: '10.1.1.0/24' },
    { prefix: 'fd00::1' },
    { prefix: 'fd00::/64' },
    { prefix: 'FD00:0:0::1/128' },
  ];
  expect(faultsOf(changed({ 'realServer.loadBalancers': loadBalancers }))).toEqual([
    'realServer.loadBalancers[2].prefix: "10.1.1.1/32" is not allowed; ' +
      "allowed: a prefix that realServer.loadBalancers[0] doesn't have",
    'realServer.loadBalancers[3].prefix: "10.1.1.0/24" is not allowed; ' +
      "allowed: a prefix that realServer.loadBalancers[1] doesn't have",
    'realServer.loadBalancers[6].prefix: "FD00:0:0::1/128" is not allowed; ' +
      "allowed: a prefix that realServer.loadBalancers[4] doesn't have",
  ]);
});

test('services of one address share no port', () => {
  const services = [
    { address: '10.0.0.1', port: '50-60' },
    { address: '10.0.0.1', port: 61 },
    { address: '10.0.0.2', port: 'any' },
    { address: '10.0.0.1', port: '60-61' },
    { address: '10.0.0.2', port: 9 },
    { address: 'fd00::1', port: 'any' },
    { address: 'FD00:0::0001', port: 53 },
    { address: 'no one', port: 53 },
    { address: 'no one', port: 53 },
  ];
  expect(faultsOf(changed({ 'realServer.services': services }))).toEqual([
    ...[7, 8].map(i => `realServer.services[${i}].address: "no one" is not allowed; allowed: ${SERVICE}`),
    'realServer.services[3].port: "60-61" is not allowed; ' +
      "allowed: ports of 10.0.0.1 that realServer.services[0] doesn't have",
    'realServer.services[4].port: 9 is not allowed; ' +
      "allowed: ports of 10.0.0.2 that realServer.services[2] doesn't have",
    'realServer.services[6].port: 53 is not allowed; ' +
      "allowed: ports of fd00::1 that realServer.services[5] doesn't have",
  ]);
});

test('what is missing is named, in elements too', () => {
  expect(faultsOf(changed({ 'realServer.services[0].port': undefined }))).toEqual([
    `realServer.services[0].port: missing; required: ${PORTS}`,
  ]);
  expect(faultsOf(changedLb({ 'loadBalancer.services[0].vip': undefined }))).toEqual([
    `loadBalancer.services[0].vip: missing; required: ${VIP}`,
  ]);
  expect(faultsOf(changed({ 'realServer.services': null }))).toEqual([
    expect.stringMatching(/^realServer\.services: missing; required: a list of the application's sockets/),
  ]);
});

const REAL_SERVER = 'interface, loadBalancers, services, datapath, flowTimeout, maxFlows, nat64';
const TOP = 'role, tun, log, control, metrics, routing, realServer, loadBalancer';

test.each([
  ['tun.mtu', 'tun.mtu: unknown key; allowed: name, address, offload, merge, coalesce'],
  [
    'realServer.flowTimout',
    `realServer.flowTimout: unknown key (did you mean flowTimeout?); allowed: ${REAL_SERVER}`,
  ],
  ['realServer.flow_timeout', expect.stringContaining('(did you mean flowTimeout?)')],
  ['realServer.maxFlwos', expect.stringContaining('(did you mean maxFlows?)')],
  ['real-server', expect.stringContaining('(did you mean realServer?)')],
  ['flowTimeout', `flowTimeout: unknown key (did you mean realServer.flowTimeout?); allowed: ${TOP}`],
  [
    'realServer.loadBalancers[0].akc',
    expect.stringContaining('[0].akc: unknown key (did you mean ack?); allowed: '),
  ],
  ['realServer.services[0].weight', 'realServer.services[0].weight: unknown key; allowed: address, port'],
  [
    'loadBalancer.services[0].realServers[0].x',
    expect.stringContaining('unknown key; allowed: address, port, weight'),
  ],
  ['loadBalancer.interface.client', expect.stringContaining('(did you mean clients?)')],
  ['constructor', `constructor: unknown key; allowed: ${TOP}`],
  ['a\nb', `"a\\nb": unknown key; allowed: ${TOP}`],
])('unknown key %j', (path, line) => {
  expect(faultsOf(changed({ [path]: 1 }))).toEqual([line]);
});

test('names that mean something to JavaScript are only unknown keys', () => {
  writeFileSync(json, `{"__proto__": {"role": 1}, ${JSON.stringify(GOOD).slice(1)}`);
  expect(() => loadConfig({ file: json, env: {}, flags: {} })).toThrow(
    `__proto__: unknown key; allowed: ${TOP}`,
  );
  expect(faultsOf(changed({ tun: { 'name.x': 1, toString: 1, prototype: {} } }))).toHaveLength(3);
});

test('values where sections belong, and sections where values belong', () => {
  expect(faultsOf(changed({ log: 'debug', 'realServer.maxFlows': { a: { b: 1 } } }))).toEqual([
    'log: "debug" is not allowed; allowed: a mapping with level, format',
    'realServer.maxFlows: {"a":{"b":1}} is not allowed; allowed: a whole number from 1 to 16777216',
  ]);
});

test('all faults at once', () => {
  const lines = faultsOf(
    changed({
      'tun.name': '',
      'log.levle': 'info',
      'routing.table': 254,
      'realServer.loadBalancers': [{ prefix: 'a', ack: 1, x: 1 }, { prefix: '10.0.0.0/33' }],
      'realServer.services': undefined,
      'realServer.flowTimeout': 0,
      'loadBalancer.carrier': 'tcp',
      'loadBalancer.localAddresses': ['10.10.2.1', '10.10.2.1', 'x'],
      'loadBalancer.services': [{ vip: '10.10.2.1', port: 'any', realServers: [{ weight: 0 }] }],
    }),
  );
  expect(lines.map(line => line.slice(0, line.indexOf(':')))).toEqual([
    'log.levle',
    'tun.name',
    'routing.table',
    'realServer.loadBalancers[0].prefix',
    'realServer.loadBalancers[0].ack',
    'realServer.loadBalancers[0].x',
    'realServer.loadBalancers[1].prefix',
    'realServer.flowTimeout',
    'loadBalancer.carrier',
    'loadBalancer.localAddresses[2]',
    'loadBalancer.localAddresses[1]',
    'loadBalancer.services[0].port',
    'loadBalancer.services[0].realServers[0].address',
    'loadBalancer.services[0].realServers',
    'realServer.services',
    'loadBalancer.services[0].vip',
  ]);
  expect(lines).toContain(
    `realServer.loadBalancers[1].prefix: "10.0.0.0/33" is not allowed; allowed: ${PREFIX}`,
  );
});

test('faults carry their parts', () => {
  writeFileSync(yaml, 'realServer: { services: [{ address: 10.0.0.1, port: 0 }], loadBalancers: }');
  try {
    loadConfig({ file: yaml, env: {}, flags: {} });
    expect.unreachable();
  } catch (error) {
    expect((error as ConfigError).faults).toEqual([
      { key: 'realServer.services[0].port', value: 0, allowed: PORTS },
      expect.objectContaining({ key: 'realServer.loadBalancers', value: undefined, problem: 'missing' }),
    ]);
  }
  try {
    loadConfig({ file: yaml, env: {}, flags: { role: 'load-balancer', 'loadBalancer.carrier': 'ipo' } });
    expect.unreachable();
  } catch (error) {
    const by = { value: undefined, problem: 'missing', by: 'nat: managed' };
    expect((error as ConfigError).faults.slice(1)).toEqual([
      { key: 'loadBalancer.localAddresses', allowed: LOCAL_ADDRESSES, ...by },
      { key: 'loadBalancer.services', allowed: VIRTUAL_SERVICES, ...by },
    ]);
  }
});

test('a long value, and one without end, stay one short line', () => {
  for (const line of faultsOf(changed({ 'tun.name': 'x'.repeat(1000), 'log.level': Array(999).fill('a\n') })))
    expect(line.length).toBeLessThan(250);
  writeFileSync(yaml, 'realServer: { services: &all [*all], loadBalancers: [{ prefix: 10.0.0.1 }] }');
  expect(() => loadConfig({ file: yaml, env: {}, flags: {} })).toThrow(
    'realServer.services[0]: [...] is not allowed; allowed: a mapping such as { address: 10.10.1.2, port: 53 }',
  );
});

/** Paths of all keys, sections and elements of the good configuration. */
function paths(value: unknown, at = ''): string[] {
  if (typeof value !== 'object' || value === null) return [at];
  const inner = Object.entries(value).flatMap(([name, child]) =>
    paths(child, at === '' ? name : `${at}.${name}`),
  );
  return at === '' ? inner : [at, ...inner];
}

test('any JSON is a configuration or a ConfigError', () => {
  fc.assert(
    fc.property(fc.jsonValue(), value => {
      faultsOf(value);
    }),
    { numRuns: 300 },
  );
});

test('any JSON anywhere in a configuration gives a configuration or a ConfigError', () => {
  const roles = fc.constantFrom('real-server', 'load-balancer');
  const anywhere = fc.tuple(roles, fc.constantFrom(...paths(GOOD)), fc.jsonValue({ maxDepth: 3 }));
  fc.assert(
    fc.property(anywhere, fc.string(), fc.jsonValue({ maxDepth: 2 }), ([role, path, value], name, other) => {
      faultsOf(changed({ role, [path]: value }));
      faultsOf({ ...GOOD, realServer: { ...GOOD.realServer, [name]: other }, [name]: value });
    }),
    { numRuns: 250 },
  );
});

test('any text is a configuration or a ConfigError, in a file or a variable', () => {
  const ascii = fc.string({ unit: fc.constantFrom(...'{}[]:,-&*!|>\'"#% \n\ta0~?<'), maxLength: 40 });
  fc.assert(
    fc.property(fc.oneof(ascii, fc.string({ unit: 'binary' })), text => {
      for (const file of [yaml, json]) {
        writeFileSync(file, text);
        const env = { UOA_SHIM_REAL_SERVER_SERVICES: text, UOA_SHIM_ROUTING_MARK: text, UOA_SHIM_ROLE: text };
        expect(faultsFrom({ file, env, flags: {} })).not.toEqual([]);
        writeFileSync(file, '');
        expect(faultsFrom({ file, env: {}, flags: { 'tun.name': text } })).not.toEqual([]);
      }
    }),
    { numRuns: 250 },
  );
});
