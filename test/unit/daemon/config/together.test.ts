/** Faults that no key has by itself: lists that are missing, entries that clash, families that do not fit. */
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  BALANCED,
  BALANCED_SERVERS,
  changed,
  changedLb,
  faultsFrom,
  faultsOf,
  GOOD,
  json,
  LOCAL_ADDRESS,
  LOCAL_ADDRESSES,
  SERVICE,
  useConfigFiles,
  VIP,
  VIRTUAL_SERVICES,
} from '../../support/config.js';

useConfigFiles();

test.each(['managed', undefined])('a load balancer with nat: %s needs local addresses and services', nat => {
  const missing = [
    `loadBalancer.localAddresses: missing; required with nat: managed: ${LOCAL_ADDRESSES}`,
    `loadBalancer.services: missing; required with nat: managed: ${VIRTUAL_SERVICES}`,
  ];
  expect(faultsOf({ role: 'load-balancer', loadBalancer: { nat } })).toEqual(missing);
  const empty = { 'loadBalancer.localAddresses': null, 'loadBalancer.services': [], 'loadBalancer.nat': nat };
  expect(faultsOf(changedLb(empty))).toEqual(missing);
});

test('a load balancer with nat: external needs no lists', () => {
  expect(faultsOf({ role: 'load-balancer', loadBalancer: { nat: 'external' } })).toEqual([]);
});

test('where loadBalancer.nat is wrong, no list is called missing', () => {
  expect(faultsOf({ role: 'load-balancer', loadBalancer: { nat: 'none' } })).toEqual([
    'loadBalancer.nat: "none" is not allowed; allowed: managed or external',
  ]);
});

test('where the role is wrong, no list is called missing', () => {
  expect(faultsOf({ role: 'loadbalancer' })).toEqual([
    'role: "loadbalancer" is not allowed; allowed: real-server or load-balancer',
  ]);
});

test("the other role's section is looked at for faults, but not for missing lists", () => {
  expect(faultsOf(changedLb({ realServer: { services: [], flowTimeout: 0 } }))).toEqual([
    "realServer.services: [] is not allowed; allowed: a list of the application's sockets, at least one, " +
      'such as [{ address: 10.10.1.2, port: 53 }]',
    'realServer.flowTimeout: 0 is not allowed; allowed: whole seconds from 1 to 86400',
  ]);
  expect(faultsOf(changed({ loadBalancer: { carrier: 'opp', maxTrails: 101 } }))).toEqual([
    'loadBalancer.maxTrails: 101 is not allowed; allowed: a whole number from 0 to 100',
  ]);
});

const WITHOUT_REAL_SERVERS = [
  ['lacks real servers', { 'loadBalancer.services[0].realServers': undefined }],
  ['has an empty list of real servers', { 'loadBalancer.services[0].realServers': [] }],
] as const;

test.each(WITHOUT_REAL_SERVERS)('with managed NAT, a service that %s is a fault', (_, changes) => {
  expect(faultsOf(changedLb(changes))).toEqual([
    `loadBalancer.services[0].realServers: missing; required with nat: managed: ${BALANCED_SERVERS}`,
  ]);
});

test.each(WITHOUT_REAL_SERVERS)('with external NAT, a service that %s is none', (_, changes) => {
  const external = { 'loadBalancer.nat': 'external', 'loadBalancer.localAddresses': [] };
  expect(faultsOf(changedLb({ ...changes, ...external }))).toEqual([]);
});

describe("the weights of a service's real servers", () => {
  const key = 'loadBalancer.services[0].realServers';
  const faultsWith = (...weights: (number | undefined)[]) =>
    faultsOf(changedLb({ [key]: weights.map((weight, i) => ({ address: `10.10.2.${i}`, weight })) }));
  const ten: number[] = Array(10).fill(1000);

  test('may be 0 except for one', () => {
    expect(faultsWith(0, undefined)).toEqual([]);
    expect(faultsWith(0, 0)).toEqual([`${key}: all weights are 0; allowed: at least one above 0`]);
  });

  test('may add up to 10000', () => {
    expect(faultsWith(...ten)).toEqual([]);
    expect(faultsWith(...ten, undefined)).toEqual([
      `${key}: the weights add up to 10001; allowed: at most 10000`,
    ]);
  });

  test('are not added up if one of them is wrong', () => {
    expect(faultsWith(...ten, 10_000)).toEqual([
      `${key}[10].weight: 10000 is not allowed; allowed: a whole number from 0 to 1000`,
    ]);
  });
});

test('a local address may be listed only once', () => {
  expect(
    faultsOf(changedLb({ 'loadBalancer.localAddresses': ['10.10.2.1', '10.10.2.9', '10.10.2.1'] })),
  ).toEqual([
    'loadBalancer.localAddresses[2]: "10.10.2.1" is not allowed; ' +
      'allowed: an address other than loadBalancer.localAddresses[0]',
  ]);
});

test('a repeated IPv6 address is found in any spelling', () => {
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

test("a real server has to be of its VIP's family", () => {
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

test('managed NAT needs a local address of each family that it balances', () => {
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

test('nat64: deliver needs an IPv4 and an IPv6 service that share a port', () => {
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

test('the services and load balancers of a real server may be of different families', () => {
  const services = [{ address: 'fd00:1::2', port: 53 }];
  expect(faultsOf(changed({ 'realServer.services': services }))).toEqual([]);
  expect(faultsOf(changed({ 'realServer.loadBalancers': [{ prefix: 'fd00:1::/64' }] }))).toEqual([]);
});

test('entries that are wrong are not called repeated', () => {
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

test('services may not share VIP and port, however the port is written', () => {
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

test("real servers of a service may not share address and port; a port that is left out is the service's", () => {
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

test('a VIP may not be a local address', () => {
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

test('routing.localPriority has to be above routing.priority and its next', () => {
  const fault = (value: number, bound: number) =>
    `routing.localPriority: ${value} is not allowed; ` +
    `allowed: a whole number above ${bound} (routing.priority and its next) up to 32700`;
  expect(faultsOf(changed({ 'routing.priority': 100 }))).toEqual([fault(100, 101)]);
  expect(faultsOf(changed({ 'routing.localPriority': 22 }))).toEqual([fault(22, 22)]);
  expect(faultsOf(changed({ 'routing.priority': 0, 'routing.localPriority': 1 }))).toEqual([
    'routing.priority: 0 is not allowed; allowed: a whole number from 1 to 32765',
  ]);
});

test('a prefix may be listed only once, however it is written', () => {
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

test('services of one address may not share a port', () => {
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
