/** A load balancer's plan for IPv6, alone and beside IPv4. */
import { expect, test } from 'vitest';
import { parsePrefix } from '../../../../src/host/addresses.js';
import type { ServingInterface } from '../../../../src/host/facts/load-balancer.js';
import type { Change } from '../../../../src/host/plan/change.js';
import { together } from '../../../../src/host/plan/nft.js';
import { egressTables } from '../../../../src/host/plan/nft-egress.js';
import { type BalancedService, natTables } from '../../../../src/host/plan/nft-nat.js';
import { downScript } from '../../../../src/host/plan/script.js';
import { commands, options, plan, scripts, serving } from '../../support/load-balancer-plan.js';

const service6: BalancedService = {
  vip: '2001:db8::10',
  port: 53,
  schedule: 'source-hash',
  realServers: [{ address: 'fd00:2::2', port: 53, weight: 1 }],
};
const options6 = { localAddresses: ['fd00:2::1'], services: [service6] };
const both = {
  localAddresses: [...options.localAddresses, 'fd00:2::1'],
  services: [...options.services, service6],
};
const ownAddresses = [
  '127.0.0.0/8',
  '10.10.2.1',
  '::1',
  'fe80::1',
  'fd00:2::1',
  '2001:db8::10',
  'ff00::/8',
].map(parsePrefix);
/** With the switch of its own that Linux 6.17 brought, or without. */
const serving6 = (name: string, hasSwitch = true): ServingInterface => ({
  name,
  forwarding: [
    {
      family: 6,
      interface: name,
      off: { key: `net.ipv6.conf.${name}.force_forwarding`, before: hasSwitch ? '0' : undefined },
    },
  ],
});
const forwarding6 = (name: string): ServingInterface => ({
  name,
  forwarding: [{ family: 6, interface: name }],
});
const facts6 = {
  ownAddresses,
  forwardsEach6: true,
  servers: [serving6('eth1')],
  clients: [serving6('eth0')],
};
const switches = (changes: readonly Change[]) => commands(changes).filter(line => /forwarding/.test(line));

test('a plan for IPv6 alone has tables of IPv6 only, and switches forwarding on for each interface', () => {
  const changes = plan(options6, facts6);
  expect(switches(changes)).toEqual([
    'sysctl -q -w net.ipv4.conf.uoa0.forwarding=1',
    'sysctl -q -w net.ipv6.conf.uoa0.force_forwarding=1',
    'sysctl -q -w net.ipv6.conf.eth0.force_forwarding=1',
    'sysctl -q -w net.ipv6.conf.eth1.force_forwarding=1',
  ]);
  expect(commands(changes)).toContain('sysctl -q -w net.ipv6.conf.uoa0.disable_ipv6=0');
  const guarded = ['eth0', 'eth1'].map(name => ({ name, family: 6 as const }));
  const marks = egressTables({
    tun: 'uoa0',
    servers: ['eth1'],
    families: [6],
    ...options6,
    marks: true,
    timeoutSeconds: 360,
    fwmark: 0x20,
  });
  const nat = natTables({ tun: 'uoa0', ...options6, guarded });
  expect(
    scripts(changes)
      .map(({ up }) => up)
      .slice(1),
  ).toEqual([together(marks, nat).up]);
  expect(downScript(changes)).toContain('sysctl -q -w net.ipv6.conf.eth1.force_forwarding=0');
});

test('on a host that forwards as a whole nothing is switched on and nothing guarded', () => {
  const changes = plan(options6, {
    ...{ ownAddresses, forwardsEach6: false },
    ...{ servers: [forwarding6('eth1')], clients: [forwarding6('eth0')] },
  });
  expect(switches(changes)).toEqual(['sysctl -q -w net.ipv4.conf.uoa0.forwarding=1']);
  expect(scripts(changes)[1].up).not.toMatch(/iifname \{[^}]*\} drop/);
});

test('a kernel that can’t switch forwarding on for one interface is a fault that names the remedy, except with an external NAT', () => {
  const servers = [serving6('eth1', false)];
  const faulty = () => plan(options6, { ...facts6, forwardsEach6: false, servers });
  expect(faulty).toThrow(
    expect.objectContaining({
      exitCode: 69,
      message:
        "eth1 does not forward IPv6, and this kernel can't switch it on for one interface " +
        '(net.ipv6.conf.eth1.force_forwarding, Linux 6.17); forward on the whole host ' +
        '(sysctl -w net.ipv6.conf.all.forwarding=1)',
    }),
  );
  expect(() => plan({ ...options6, nat: 'external' }, { ...facts6, servers })).not.toThrow();
});

test('a plan for both families switches on and guards each, and has the tables of both', () => {
  const mixed = (name: string) => ({
    name,
    forwarding: [...serving(name).forwarding, ...serving6(name).forwarding],
  });
  const changes = plan(both, { ...facts6, servers: [mixed('eth1')], clients: [mixed('eth0')] });
  expect(switches(changes).filter(line => /eth/.test(line))).toEqual([
    'sysctl -q -w net.ipv4.conf.eth0.forwarding=1',
    'sysctl -q -w net.ipv6.conf.eth0.force_forwarding=1',
    'sysctl -q -w net.ipv4.conf.eth1.forwarding=1',
    'sysctl -q -w net.ipv6.conf.eth1.force_forwarding=1',
  ]);
  const guarded = ['eth0', 'eth1'].flatMap(name => [
    { name, family: 4 as const },
    { name, family: 6 as const },
  ]);
  const marks = egressTables({
    tun: 'uoa0',
    servers: ['eth1'],
    families: [4, 6],
    ...both,
    marks: true,
    timeoutSeconds: 360,
    fwmark: 0x20,
  });
  const nat = natTables({ tun: 'uoa0', ...both, guarded });
  expect(
    scripts(changes)
      .map(({ up }) => up)
      .slice(1),
  ).toEqual([together(marks, nat).up]);
});

test('without services and local addresses the egress tables are for both families and all own addresses that others can send to', () => {
  const [marks] = scripts(
    plan({ nat: 'external', services: [], localAddresses: [] }, { ...facts6, clients: [] }),
  );
  expect(marks.up).toBe(
    egressTables({
      ...{
        tun: 'uoa0',
        servers: ['eth1'],
        families: [4, 6],
        services: [],
        marks: true,
        timeoutSeconds: 360,
        fwmark: 0x20,
      },
      localAddresses: ['10.10.2.1', 'fd00:2::1', '2001:db8::10'],
    }).up,
  );
});

test('a service of a family without a local address gets no table', () => {
  const [marks] = scripts(
    plan(
      { nat: 'external', services: both.services, localAddresses: ['fd00:2::1'] },
      { ...facts6, clients: [] },
    ),
  );
  expect(marks.up).not.toContain('table ip uoa_uoa0');
  expect(marks.up).toContain('table ip6 uoa_uoa0');
});

test('a local address that this host lacks is a fault', () => {
  expect(() => plan({ ...options6, localAddresses: ['fd00:2::9'] }, facts6)).toThrow(
    /loadBalancer\.localAddresses: fd00:2::9 is not an address of this/,
  );
});
