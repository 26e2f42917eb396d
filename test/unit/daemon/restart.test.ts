import { describe, expect, it } from 'vitest';
import type { Config } from '../../../src/daemon/config/index.js';
import { reloadable } from '../../../src/daemon/restart.js';

function config(): Config {
  const limits = { maxFlows: 64, flowTimeoutSeconds: 360 };
  return {
    role: 'real-server',
    tun: { name: 'uoa0', address: '192.0.2.254/32', offload: 'auto', merge: true, coalesceUs: 50 },
    log: { level: 'info', format: 'text' },
    control: { socket: '/run/uoa-shim/uoa0.sock' },
    routing: { table: 248, priority: 21, localPriority: 100, fwmark: 32, steering: 'policy-routing' },
    realServer: { interface: '', loadBalancers: [], services: [], nat64: 'keep', ...limits },
    loadBalancer: {
      carrier: 'ipo',
      maxTrails: 3,
      interface: { clients: '', servers: '' },
      nat: 'managed',
      localAddresses: [],
      services: [],
      conntrackTimeout: true,
      ...limits,
    },
  };
}

function changed(change: (next: Config) => void): Config {
  const next = config();
  change(next);
  return next;
}

describe('reloading a configuration', () => {
  it('takes the section of the role and the log level as they are', () => {
    const next = changed(({ realServer, loadBalancer, log }) => {
      realServer.services = [{ address: '10.0.0.1', from: 53, to: 53 }];
      realServer.nat64 = 'deliver';
      loadBalancer.maxTrails = 0;
      log.level = 'debug';
    });
    expect(reloadable(config(), next)).toEqual({ config: next, needRestart: [] });
  });

  it.each<[string, (next: Config) => void]>([
    ['role', next => Object.assign(next, { role: 'load-balancer' })],
    ['tun', ({ tun }) => Object.assign(tun, { name: 'uoa1' })],
    ['control', ({ control }) => Object.assign(control, { socket: '/other' })],
    ['routing', ({ routing }) => Object.assign(routing, { table: 1 })],
    ['realServer.maxFlows', ({ realServer }) => Object.assign(realServer, { maxFlows: 65 })],
    ['realServer.flowTimeout', ({ realServer }) => Object.assign(realServer, { flowTimeoutSeconds: 1 })],
  ])('leaves %s as it is, and says that it needs a restart', (name, change) => {
    expect(reloadable(config(), changed(change))).toEqual({ config: config(), needRestart: [name] });
  });

  it('looks at the limits of a load balancer in its own section', () => {
    const running = changed(next => {
      next.role = 'load-balancer';
    });
    const next = changed(other => {
      other.role = 'load-balancer';
      other.loadBalancer.maxFlows = 65;
      other.loadBalancer.maxTrails = 1;
    });
    const { config: taken, needRestart } = reloadable(running, next);
    expect(needRestart).toEqual(['loadBalancer.maxFlows']);
    expect(taken.loadBalancer).toMatchObject({ maxFlows: 64, maxTrails: 1 });
  });

  it('names everything that needs a restart at once', () => {
    const next = changed(({ tun, realServer }) => {
      tun.merge = false;
      realServer.maxFlows = 1;
    });
    expect(reloadable(config(), next).needRestart).toEqual(['tun', 'realServer.maxFlows']);
  });
});
