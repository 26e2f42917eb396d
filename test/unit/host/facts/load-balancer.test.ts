/** What the load balancer's planner gets to know of the host, with an `ip` that answers what it is told. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parsePrefix } from '../../../../src/host/addresses.js';
import {
  type LoadBalancerQuestion,
  readLoadBalancerFacts,
  requireInterfaces,
  type ServingInterface,
} from '../../../../src/host/facts/load-balancer.js';
import { FakePrograms } from '../../support/fake-programs.js';

let programs: FakePrograms;

beforeEach(() => {
  programs = new FakePrograms();
});
afterEach(() => programs.remove());

const ip = (answers: Record<string, string>): void => programs.add('ip', answers);

describe('the load balancer’s facts', () => {
  /** No such interfaces, and no TUN of that name, are on the host that this runs on. */
  const question: LoadBalancerQuestion = {
    tun: 'uoa-nowhere',
    interface: { clients: '', servers: '' },
    nat: 'managed',
    services: [
      { vip: '198.51.100.10', realServers: [{ address: '10.10.2.2' }, { address: '10.10.3.2' }] },
      { vip: '198.51.100.11', realServers: [{ address: '10.10.2.3' }] },
    ],
  };
  const route = (address: string, dev: string) =>
    JSON.stringify([{ dst: address, dev, prefsrc: '10.10.2.1' }]);
  const local = [
    { type: 'local', dst: '10.10.2.1', dev: 'no-servers-2' },
    { type: 'local', dst: '198.51.100.10', dev: 'no-clients' },
    { type: 'local', dst: '198.51.100.11', dev: 'lo' },
    { type: 'local', dst: '127.0.0.0/8', dev: 'lo' },
    { type: 'broadcast', dst: '10.10.2.255', dev: 'no-servers-2' },
  ];
  const local6 = [
    { type: 'local', dst: '::1', dev: 'lo' },
    { type: 'local', dst: 'fd00:2::1', dev: 'no-servers-6' },
    { type: 'anycast', dst: 'fd00:2::', dev: 'no-servers-6' },
    { type: 'local', dst: '2001:db8::10', dev: 'no-clients-6' },
    { type: 'multicast', dst: 'ff00::/8', dev: 'no-servers-6' },
  ];
  const answers = {
    '-j -4 route show table local': JSON.stringify(local),
    '-j -6 route show table local': JSON.stringify(local6),
    '-j -4 route get 10.10.2.2 ipproto tcp': route('10.10.2.2', 'no-servers-2'),
    '-j -4 route get 10.10.2.3 ipproto tcp': route('10.10.2.3', 'no-servers-2'),
    '-j -4 route get 10.10.3.2 ipproto tcp': route('10.10.3.2', 'no-servers-3'),
    '-j -4 route show default': JSON.stringify([{ dst: 'default', gateway: '192.0.2.1', dev: 'no-default' }]),
  };
  const answers6 = {
    ...answers,
    '-j -6 route get fd00:2::2 ipproto tcp': route('fd00:2::2', 'no-servers-6'),
    '-j -6 route show default': JSON.stringify([{ dst: 'default', gateway: 'fe80::1', dev: 'no-default-6' }]),
  };
  const service6 = { vip: '2001:db8::10', realServers: [{ address: 'fd00:2::2' }] };
  const closed = (...names: string[]) =>
    names.map(name => {
      const off = { key: `net.ipv4.conf.${name}.forwarding`, before: '0' };
      return { name, forwarding: [{ family: 4, interface: name, off }] };
    });
  /** How IPv6 is forwarded is this host's business: not more than that it was asked is looked at. */
  const familiesOf = (interfaces: readonly ServingInterface[]) =>
    interfaces.map(({ name, forwarding }) => [
      name,
      ...forwarding.map(entry => {
        expect(entry.interface).toBe(name);
        return entry.family;
      }),
    ]);

  it('have the servers’ interfaces by the routes to them, the clients’ by where the VIPs and the default route are', async () => {
    ip(answers);
    const facts = await readLoadBalancerFacts(question);
    expect(facts).toMatchObject({
      servers: closed('no-servers-2', 'no-servers-3'),
      clients: closed('no-clients', 'no-default'),
      ownAddresses: [
        ...['10.10.2.1', '198.51.100.10', '198.51.100.11', '127.0.0.0/8'],
        ...['::1', 'fd00:2::1', 'fd00:2::', '2001:db8::10'],
      ].map(parsePrefix),
      broadcastAddresses: [parsePrefix('10.10.2.255')],
    });
  });

  it('for IPv6 services have the interfaces by IPv6 routes only', async () => {
    ip(answers6);
    const { servers, clients } = await readLoadBalancerFacts({ ...question, services: [service6] });
    expect(familiesOf(servers)).toEqual([['no-servers-6', 6]]);
    expect(familiesOf(clients)).toEqual([
      ['no-clients-6', 6],
      ['no-default-6', 6],
    ]);
    expect(programs.asked()).not.toContain('-j -4 route show default');
  });

  it('for services of both families have the forwarding of both on every interface', async () => {
    ip(answers6);
    const services = [...question.services.slice(1), service6];
    const { servers, clients } = await readLoadBalancerFacts({ ...question, services });
    expect(familiesOf(servers)).toEqual([
      ['no-servers-2', 4, 6],
      ['no-servers-6', 4, 6],
    ]);
    expect(familiesOf(clients)).toEqual([
      ['no-clients-6', 4, 6],
      ['no-default', 4, 6],
      ['no-default-6', 4, 6],
    ]);
  });

  it('have configured interfaces without asking for routes', async () => {
    const { '-j -4 route show table local': table4, '-j -6 route show table local': table6 } = answers;
    ip({ '-j -4 route show table local': table4, '-j -6 route show table local': table6 });
    const configured = { clients: 'no-a', servers: 'no-b' };
    expect(await readLoadBalancerFacts({ ...question, interface: configured })).toMatchObject({
      servers: closed('no-b'),
      clients: closed('no-a'),
    });
    expect(new Set(programs.asked())).toEqual(
      new Set(['-j -4 route show table local', '-j -6 route show table local']),
    );
  });

  it('need a configured interface to be there: the fault names it', async () => {
    ip({ '-j link show dev here': JSON.stringify([{ ifname: 'here' }]) });
    await requireInterfaces({ clients: '', servers: '' });
    await requireInterfaces({ clients: 'here', servers: 'here' });
    for (const configured of [
      { clients: 'no-a', servers: 'here' },
      { clients: 'here', servers: 'no-a' },
      { clients: '', servers: 'no-a' },
    ])
      await expect(requireInterfaces(configured)).rejects.toThrow(/link show dev no-a: /);
  });

  it('have no clients’ interfaces with an external NAT', async () => {
    ip(answers);
    expect(await readLoadBalancerFacts({ ...question, nat: 'external' })).toMatchObject({
      servers: closed('no-servers-2', 'no-servers-3'),
      clients: [],
    });
    expect(programs.asked()).not.toContain('-j -4 route show default');
  });

  it('need a route to every real server: the fault names it', async () => {
    ip({ ...answers, '-j -4 route get 10.10.3.2 ipproto tcp': '[]' });
    await expect(readLoadBalancerFacts(question)).rejects.toThrow(
      /no route to the real server 10\.10\.3\.2 \(ip route get 10\.10\.3\.2\)/,
    );
    ip({ '-j -4 route show table local': '[]', '-j -6 route show table local': '[]' });
    await expect(readLoadBalancerFacts(question)).rejects.toThrow(/no route to the real server 10\.10\.2\.2/);
    ip(answers);
    await expect(readLoadBalancerFacts({ ...question, services: [service6] })).rejects.toThrow(
      /no route to the real server fd00:2::2 \(ip route get fd00:2::2\)/,
    );
  });

  it('need a real server to be another host', async () => {
    const here = JSON.stringify([{ type: 'local', dst: '10.10.2.2', dev: 'lo' }]);
    ip({ ...answers, '-j -4 route get 10.10.2.2 ipproto tcp': here });
    await expect(readLoadBalancerFacts(question)).rejects.toThrow(/no route to the real server 10\.10\.2\.2/);
  });

  it('need the interface on the servers’ side configured where there are no real servers', async () => {
    ip(answers);
    for (const services of [[], [{ vip: '198.51.100.10', realServers: [] }]]) {
      const faulty = readLoadBalancerFacts({ ...question, nat: 'external', services });
      await expect(faulty).rejects.toThrow(/loadBalancer\.interface\.servers: missing; required/);
      await expect(faulty).rejects.toMatchObject({ exitCode: 78 });
    }
  });

  it('need the interface on the clients’ side configured where no interface has a VIP and there is no default route', async () => {
    ip({
      ...answers,
      '-j -4 route show table local': JSON.stringify(local.filter(({ dev }) => dev !== 'no-clients')),
      '-j -4 route show default': '',
    });
    const faulty = readLoadBalancerFacts(question);
    await expect(faulty).rejects.toThrow(/loadBalancer\.interface\.clients: missing; required/);
    await expect(faulty).rejects.toMatchObject({ exitCode: 78 });
  });
});
