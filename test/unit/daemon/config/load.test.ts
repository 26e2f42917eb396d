import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import {
  ConfigError,
  flagDefinitions,
  loadConfig,
  readControlSocket,
  readTunName,
  type Sources,
} from '../../../../src/daemon/config/index.js';

const directory = mkdtempSync(join(tmpdir(), 'uoa-config-'));
afterAll(() => rmSync(directory, { recursive: true }));

const MINIMAL = `
realServer:
  loadBalancers: [{ prefix: 10.10.1.0/24 }]
  services: [{ address: 10.10.1.2, port: 53 }]
`;

function sources(text: string | Uint8Array, rest: Partial<Sources> = {}, name = 'config.yaml'): Sources {
  const file = join(directory, name);
  writeFileSync(file, text);
  return { file, env: {}, flags: {}, ...rest };
}

function load(...args: Parameters<typeof sources>) {
  return loadConfig(sources(...args));
}

/** The lines that a configuration is refused with, the directory left out of them. */
function refusal(from: Sources): string[] {
  try {
    loadConfig(from);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).message.replaceAll(`${directory}/`, '').split('\n');
  }
  throw new Error('was accepted');
}

const timeout = { unansweredSeconds: 360, answeredSeconds: 360 };

test.each([
  [300, { unansweredSeconds: 300, answeredSeconds: 300 }],
  [
    { unanswered: 30, answered: 120 },
    { unansweredSeconds: 30, answeredSeconds: 120 },
  ],
])('a load balancer’s timeout of %j', (written, timeout) => {
  const { realServer } = load(
    MINIMAL.replace(
      /(prefix: [^,}\n]*)( ?\}?)/,
      (_, prefix, end) => `${prefix}, timeout: ${JSON.stringify(written)}${end}`,
    ),
  );
  expect(realServer.loadBalancers[0].timeout).toEqual(timeout);
});

test('defaults fill what a file leaves out', () => {
  expect(load(MINIMAL)).toEqual({
    role: 'real-server',
    tun: { name: 'uoa0', address: '192.0.2.254/32', offload: 'auto', merge: true, coalesceUs: 50 },
    log: { level: 'info', format: 'text' },
    control: { socket: '/run/uoa-shim/uoa0.sock' },
    routing: { table: 248, priority: 21, localPriority: 100, fwmark: 0x20, steering: 'policy-routing' },
    realServer: {
      interface: '',
      loadBalancers: [{ prefix: '10.10.1.0/24', ack: true, ask: true, deliverEmpty: false, timeout }],
      services: [{ address: '10.10.1.2', from: 53, to: 53 }],
      flowTimeoutSeconds: 360,
      maxFlows: 1048576,
      nat64: 'keep',
    },
    loadBalancer: {
      carrier: 'ipo',
      maxTrails: 3,
      interface: { clients: '', servers: '' },
      nat: 'managed',
      localAddresses: [],
      services: [],
      conntrackTimeout: true,
      flowTimeoutSeconds: 360,
      maxFlows: 1048576,
    },
  });
});

test('every value of a file arrives in its one spelling', () => {
  const config = load(`
role: real-server
tun: { name: shim1, address: 192.0.2.1, offload: off, merge: false, coalesce: 20 }
log: { level: debug, format: json }
control: { socket: /tmp/shim.sock }
metrics: { listen: "" }
routing: { table: 1000, priority: 7, localPriority: 9, mark: 0x40, steering: policy-routing }
realServer:
  interface: eth1
  loadBalancers:
    - { prefix: 10.10.1.0/24, ack: false, deliverEmpty: true }
    - { prefix: 10.10.2.9 }
    - { prefix: "FD00:1:0::/64" }
    - { prefix: fd00:2:0:0:0:0:0:9 }
  services:
    - { address: 10.10.1.2, port: "5000-5999" }
    - { address: 10.10.1.2, port: "6000" }
    - { address: 10.10.1.3, port: any }
    - { address: FD00:1::0:2, port: 5000 }
  datapath: auto
  flowTimeout: 10
  maxFlows: 64
  nat64: deliver
loadBalancer:
  carrier: opp
  maxTrails: 0
  interface: { clients: eth0, servers: eth1 }
  nat: external
  localAddresses: [10.10.2.1, 10.10.2.9, FD00:2:0::1]
  services:
    - { vip: 198.51.100.10, port: 53, realServers: [{ address: 10.10.2.2 }, { address: 10.10.2.3, weight: 0 }] }
    - vip: 198.51.100.10
      port: "54"
      schedule: random
      realServers: [{ address: 10.10.2.2, port: "5454", weight: 1000 }]
    - { vip: 198.51.100.11, port: 53, schedule: round-robin }
    - { vip: "2001:DB8::0010", port: 53, realServers: [{ address: fd00:2:0:0::2 }] }
  flowTimeout: 20
  maxFlows: 32
`);
  expect(config.tun).toEqual({
    name: 'shim1',
    address: '192.0.2.1/32',
    offload: 'off',
    merge: false,
    coalesceUs: 20,
  });
  expect(config.log).toEqual({ level: 'debug', format: 'json' });
  expect(config.control.socket).toBe('/tmp/shim.sock');
  expect(config.routing).toMatchObject({ table: 1000, priority: 7, localPriority: 9, fwmark: 64 });
  expect(config.realServer).toEqual({
    interface: 'eth1',
    loadBalancers: [
      { prefix: '10.10.1.0/24', ack: false, ask: false, deliverEmpty: true, timeout },
      { prefix: '10.10.2.9/32', ack: true, ask: true, deliverEmpty: false, timeout },
      { prefix: 'fd00:1::/64', ack: true, ask: true, deliverEmpty: false, timeout },
      { prefix: 'fd00:2::9/128', ack: true, ask: true, deliverEmpty: false, timeout },
    ],
    services: [
      { address: '10.10.1.2', from: 5000, to: 5999 },
      { address: '10.10.1.2', from: 6000, to: 6000 },
      { address: '10.10.1.3', from: 0, to: 65535 },
      { address: 'fd00:1::2', from: 5000, to: 5000 },
    ],
    flowTimeoutSeconds: 10,
    maxFlows: 64,
    nat64: 'deliver',
  });
  expect(config.loadBalancer).toEqual({
    carrier: 'opp',
    maxTrails: 0,
    interface: { clients: 'eth0', servers: 'eth1' },
    nat: 'external',
    localAddresses: ['10.10.2.1', '10.10.2.9', 'fd00:2::1'],
    services: [
      {
        vip: '198.51.100.10',
        port: 53,
        schedule: 'source-hash',
        realServers: [
          { address: '10.10.2.2', port: 53, weight: 1 },
          { address: '10.10.2.3', port: 53, weight: 0 },
        ],
      },
      {
        vip: '198.51.100.10',
        port: 54,
        schedule: 'random',
        realServers: [{ address: '10.10.2.2', port: 5454, weight: 1000 }],
      },
      { vip: '198.51.100.11', port: 53, schedule: 'round-robin', realServers: [] },
      {
        vip: '2001:db8::10',
        port: 53,
        schedule: 'source-hash',
        realServers: [{ address: 'fd00:2::2', port: 53, weight: 1 }],
      },
    ],
    conntrackTimeout: false,
    flowTimeoutSeconds: 20,
    maxFlows: 32,
  });
});

test.each([
  ['nat: managed', true],
  ['nat: external', false],
  ['nat: managed, conntrackTimeout: false', false],
  ['nat: external, conntrackTimeout: true', true],
])('with %s conntrack keeps flows for flowTimeout: %s', (written, conntrackTimeout) => {
  const lists =
    'localAddresses: [10.10.2.1], services: [{ vip: 198.51.100.10, port: 53, realServers: [{ address: 10.10.2.2 }] }]';
  const { loadBalancer } = load(`{ role: load-balancer, loadBalancer: { ${written}, ${lists} } }`);
  expect(loadBalancer.conntrackTimeout).toBe(conntrackTimeout);
});

test('the lists of the role that is not configured are empty', () => {
  const config = load(`
role: load-balancer
loadBalancer:
  localAddresses: [10.10.2.1]
  services: [{ vip: 198.51.100.10, port: 53, realServers: [{ address: 10.10.2.2 }] }]
`);
  expect(config.role).toBe('load-balancer');
  expect(config.realServer).toMatchObject({ loadBalancers: [], services: [] });
  expect(config.loadBalancer).toMatchObject({ carrier: 'ipo', maxTrails: 3, nat: 'managed' });
});

test('the carrier is the one that was written', () => {
  const carrier = (name: string) =>
    load(`loadBalancer: { carrier: ${name} }\n${MINIMAL}`).loadBalancer.carrier;
  expect(['ipo', 'dstopt', 'opp'].map(carrier)).toEqual(['ipo', 'dstopt', 'opp']);
});

test('JSON says the same as YAML', () => {
  const json = {
    log: { level: 'warn' },
    realServer: {
      loadBalancers: [{ prefix: '10.10.1.0/24' }],
      services: [{ address: '10.10.1.2', port: 53 }],
    },
  };
  const yaml = load(`log: { level: warn }\n${MINIMAL}`);
  expect(load(JSON.stringify(json), {}, 'config.json')).toEqual(yaml);
  expect(load(JSON.stringify(json, null, '\t'), {}, 'config.json')).toEqual(yaml);
});

test('the example configurations have no faults', () => {
  const realServer = loadConfig({ file: 'config/real-server.yaml', env: {}, flags: {} });
  expect(realServer.realServer.services).toEqual([{ address: '10.10.1.2', from: 53, to: 53 }]);
  const { role, loadBalancer } = loadConfig({ file: 'config/load-balancer.yaml', env: {}, flags: {} });
  expect(role).toBe('load-balancer');
  expect(loadBalancer.localAddresses).toEqual(['10.10.2.1']);
  expect(loadBalancer.services).toEqual([
    {
      vip: '198.51.100.10',
      port: 53,
      schedule: 'source-hash',
      realServers: [
        { address: '10.10.2.2', port: 53, weight: 1 },
        { address: '10.10.2.3', port: 53, weight: 1 },
      ],
    },
  ]);
});

test.each(['real-server', 'load-balancer'])(
  'what the example for a %s has in comments are the defaults',
  name => {
    const text = readFileSync(`config/${name}.yaml`, 'utf8');
    const names = new Set(flagDefinitions().flatMap(({ key }) => key.split('.')));
    const uncommented = text.replaceAll(/^( *)# ( *(\w+):.*)$/gm, (line, indent, rest, key) =>
      names.has(key) ? indent + rest : line,
    );
    expect(uncommented).not.toBe(text);
    expect(load(uncommented)).toEqual(load(text));
  },
);

test('an empty section means the same as none', () => {
  expect(load(`tun:\nlog: {}\n${MINIMAL}`)).toEqual(load(MINIMAL));
});

test('flags win over the environment, the environment over the file, the file over defaults', () => {
  const file = `log: { level: warn }\nrouting: { mark: 1 }\n${MINIMAL}`;
  const env = { UOA_SHIM_LOG_LEVEL: 'error', UOA_SHIM_ROUTING_MARK: '0x10' };
  expect(load(file).log.level).toBe('warn');
  expect(load(file, { env }).log.level).toBe('error');
  expect(load(file, { env }).routing.fwmark).toBe(16);
  const config = load(file, { env, flags: { 'log.level': 'debug', 'routing.mark': '0x30' } });
  expect(config.log.level).toBe('debug');
  expect(config.routing.fwmark).toBe(48);
});

test('a whole configuration can come from the environment, lists included', () => {
  const env = {
    UOA_SHIM_REAL_SERVER_LOAD_BALANCERS: '[{ prefix: 10.1.0.0/16, ack: false }]',
    UOA_SHIM_REAL_SERVER_SERVICES: '[{"address": "10.1.0.2", "port": "any"}]',
    UOA_SHIM_REAL_SERVER_FLOW_TIMEOUT: '30',
    UOA_SHIM_TUN_NAME: '7',
  };
  const config = load('', { env });
  expect(config.realServer).toMatchObject({
    loadBalancers: [{ prefix: '10.1.0.0/16', ack: false, ask: false, deliverEmpty: false, timeout }],
    services: [{ address: '10.1.0.2', from: 0, to: 65535 }],
    flowTimeoutSeconds: 30,
  });
  expect(config.tun.name).toBe('7');
});

test('a variable that no key has is left alone', () => {
  expect(load(MINIMAL, { env: { UOA_SHIM_NO_SUCH_KEY: 'x' } })).toEqual(load(MINIMAL));
});

test('true and false can come from the environment or a flag, in this spelling only', () => {
  const env = { UOA_SHIM_TUN_MERGE: 'false' };
  expect(load(MINIMAL, { env }).tun.merge).toBe(false);
  expect(load(`tun: { merge: false }\n${MINIMAL}`, { env: { UOA_SHIM_TUN_MERGE: 'true' } }).tun.merge).toBe(
    true,
  );
  expect(load(MINIMAL, { env, flags: { 'tun.merge': 'true' } }).tun.merge).toBe(true);
  expect(load(MINIMAL, { flags: { 'tun.merge': 'false', 'tun.offload': 'off' } }).tun).toMatchObject({
    merge: false,
    offload: 'off',
  });
  expect(refusal(sources(MINIMAL, { env: { UOA_SHIM_TUN_MERGE: 'no' } }))).toEqual([
    'tun.merge (from UOA_SHIM_TUN_MERGE): "no" is not allowed; allowed: true or false',
  ]);
  for (const text of ['', '0', '1', 'True', 'FALSE', ' true', 'yes'])
    expect(refusal(sources(MINIMAL, { flags: { 'tun.merge': text, 'tun.offload': 'on' } }))).toEqual([
      'tun.offload (from --tun-offload): "on" is not allowed; allowed: auto or off',
      `tun.merge (from --tun-merge): "${text}" is not allowed; allowed: true or false`,
    ]);
});

test('a fault names the variable or the flag that the value came from', () => {
  const env = {
    UOA_SHIM_LOG_LEVEL: 'loud',
    UOA_SHIM_ROUTING_MARK: '1e1',
    UOA_SHIM_REAL_SERVER_SERVICES: '[{ address: 10.0.0.1, port: 0 }]',
    UOA_SHIM_REAL_SERVER_LOAD_BALANCERS: '[',
  };
  expect(refusal(sources(MINIMAL, { env, flags: { 'log.format': 'xml' } }))).toEqual([
    'log.level (from UOA_SHIM_LOG_LEVEL): "loud" is not allowed; allowed: error, warn, info or debug',
    'log.format (from --log-format): "xml" is not allowed; allowed: text or json',
    'routing.mark (from UOA_SHIM_ROUTING_MARK): "1e1" is not allowed; allowed: a whole number from 1 to 4294967295',
    'realServer.loadBalancers (from UOA_SHIM_REAL_SERVER_LOAD_BALANCERS): "[" is not allowed; ' +
      'allowed: a list of the load balancers, at least one, such as [{ prefix: 10.10.1.0/24 }]',
    'realServer.services[0].port (from UOA_SHIM_REAL_SERVER_SERVICES): 0 is not allowed; ' +
      'allowed: a port from 1 to 65535, a range such as "5000-5999", or "any"',
  ]);
});

test('process.env and process.argv are not read', () => {
  process.env.UOA_SHIM_LOG_LEVEL = 'debug';
  process.argv.push('--log.level=debug', '--log-level=debug');
  try {
    expect(load(MINIMAL).log.level).toBe('info');
  } finally {
    delete process.env.UOA_SHIM_LOG_LEVEL;
    process.argv.splice(-2);
  }
});

test('a file that cannot be read is one fault, of the file', () => {
  expect(refusal({ file: `${directory}/none.yaml`, env: {}, flags: {} })).toEqual([
    'none.yaml: there is no such file; --config FILE names another',
  ]);
  expect(refusal({ file: directory, env: {}, flags: {} })).toEqual([
    `${directory}: this is a directory; --config FILE names another`,
  ]);
  expect(refusal(sources(Uint8Array.of(0x61, 0x3a, 0xff)))).toEqual(['config.yaml: not UTF-8 text']);
});

test.each([
  [
    'a: [1\nb: 2\n',
    'line 2: Flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  ['tun:\n\tname: x\n', 'line 2: Tabs are not allowed as indentation'],
  ['tun: {}\n---\nlog: {}\n', 'line 2: a second document begins here; only one is read'],
  ['tun: !shim {}\n', 'line 1: Unresolved tag: !shim'],
  ['tun: *shim\n', 'Unresolved alias (the anchor must be set before the alias): shim'],
  ['- role: real-server\n', 'not a mapping of keys to values'],
  ['real-server\n', 'not a mapping of keys to values'],
])('broken YAML is one fault, of the file: %j', (text, said) => {
  expect(refusal(sources(text))).toEqual([`config.yaml: ${said}`]);
});

test('broken JSON is a fault with its line', () => {
  expect(refusal(sources('{\n"role": real-server }', {}, 'config.json'))).toEqual([
    'config.json: line 2: Unresolved plain scalar "real-server"',
  ]);
});

test('nesting that is too deep is a fault of the file', () => {
  expect(refusal(sources('['.repeat(50_000)))[0]).toMatch(/^config\.yaml: /);
});

test('a repeated key is a fault, in YAML and in JSON, beside all other faults', () => {
  expect(refusal(sources(`log: { level: loud, level: info }\ntun: {}\n"tun": {}\n${MINIMAL}`))).toEqual([
    'config.yaml: line 1: level is there twice',
    'config.yaml: line 3: tun is there twice',
  ]);
  expect(refusal(sources('{"tun": {},\n "tun": {"mtu": 1}, "realServer": []}', {}, 'config.json'))).toEqual([
    'config.json: line 2: tun is there twice',
    'tun.mtu: unknown key; allowed: name, address, offload, merge, coalesce',
    expect.stringMatching(
      /^realServer: \[\] is not allowed; allowed: a mapping with interface, loadBalancers/,
    ),
    expect.stringMatching(/^realServer.loadBalancers: missing; required: /),
    expect.stringMatching(/^realServer.services: missing; required: /),
  ]);
});

test('an empty file is refused with every key that is required', () => {
  for (const text of ['', '# nothing\n', '{}'])
    expect(refusal(sources(text))).toEqual([
      'realServer.loadBalancers: missing; required: ' +
        'a list of the load balancers, at least one, such as [{ prefix: 10.10.1.0/24 }]',
      'realServer.services: missing; required: ' +
        "a list of the application's sockets, at least one, such as [{ address: 10.10.1.2, port: 53 }]",
    ]);
});

test('every scalar key has a flag, and every flag sets its key', () => {
  const definitions = flagDefinitions();
  expect(definitions).toContainEqual({
    flag: '--real-server-flow-timeout <value>',
    key: 'realServer.flowTimeout',
    description: 'seconds without a packet until a flow is forgotten (default: 360)',
    hidden: false,
  });
  expect(definitions.filter(({ key }) => /loadBalancers|services|localAddresses/.test(key))).toEqual([]);
  expect(definitions.filter(({ hidden }) => hidden).map(({ key }) => key)).toEqual([
    'metrics.listen',
    'realServer.datapath',
  ]);
  // Nothing is called " /%": wherever it ends up, it is refused under the flag's name.
  for (const { flag, key } of definitions)
    expect(refusal(sources(MINIMAL, { flags: { [key]: ' /%' } }))).toEqual([
      expect.stringContaining(`${key} (from ${flag.replace(' <value>', '')}): " /%" is not `),
    ]);
});

test('the control socket is found in a configuration with faults', () => {
  const find = (text: string, rest: Partial<Sources> = {}) => readControlSocket(sources(text, rest));
  const usual = '/run/uoa-shim/uoa0.sock';
  expect(readControlSocket({ file: `${directory}/none.yaml`, env: {}, flags: {} })).toBe(usual);
  expect(find('')).toBe(usual);
  expect(find('- 1')).toBe(usual);
  expect(find('control: 7\ntun: [')).toBe(usual);
  expect(find('control: { socket: /a/b }\nrole: nobody')).toBe('/a/b');
  expect(find('control: { socket: /a/b }\nrole: [\n')).toBe('/a/b');
  expect(find('tun: { name: shim7 }')).toBe('/run/uoa-shim/shim7.sock');
  expect(find('tun: { name: a/b }\ncontrol: { socket: here }')).toBe(usual);
  const env = { UOA_SHIM_CONTROL_SOCKET: '/from/env', UOA_SHIM_TUN_NAME: 'env0' };
  expect(find('control: { socket: /a/b }', { env })).toBe('/from/env');
  expect(find('control: { socket: /a/b }', { env, flags: { 'control.socket': '/flag' } })).toBe('/flag');
  expect(find('tun: { name: shim7 }', { flags: { 'tun.name': 'flag0' } })).toBe('/run/uoa-shim/flag0.sock');
});

test("the TUN's name is found in a configuration with faults", () => {
  expect(readTunName(sources('tun: { name: shim7 }\nrole: [\n'))).toBe('shim7');
  expect(readTunName(sources('tun: { name: a/b }'))).toBe('uoa0');
  expect(readTunName(sources('tun: 1', { env: { UOA_SHIM_TUN_NAME: 'env0' } }))).toBe('env0');
});
