/** What faults say, whatever the configuration is. */
import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ConfigError, loadConfig } from '../../../../src/daemon/config/index.js';
import {
  changed,
  changedLb,
  faultsFrom,
  faultsOf,
  GOOD,
  json,
  LOCAL_ADDRESSES,
  PORTS,
  PREFIX,
  useConfigFiles,
  VIP,
  VIRTUAL_SERVICES,
  yaml,
} from '../../support/config.js';

useConfigFiles();

test('a missing key is named, also in elements of lists', () => {
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
])('the unknown key %j is a fault that lists the known ones', (path, line) => {
  expect(faultsOf(changed({ [path]: 1 }))).toEqual([line]);
});

test('names with a meaning in JavaScript are unknown keys like others', () => {
  writeFileSync(json, `{"__proto__": {"role": 1}, ${JSON.stringify(GOOD).slice(1)}`);
  expect(() => loadConfig({ file: json, env: {}, flags: {} })).toThrow(
    `__proto__: unknown key; allowed: ${TOP}`,
  );
  expect(faultsOf(changed({ tun: { 'name.x': 1, toString: 1, prototype: {} } }))).toHaveLength(3);
});

test('a value in the place of a section is a fault, and a section in the place of a value', () => {
  expect(faultsOf(changed({ log: 'debug', 'realServer.maxFlows': { a: { b: 1 } } }))).toEqual([
    'log: "debug" is not allowed; allowed: a mapping with level, format',
    'realServer.maxFlows: {"a":{"b":1}} is not allowed; allowed: a whole number from 1 to 16777216',
  ]);
});

test('all faults are reported at once', () => {
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

test('a ConfigError has the parts of each fault', () => {
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

test('a long value is cut, so that its fault stays one short line', () => {
  const faults = faultsOf(changed({ 'tun.name': 'x'.repeat(1000), 'log.level': Array(999).fill('a\n') }));
  expect(faults).toHaveLength(2);
  for (const line of faults) expect(line.length).toBeLessThan(250);
});

test('a YAML alias inside the value that it stands for is shown as [...]', () => {
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
