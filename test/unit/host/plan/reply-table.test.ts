import { describe, expect, test } from 'vitest';
import type { RealServerFacts } from '../../../../src/host/facts/real-server.js';
import { planRealServer } from '../../../../src/host/plan/real-server.js';
import type { RealServerPlanOptions } from '../../../../src/host/plan/real-server-options.js';
import { commands, facts, options } from '../../support/real-server-plan.js';

describe('the reply table', () => {
  const table = (o: Partial<RealServerPlanOptions> = {}, f: Partial<RealServerFacts> = {}) =>
    planRealServer({ ...options, ...o }, { ...facts, ...f }).replyTable;
  const standby = { address: '10.10.1.9', from: 53, to: 53 };

  test('is the one behind the way in', () => {
    expect(table()).toMatchObject({ tun: 'uoa0', table: 249 });
  });

  test('names the source that the kernel’s route has, where the first service is a standby’s and no route gives one', () => {
    const services = [standby, ...options.services];
    expect(table({ services }).sources).toEqual([{ prefix: '0.0.0.0/0', source: '10.10.1.2' }]);
    expect(commands({ services })).toContain(
      'ip -4 route replace default dev uoa0 table 249 src 10.10.1.2 mtu 1500',
    );
  });

  test('has the sources of the host’s routes beside that of a service, each as the kernel’s routes have it', () => {
    const replySources = [{ prefix: '10.20.0.0/16', source: '10.20.0.1' }];
    const services = [standby, ...options.services];
    expect(table({ services }, { replySources }).sources).toEqual([
      { prefix: '0.0.0.0/0', source: '10.10.1.2' },
      { prefix: '10.20.0.0/16', source: '10.20.0.1' },
    ]);
    const routes = commands({ services }, { replySources }).filter(line => / table 249 src /.test(line));
    expect(routes.map(line => line.replace(/.* replace (\S+) .* src (\S+) .*/, '$1 $2'))).toEqual([
      'default 10.10.1.2',
      '10.20.0.0/16 10.20.0.1',
    ]);
  });

  test('prefers the source of the host’s default route to any service’s address', () => {
    const replySources = [{ prefix: '0.0.0.0/0', source: '10.10.1.7' }];
    expect(table({}, { replySources }).sources).toEqual(replySources);
  });

  test('has no source for a family without an address of a service here', () => {
    const services = [...options.services, { address: 'fd00:1::9', from: 53, to: 53 }];
    expect(table({ services }).sources).toEqual([{ prefix: '0.0.0.0/0', source: '10.10.1.2' }]);
  });
});
