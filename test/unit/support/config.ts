/** Configurations for tests: good ones, changes to them, and the faults that they are refused with. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { ConfigError, loadConfig, type Sources } from '../../../src/daemon/config/index.js';

const directory = join(tmpdir(), `uoa-config-${randomUUID()}`);

/** To be called by each test file: `yaml` and `json` can be written while its tests run. */
export function useConfigFiles(): void {
  beforeAll(() => void mkdirSync(directory));
  afterAll(() => rmSync(directory, { recursive: true }));
}

export const yaml = join(directory, 'config.yaml');
export const json = join(directory, 'config.json');

export const GOOD = {
  role: 'real-server',
  tun: { name: 'uoa0', address: '192.0.2.254/32', offload: 'auto', merge: true, coalesce: 50 },
  log: { level: 'info', format: 'text' },
  control: { socket: '/run/uoa-shim/uoa0.sock' },
  metrics: { listen: '' },
  routing: { table: 248, priority: 21, localPriority: 100, mark: 32, steering: 'policy-routing' },
  realServer: {
    interface: '',
    loadBalancers: [
      {
        prefix: '10.10.1.0/24',
        ack: true,
        deliverEmpty: false,
        timeout: 360,
      },
    ],
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
    conntrackTimeout: true,
    flowTimeout: 360,
    maxFlows: 1048576,
  },
};

export const GOOD_LB = { ...GOOD, role: 'load-balancer', realServer: {} };

/** A good configuration with other values at some paths. */
export function changed(changes: Record<string, unknown>, good: unknown = GOOD): unknown {
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

export function changedLb(changes: Record<string, unknown>): unknown {
  return changed(changes, GOOD_LB);
}

/** The faults of a configuration, a line each. */
export function faultsOf(config: unknown): string[] {
  // JSON has no way to write undefined: such a key is left out.
  writeFileSync(json, JSON.stringify(config));
  return faultsFrom({ file: json, env: {}, flags: {} });
}

export function faultsFrom(sources: Sources): string[] {
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

/** What faults say is allowed. */
export const PREFIX = 'an IPv4 or IPv6 prefix such as 10.10.1.0/24 or fd00:1::/64';
export const SERVICE = 'an IPv4 or IPv6 unicast address of this host, such as 10.10.1.2 or fd00:1::2';
export const PORTS = 'a port from 1 to 65535, a range such as "5000-5999", or "any"';
export const LOCAL_ADDRESS = 'an IPv4 or IPv6 unicast address of this host, such as 10.10.2.1 or fd00:2::1';
export const LOCAL_ADDRESSES = "a list of this host's addresses, at least one, such as [10.10.2.1]";
export const VIP = 'an IPv4 or IPv6 unicast address such as 198.51.100.10 or 2001:db8::10';
export const BALANCED = 'an IPv4 or IPv6 unicast address such as 10.10.2.2 or fd00:2::2';
export const BALANCED_SERVERS =
  'a list of real servers, at least one, such as [{ address: 10.10.2.2, port: 53, weight: 1 }]';
export const VIRTUAL_SERVICE = '{ vip: 198.51.100.10, port: 53, realServers: [{ address: 10.10.2.2 }] }';
export const VIRTUAL_SERVICES = `a list of services, at least one, such as [${VIRTUAL_SERVICE}]`;
export const ONE_PORT = 'a port from 1 to 65535';
