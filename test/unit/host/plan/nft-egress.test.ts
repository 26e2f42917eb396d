import { beforeEach, describe, expect, it } from 'vitest';
import type { Family } from '../../../../src/host/family.js';
import { DIALECTS } from '../../../../src/host/plan/nft-dialects.js';
import { divertBit, type EgressOptions, egressTables } from '../../../../src/host/plan/nft-egress.js';
import { countRules, load, ODD_NAMES, obstacle, rulesOf, tablesOf } from '../../support/nft.js';

const four: EgressOptions = {
  tun: 'uoa0',
  servers: ['eth1'],
  families: [4],
  localAddresses: ['10.10.2.1'],
  services: [{ vip: '198.51.100.10', port: 53 }],
  marks: true,
  timeoutSeconds: undefined,
  fwmark: 0x20,
};

const six: EgressOptions = {
  ...four,
  families: [6],
  localAddresses: ['fd00:2::1'],
  services: [{ vip: '2001:db8::10', port: 53 }],
};

/** Both families, each with a service of its own. */
const both: EgressOptions = {
  ...four,
  families: [4, 6],
  localAddresses: [...four.localAddresses, ...six.localAddresses],
  services: [...four.services, ...six.services],
};

const rules = (options: Partial<EgressOptions>, chain: string): string[] =>
  rulesOf(egressTables({ ...four, ...options }), chain);
const hex = (value: number): string => `0x${value.toString(16)}`;

/** Text about IPv4 as it is about IPv6. */
function inIpv6(text: string): string {
  const words = ['ofFamily', 'mark', 'options', 'anotherHop', 'tooBigForMark', 'tooBigForOpp'] as const;
  const translated = words.reduce((sum, word) => sum.replaceAll(DIALECTS[4][word], DIALECTS[6][word]), text);
  return translated
    .replaceAll(/\bip (?=daddr|to |uoa_)/g, 'ip6 ')
    .replaceAll(DIALECTS[4].anyNeighbour, DIALECTS[6].anyNeighbour)
    .replaceAll('10.10.2.1', 'fd00:2::1')
    .replaceAll('198.51.100.10', '2001:db8::10');
}

describe('the egress tables', () => {
  it('for one service on one interface have this text', () => {
    const { up, down } = egressTables(four);
    expect(up).toBe(`table ip uoa_uoa0
delete table ip uoa_uoa0
table netdev uoa_uoa0
delete table netdev uoa_uoa0
table ip uoa_uoa0 {
	chain divert {
		type filter hook postrouting priority 300; policy accept;
		oifname { "eth1" } meta l4proto udp ct direction original ct status dnat ct status snat ct original ip daddr 198.51.100.10 ct original proto-dst 53 ct mark & 0x20 == 0 meta mark set meta mark | 0x40
		oifname { "eth1" } meta l4proto udp ct direction original ct status snat ip hdrlength > 5 meta mark set meta mark | 0x40
		oifname { "eth1" } meta l4proto 248 ct status snat drop
	}
	chain ours {
		type filter hook output priority raw; policy accept;
		meta mark & 0x20 == 0x20 notrack
	}
	chain acks {
		type filter hook prerouting priority raw; policy accept;
		iifname { "eth1" } ip daddr { 10.10.2.1 } meta l4proto 248 drop
		iifname { "eth1" } ip daddr { 10.10.2.1 } udp length 8 ip hdrlength > 5 @nh,160,8 0x1f drop
	}
}
table netdev uoa_uoa0 {
	chain out_0 {
		type filter hook egress device "eth1" priority 0; policy accept;
		meta protocol ip meta l4proto udp meta mark & 0x40 == 0x40 ip ttl 1 ip ttl set 2
		meta protocol ip meta l4proto udp meta mark & 0x40 == 0x40 fwd ip to 192.0.2.253 device "uoa0"
		meta protocol ip meta l4proto udp meta mark & 0x40 == 0x40 ip hdrlength > 5 drop
	}
	chain in_0 {
		type filter hook ingress device "eth1" priority 0; policy accept;
		meta protocol ip ip daddr { 10.10.2.1 } meta l4proto 248 fwd ip to 192.0.2.253 device "uoa0"
		meta protocol ip ip daddr { 10.10.2.1 } meta l4proto udp ip hdrlength > 5 @nh,160,8 0x1f fwd ip to 192.0.2.253 device "uoa0"
		meta protocol ip ip daddr { 10.10.2.1 } icmp type 3 icmp code 4 @th,68,4 > 5 @th,224,8 0x1f fwd ip to 192.0.2.253 device "uoa0"
		meta protocol ip ip daddr { 10.10.2.1 } icmp type 3 icmp code 4 @th,136,8 248 fwd ip to 192.0.2.253 device "uoa0"
	}
}`);
    expect(down).toBe(up.slice(0, up.indexOf('\ntable ip uoa_uoa0 {')));
  });

  it.each<[Family, EgressOptions]>([
    [4, four],
    [6, six],
  ])('IPv%s: without services divert the flows of all services, and are otherwise the same', (_, options) => {
    const withService = egressTables(options).up;
    const [service] = /ct original ip6? daddr \S+ ct original proto-dst 53 /.exec(withService) ?? [];
    expect(service).toBeDefined();
    expect(egressTables({ ...options, services: [] }).up).toBe(withService.replace(service as string, ''));
  });

  it('divert by a rule for each service, which differ in VIP and port only', () => {
    const services = [53, 123, 443].map(port => ({ vip: `198.51.100.${port % 256}`, port }));
    const [one, ...others] = rules({}, 'divert');
    expect(rules({ services }, 'divert')).toEqual([
      ...services.map(({ vip, port }) =>
        one.replace('198.51.100.10', vip).replace('proto-dst 53', `proto-dst ${port}`),
      ),
      ...others,
    ]);
  });

  it('divert a flow’s packets by its bit in conntrack’s mark alone, whatever their number', () => {
    const [rule] = rules({}, 'divert');
    expect(rule).toContain(' ct mark & 0x20 == 0 meta mark set ');
    expect(rule).not.toContain('packets');
  });

  it('give new flows a time-out of their own, of a policy in each table', () => {
    const timed = { ...both, timeoutSeconds: 300 };
    const policy = (l3proto: string) => `\tct timeout flows {
\t\tprotocol udp
\t\tl3proto ${l3proto}
\t\tpolicy = { unreplied : 300, replied : 300 }
\t}
`;
    const { up } = egressTables(timed);
    for (const ip of ['ip', 'ip6'])
      expect(up).toContain(`table ${ip} uoa_uoa0 {\n${policy(ip)}\tchain divert`);
    const [lasting, diverted, ...others] = rules({ timeoutSeconds: 300 }, 'divert');
    expect([diverted, ...others]).toEqual(rules({}, 'divert'));
    const [match] = diverted.split(' ct mark ');
    expect(lasting).toBe(`${match} ct state new ct timeout set "flows"`);
    // Marks or not, and of all flows that would get some.
    expect(rules({ timeoutSeconds: 300, marks: false }, 'divert')).toEqual([lasting, ...others]);
    expect(rules({ timeoutSeconds: 300, services: [] }, 'divert')[0]).toBe(
      lasting.replace(/ct original ip daddr \S+ ct original proto-dst 53 /, ''),
    );
  });

  it('divert only packets with options, to have clients’ own marks taken out, where no flow gets marks', () => {
    expect(rules({ marks: false }, 'divert')).toEqual(rules({}, 'divert').slice(1));
  });

  it('have two chains for each interface, with the rules of one interface alone', () => {
    const servers = ['eth1', 'eth2.7', 'wg-0'];
    const { netdev, ...others } = Object.fromEntries(
      Object.entries(tablesOf(egressTables({ ...four, servers }))).map(([id, chains]) => [
        id.split(' ')[0],
        chains,
      ]),
    );
    expect(Object.keys(netdev)).toEqual(['out_0', 'in_0', 'out_1', 'in_1', 'out_2', 'in_2']);
    for (const [i, name] of servers.entries())
      for (const [chain, hook] of [
        ['out', 'egress'],
        ['in', 'ingress'],
      ]) {
        expect(netdev[`${chain}_${i}`].hook).toContain(` hook ${hook} device "${name}" `);
        expect(netdev[`${chain}_${i}`].rules).toEqual(rules({}, `${chain}_0`));
      }
    for (const rule of [...others.ip.divert.rules, ...others.ip.acks.rules])
      expect(rule).toMatch(/^[io]ifname \{ "eth1", "eth2\.7", "wg-0" \} /);
  });

  it('take ACKs to every local address', () => {
    const localAddresses = ['10.10.2.1', '10.10.3.1'];
    for (const chain of ['acks', 'in_0'])
      expect(rules({ localAddresses }, chain)).toEqual(
        rules({}, chain).map(rule => rule.replace('{ 10.10.2.1 }', '{ 10.10.2.1, 10.10.3.1 }')),
      );
  });

  it.each([
    [0x1, 0x2],
    [0x20, 0x40],
    [0x4000_0000, 0x8000_0000],
    [0x30, 0x60],
  ])('with the fwmark %i divert by the bits %i', (fwmark, divert) => {
    expect(divertBit(fwmark)).toBe(divert);
    const { up } = egressTables(four);
    expect(egressTables({ ...four, fwmark }).up).toBe(
      up.replaceAll(/\b0x([24])0\b/g, (_, digit: string) => hex(digit === '2' ? fwmark : divert)),
    );
  });

  it.each([
    ['uoa1', 'uoa_uoa1'],
    ['uoa-1.a_B', 'uoa_uoa-1.a_B'],
    ["a';b", 'uoa_a__b'],
  ])('of the TUN %s are called %s', (tun, name) => {
    expect(egressTables({ ...four, tun }).tables).toEqual([`table ip ${name}`, `table netdev ${name}`]);
  });

  it('of IPv6 are those of IPv4 in the words of IPv6', () => {
    expect(egressTables(six).up).toBe(inIpv6(egressTables(four).up));
  });

  it('of both families: a table for each, and an interface’s chains have the rules of both', () => {
    const [script, alone4, alone6] = [both, four, six].map(egressTables);
    expect(script.tables).toEqual(['table ip uoa_uoa0', 'table ip6 uoa_uoa0', 'table netdev uoa_uoa0']);
    const tables = tablesOf(script);
    expect(tables['ip uoa_uoa0']).toEqual(tablesOf(alone4)['ip uoa_uoa0']);
    expect(tables['ip6 uoa_uoa0']).toEqual(tablesOf(alone6)['ip6 uoa_uoa0']);
    for (const chain of ['out_0', 'in_0'])
      expect(rulesOf(script, chain)).toEqual([...rulesOf(alone4, chain), ...rulesOf(alone6, chain)]);
  });
});

describe('nft itself', () => {
  const why = obstacle();
  beforeEach(({ skip }) => skip(why !== undefined, why));

  const addresses = ['10.10.2.1', '10.10.2.4', '10.10.2.5'];
  const services = [1000, 1001, 1002, 53].map(port => ({ vip: '198.51.100.10', port }));

  it.each<[string, EgressOptions]>([
    ['for one service', four],
    ['for whatever is NATed', { ...four, services: [] }],
    ['without marks', { ...four, marks: false }],
    [
      'on several interfaces, for several services and addresses',
      { ...four, servers: ['eth1', 'eth2', 'eth3'], services, localAddresses: addresses, fwmark: 0x40000000 },
    ],
    ...ODD_NAMES.map((name): [string, EgressOptions] => [
      `on ${name}`,
      { ...four, tun: `t${name}`, servers: [name] },
    ]),
    ['for one IPv6 service', six],
    ['for whatever IPv6 is NATed', { ...six, services: [] }],
    ['of both families', both],
    ['of both families with time-outs', { ...both, timeoutSeconds: 86_400 }],
    [
      'of both families on several interfaces, for several addresses',
      { ...both, servers: ['eth1', 'eth2'], localAddresses: [...addresses, 'fd00:2::1', 'fd00:2::4'] },
    ],
  ])('takes egress tables %s, once and again, and takes them away without a trace', (_, options) => {
    const script = egressTables(options);
    const { status, stderr, there, gone } = load(script, [...options.servers, options.tun]);
    expect({ status, stderr, gone }).toEqual({ status: 0, stderr: '', gone: '' });
    // Every rule is there, once: what comes anew takes the place of what was there.
    expect(countRules(there)).toBe(countRules(script.up));
  });
});
