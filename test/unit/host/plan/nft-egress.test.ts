import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type BalancedService,
  divertBit,
  type MarkRules,
  markRules,
  type NatRules,
  natRules,
} from '../../../../src/host/plan/nft-egress.js';
import { load, obstacle, rulesIn } from '../../support/nft.js';

const marks: MarkRules = {
  tun: 'uoa0',
  servers: ['eth1'],
  families: [4],
  localAddresses: ['10.10.2.1'],
  services: [{ vip: '198.51.100.10', port: 53 }],
  marksPerFlow: 3,
  fwmark: 0x20,
};

const service: BalancedService = {
  vip: '198.51.100.10',
  port: 53,
  schedule: 'source-hash',
  realServers: [
    { address: '10.10.2.2', port: 53, weight: 1 },
    { address: '10.10.2.3', port: 5353, weight: 1 },
  ],
};

const nat: NatRules = {
  tun: 'uoa0',
  localAddresses: ['10.10.2.1'],
  services: [service],
  guarded: [
    { name: 'eth0', family: 4 },
    { name: 'eth1', family: 4 },
  ],
};

const marks6: MarkRules = {
  ...marks,
  families: [6],
  localAddresses: ['fd00:2::1'],
  services: [{ vip: '2001:db8::10', port: 53 }],
};

/** Both families, each with a service of its own. */
const bothMarks: MarkRules = {
  ...marks,
  families: [4, 6],
  localAddresses: [...marks.localAddresses, ...marks6.localAddresses],
  services: [...marks.services, ...marks6.services],
};

const service6: BalancedService = {
  vip: '2001:db8::10',
  port: 53,
  schedule: 'source-hash',
  realServers: [
    { address: 'fd00:2::2', port: 53, weight: 1 },
    { address: 'fd00:2::3', port: 5353, weight: 1 },
  ],
};

const nat6: NatRules = {
  tun: 'uoa0',
  localAddresses: ['fd00:2::1'],
  services: [service6],
  guarded: [
    { name: 'eth0', family: 6 },
    { name: 'eth1', family: 6 },
  ],
};

const bothNats: NatRules = {
  tun: 'uoa0',
  localAddresses: [...nat.localAddresses, ...nat6.localAddresses],
  services: [service, service6],
  guarded: [
    { name: 'eth0', family: 4 },
    { name: 'eth1', family: 6 },
  ],
};

/** Interfaces that may have such names, whatever for. */
const ODD_NAMES = ['eth1.100', 'wan-1', "a';reboot;'", 'x{y}', '$HOME', 'é', 'a\\b', '#1', '0'];

/** The rules of a chain, without what declares it. */
function rulesOf({ up }: { up: string }, chain: string): string[] {
  const text = up.split(`\tchain ${chain} {\n`)[1]?.split('\n\t}')[0];
  return text === undefined
    ? []
    : text
        .split('\n')
        .slice(1)
        .map(line => line.trim());
}

describe('the rules for marks', () => {
  it('one service on one interface: the whole text', () => {
    const { up, down } = markRules(marks);
    expect(up).toBe(`table ip uoa_uoa0
delete table ip uoa_uoa0
table netdev uoa_uoa0
delete table netdev uoa_uoa0
table ip uoa_uoa0 {
	chain first {
		type filter hook postrouting priority 300; policy accept;
		oifname { "eth1" } meta l4proto udp ct direction original ct status dnat ct status snat ct original ip daddr 198.51.100.10 ct original proto-dst 53 ct mark & 0x20 == 0 ct original packets >= 1 ct original packets <= 3 meta mark set meta mark | 0x40
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
		meta protocol ip meta l4proto udp meta mark & 0x40 == 0x40 ip ttl > 1 fwd ip to 192.0.2.253 device "uoa0"
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
    expect(down).toBe(`table ip uoa_uoa0
delete table ip uoa_uoa0
table netdev uoa_uoa0
delete table netdev uoa_uoa0`);
  });

  it('without services every flow with both ends NATed is marked', () => {
    expect(rulesOf(markRules({ ...marks, services: [] }), 'first')).toEqual([
      'oifname { "eth1" } meta l4proto udp ct direction original ct status dnat ct status snat ' +
        'ct mark & 0x20 == 0 ct original packets >= 1 ct original packets <= 3 meta mark set meta mark | 0x40',
      'oifname { "eth1" } meta l4proto udp ct direction original ct status snat ' +
        'ip hdrlength > 5 meta mark set meta mark | 0x40',
      'oifname { "eth1" } meta l4proto 248 ct status snat drop',
    ]);
  });

  it('with several services each has its rule', () => {
    const services = [53, 123, 443].map(port => ({ vip: `198.51.100.${port % 256}`, port }));
    const rules = rulesOf(markRules({ ...marks, services }), 'first');
    expect(rules).toHaveLength(5);
    for (const [i, { vip, port }] of services.entries())
      expect(rules[i]).toContain(` ct original ip daddr ${vip} ct original proto-dst ${port} ct mark `);
  });

  it('maxTrails is the number of packets; 0 leaves those with options alone, for what their senders put there', () => {
    expect(rulesOf(markRules({ ...marks, marksPerFlow: 100 }), 'first')[0]).toContain(
      'ct original packets <= 100 ',
    );
    expect(rulesOf(markRules({ ...marks, marksPerFlow: 1 }), 'first')[0]).toContain(
      'ct original packets <= 1 ',
    );
    const none = rulesOf(markRules({ ...marks, marksPerFlow: 0 }), 'first');
    expect(none).toEqual(rulesOf(markRules(marks), 'first').slice(1));
  });

  it('several interfaces and local addresses: chains of its own for each interface', () => {
    const rules = markRules({
      ...marks,
      servers: ['eth1', 'eth2.7', 'wg-0'],
      localAddresses: ['10.10.2.1', '10.10.3.1'],
    });
    expect(rulesOf(rules, 'acks')[0]).toBe(
      'iifname { "eth1", "eth2.7", "wg-0" } ip daddr { 10.10.2.1, 10.10.3.1 } meta l4proto 248 drop',
    );
    for (const rule of rulesOf(rules, 'first'))
      expect(rule).toMatch(/^oifname \{ "eth1", "eth2\.7", "wg-0" \} /);
    for (const [i, name] of ['eth1', 'eth2.7', 'wg-0'].entries()) {
      expect(rules.up).toContain(
        `chain out_${i} {\n\t\ttype filter hook egress device "${name}" priority 0;`,
      );
      expect(rules.up).toContain(
        `chain in_${i} {\n\t\ttype filter hook ingress device "${name}" priority 0;`,
      );
      expect(rulesOf(rules, `out_${i}`)).toEqual(rulesOf(markRules(marks), 'out_0'));
      expect(rulesOf(rules, `in_${i}`).every(rule => rule.includes('{ 10.10.2.1, 10.10.3.1 }'))).toBe(true);
    }
    expect(rules.up).not.toContain('chain out_3');
    expect(rules.down).toBe(markRules(marks).down);
  });

  it('what diverts is the bit above the mark of what is sent', () => {
    for (const [mark, divert] of [
      [0x1, 0x2],
      [0x20, 0x40],
      [0x4000_0000, 0x8000_0000],
      [0x30, 0x60],
    ]) {
      expect(divertBit(mark)).toBe(divert);
      const rules = markRules({ ...marks, fwmark: mark });
      const text = (value: number) => `0x${value.toString(16)}`;
      expect(rulesOf(rules, 'ours')).toEqual([`meta mark & ${text(mark)} == ${text(mark)} notrack`]);
      expect(rulesOf(rules, 'first')[0]).toContain(`ct mark & ${text(mark)} == 0 `);
      expect(rulesOf(rules, 'first')[0]).toMatch(new RegExp(` \\| ${text(divert)}$`));
      expect(rulesOf(rules, 'out_0')[0]).toContain(`meta mark & ${text(divert)} == ${text(divert)} `);
    }
  });

  it('tables are named after the TUN, one way for each name with the usual characters', () => {
    const tables = (tun: string) =>
      markRules({ ...marks, tun })
        .down.split('\n')
        .filter(line => line.startsWith('table'));
    expect(tables('uoa1')).toEqual(['table ip uoa_uoa1', 'table netdev uoa_uoa1']);
    expect(tables('uoa-1.a_B')).toEqual(['table ip uoa_uoa-1.a_B', 'table netdev uoa_uoa-1.a_B']);
    expect(tables("a';b")).toEqual(['table ip uoa_a__b', 'table netdev uoa_a__b']);
  });
});

describe('the rules for marks of IPv6', () => {
  const down = `table ip6 uoa_uoa0
delete table ip6 uoa_uoa0
table netdev uoa_uoa0
delete table netdev uoa_uoa0`;

  it('one service on one interface: the whole text', () => {
    expect(markRules(marks6).up).toBe(`${down}
table ip6 uoa_uoa0 {
	chain first {
		type filter hook postrouting priority 300; policy accept;
		oifname { "eth1" } meta l4proto udp ct direction original ct status dnat ct status snat ct original ip6 daddr 2001:db8::10 ct original proto-dst 53 ct mark & 0x20 == 0 ct original packets >= 1 ct original packets <= 3 meta mark set meta mark | 0x40
		oifname { "eth1" } meta l4proto udp ct direction original ct status snat exthdr dst exists meta mark set meta mark | 0x40
		oifname { "eth1" } meta l4proto 248 ct status snat drop
	}
	chain ours {
		type filter hook output priority raw; policy accept;
		meta mark & 0x20 == 0x20 notrack
	}
	chain acks {
		type filter hook prerouting priority raw; policy accept;
		iifname { "eth1" } ip6 daddr { fd00:2::1 } meta l4proto 248 drop
		iifname { "eth1" } ip6 daddr { fd00:2::1 } udp length 8 exthdr dst exists drop
	}
}
table netdev uoa_uoa0 {
	chain out_0 {
		type filter hook egress device "eth1" priority 0; policy accept;
		meta protocol ip6 meta l4proto udp meta mark & 0x40 == 0x40 ip6 hoplimit > 1 fwd ip6 to 2001:db8::253 device "uoa0"
		meta protocol ip6 meta l4proto udp meta mark & 0x40 == 0x40 exthdr dst exists drop
	}
	chain in_0 {
		type filter hook ingress device "eth1" priority 0; policy accept;
		meta protocol ip6 ip6 daddr { fd00:2::1 } meta l4proto 248 fwd ip6 to 2001:db8::253 device "uoa0"
		meta protocol ip6 ip6 daddr { fd00:2::1 } meta l4proto udp exthdr dst exists fwd ip6 to 2001:db8::253 device "uoa0"
		meta protocol ip6 ip6 daddr { fd00:2::1 } icmpv6 type 2 @th,112,8 60 fwd ip6 to 2001:db8::253 device "uoa0"
		meta protocol ip6 ip6 daddr { fd00:2::1 } icmpv6 type 2 @th,112,8 248 fwd ip6 to 2001:db8::253 device "uoa0"
	}
}`);
    expect(markRules(marks6).down).toBe(down);
  });

  it('beside IPv4: a table of each family, and both in the chains of an interface', () => {
    const rules = markRules(bothMarks);
    const [alone4, alone6] = [markRules(marks), markRules(marks6)];
    const tableOf = (text: string, id: string) =>
      text.slice(text.lastIndexOf(`table ${id} uoa_uoa0 {`)).split('\n}')[0];
    expect(tableOf(rules.up, 'ip')).toBe(tableOf(alone4.up, 'ip'));
    expect(tableOf(rules.up, 'ip6')).toBe(tableOf(alone6.up, 'ip6'));
    for (const chain of ['out_0', 'in_0'])
      expect(rulesOf(rules, chain)).toEqual([...rulesOf(alone4, chain), ...rulesOf(alone6, chain)]);
    expect(rules.down.split('\n').filter(line => line.startsWith('table'))).toEqual([
      'table ip uoa_uoa0',
      'table ip6 uoa_uoa0',
      'table netdev uoa_uoa0',
    ]);
  });

  it('without services every flow with both ends NATed is marked', () => {
    expect(rulesOf(markRules({ ...marks6, services: [] }), 'first')[0]).toBe(
      'oifname { "eth1" } meta l4proto udp ct direction original ct status dnat ct status snat ' +
        'ct mark & 0x20 == 0 ct original packets >= 1 ct original packets <= 3 meta mark set meta mark | 0x40',
    );
  });
});

describe('the rules of a NAT of ours', () => {
  it('one service with two real servers: the whole text', () => {
    const { up, down } = natRules(nat);
    expect(up).toBe(`table ip uoa_uoa0_nat
delete table ip uoa_uoa0_nat
table ip uoa_uoa0_nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 198.51.100.10 udp dport 53 dnat ip addr . port to jhash ip saddr mod 2 seed 0x1 map { 0 : 10.10.2.2 . 53, 1 : 10.10.2.3 . 5353 }
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		meta l4proto udp ct status dnat ct original ip daddr 198.51.100.10 ct original proto-dst 53 snat to 10.10.2.1
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname { "eth0", "eth1" } ct status dnat accept
		iifname { "eth0", "eth1" } drop
	}
}`);
    expect(down).toBe('table ip uoa_uoa0_nat\ndelete table ip uoa_uoa0_nat');
  });

  it.each([
    ['source-hash', 'jhash ip saddr mod 2 seed 0x1'],
    ['round-robin', 'numgen inc mod 2'],
    ['random', 'numgen random mod 2'],
  ] as const)('schedule %s', (schedule, choice) => {
    expect(rulesOf(natRules({ ...nat, services: [{ ...service, schedule }] }), 'prerouting')).toEqual([
      `ip daddr 198.51.100.10 udp dport 53 dnat ip addr . port to ${choice} map { 0 : 10.10.2.2 . 53, 1 : 10.10.2.3 . 5353 }`,
    ]);
  });

  it.each(['source-hash', 'round-robin', 'random'] as const)('one real server needs no %s', schedule => {
    const realServers = [{ address: '10.10.2.2', port: 5353, weight: 7 }];
    expect(
      rulesOf(natRules({ ...nat, services: [{ ...service, schedule, realServers }] }), 'prerouting'),
    ).toEqual(['ip daddr 198.51.100.10 udp dport 53 dnat to 10.10.2.2:5353']);
  });

  it('weights are shares of the map; 0 has none', () => {
    const realServers = [0, 1, 3, 0, 2, 0].map((weight, i) => ({
      address: `10.10.2.${i}`,
      port: 53,
      weight,
    }));
    expect(rulesOf(natRules({ ...nat, services: [{ ...service, realServers }] }), 'prerouting')[0]).toMatch(
      / mod 6 seed 0x1 map \{ 0 : 10\.10\.2\.1 \. 53, 1-3 : 10\.10\.2\.2 \. 53, 4-5 : 10\.10\.2\.4 \. 53 \}$/,
    );
    const one = realServers.map(server => ({ ...server, weight: server.weight === 3 ? 3 : 0 }));
    expect(rulesOf(natRules({ ...nat, services: [{ ...service, realServers: one }] }), 'prerouting')).toEqual(
      ['ip daddr 198.51.100.10 udp dport 53 dnat to 10.10.2.2:53'],
    );
  });

  it('any weights: each real server gets just its share, and no number is left over', () => {
    const anyWeights = fc.array(fc.oneof(fc.nat(3), fc.nat(1000)), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(
        anyWeights.filter(weights => weights.filter(weight => weight > 0).length > 1),
        weights => {
          const realServers = weights.map((weight, i) => ({ address: `10.10.2.${i}`, port: 53 + i, weight }));
          const [rule] = rulesOf(natRules({ ...nat, services: [{ ...service, realServers }] }), 'prerouting');
          const [, modulus, map] = /mod (\d+) .*map \{ (.*) \}$/.exec(rule) ?? [];
          const owners = map.split(', ').flatMap(entry => {
            const [numbers, to] = entry.split(' : ');
            const [first, last = first] = numbers.split('-').map(Number);
            return Array.from({ length: last - first + 1 }, (_, i) => [first + i, to] as const);
          });
          expect(owners.map(([number]) => number)).toEqual([...Array(Number(modulus)).keys()]);
          for (const { address, port, weight } of realServers)
            expect(owners.filter(([, to]) => to === `${address} . ${port}`)).toHaveLength(weight);
        },
      ),
    );
  });

  it('several local addresses share the clients’ sockets among them', () => {
    const localAddresses = ['10.10.2.1', '10.10.2.4', '10.10.2.5'];
    expect(rulesOf(natRules({ ...nat, localAddresses }), 'postrouting')).toEqual([
      'meta l4proto udp ct status dnat ct original ip daddr 198.51.100.10 ct original proto-dst 53 ' +
        'snat ip to jhash ip saddr . udp sport mod 3 seed 0x1 map { 0 : 10.10.2.1, 1 : 10.10.2.4, 2 : 10.10.2.5 }',
    ]);
  });

  it('several services: a rule of each kind for each, in their order', () => {
    const services = [53, 123, 443].map(port => ({ ...service, port }));
    const rules = natRules({ ...nat, services });
    for (const [chain, pattern] of [
      ['prerouting', /udp dport (\d+)/],
      ['postrouting', /proto-dst (\d+)/],
    ] as const)
      expect(rulesOf(rules, chain).map(rule => pattern.exec(rule)?.[1])).toEqual(['53', '123', '443']);
  });

  it('guards nothing where everything was forwarded before', () => {
    const { up } = natRules({ ...nat, guarded: [] });
    expect(up).toContain('policy accept;\n\t}\n}');
    expect(up).not.toContain('drop');
  });
});

describe('the rules of a NAT of ours for IPv6', () => {
  it('one service with two real servers: the whole text', () => {
    const { up, down } = natRules(nat6);
    expect(up).toBe(`table ip6 uoa_uoa0_nat
delete table ip6 uoa_uoa0_nat
table ip6 uoa_uoa0_nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip6 daddr 2001:db8::10 udp dport 53 dnat ip6 addr . port to jhash ip6 saddr mod 2 seed 0x1 map { 0 : fd00:2::2 . 53, 1 : fd00:2::3 . 5353 }
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		meta l4proto udp ct status dnat ct original ip6 daddr 2001:db8::10 ct original proto-dst 53 snat to fd00:2::1
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname { "eth0", "eth1" } ct status dnat accept
		iifname { "eth0", "eth1" } drop
	}
}`);
    expect(down).toBe('table ip6 uoa_uoa0_nat\ndelete table ip6 uoa_uoa0_nat');
  });

  it('one real server, several local addresses', () => {
    const realServers = [{ address: 'fd00:2::2', port: 5353, weight: 7 }];
    const localAddresses = ['10.10.2.1', 'fd00:2::1', 'fd00:2::4'];
    const rules = natRules({ ...nat6, localAddresses, services: [{ ...service6, realServers }] });
    expect(rulesOf(rules, 'prerouting')).toEqual([
      'ip6 daddr 2001:db8::10 udp dport 53 dnat to [fd00:2::2]:5353',
    ]);
    expect(rulesOf(rules, 'postrouting')).toEqual([
      'meta l4proto udp ct status dnat ct original ip6 daddr 2001:db8::10 ct original proto-dst 53 ' +
        'snat ip6 to jhash ip6 saddr . udp sport mod 2 seed 0x1 map { 0 : fd00:2::1, 1 : fd00:2::4 }',
    ]);
  });

  it('beside IPv4: a table of each family with what is its own, the guards too', () => {
    const { up, down } = natRules(bothNats);
    const [four, six] = up.slice(up.indexOf('{')).split('table ip6 uoa_uoa0_nat');
    const alone4 = natRules({ ...nat, guarded: bothNats.guarded.slice(0, 1) }).up;
    const alone6 = natRules({ ...nat6, guarded: bothNats.guarded.slice(1) }).up;
    expect(four.trim()).toBe(alone4.slice(alone4.indexOf('{')));
    expect(six.trim()).toBe(alone6.slice(alone6.indexOf('{')));
    expect(down).toBe(`${natRules(nat).down}\n${natRules(nat6).down}`);
  });
});

// ---- the real nft --------------------------------------------------------------------------------------------

describe('nft itself', () => {
  const why = obstacle();
  beforeEach(({ skip }) => skip(why !== undefined, why));

  const services: BalancedService[] = [
    ...(['source-hash', 'round-robin', 'random'] as const).map((schedule, i) => ({
      ...service,
      schedule,
      port: 1000 + i,
      realServers: [5, 0, 1, 1000].map((weight, k) => ({
        address: `10.10.2.${k + 2}`,
        port: 53 + k,
        weight,
      })),
    })),
    { ...service, realServers: service.realServers.slice(0, 1) },
  ];
  const addresses = ['10.10.2.1', '10.10.2.4', '10.10.2.5'];
  const services6 = services.map(({ realServers, ...rest }) => ({
    ...rest,
    vip: '2001:db8::10',
    realServers: realServers.map(({ address, ...server }) => ({
      ...server,
      address: `fd00:2::${address.split('.')[3]}`,
    })),
  }));
  const addresses6 = ['fd00:2::1', 'fd00:2::4'];

  it.each<[string, { up: string; down: string }, string[]]>([
    ['marks for one service', markRules(marks), ['eth1', 'uoa0']],
    ['marks for whatever is NATed', markRules({ ...marks, services: [] }), ['eth1', 'uoa0']],
    ['marks, none', markRules({ ...marks, marksPerFlow: 0 }), ['eth1', 'uoa0']],
    [
      'marks on several interfaces, for several services and addresses',
      markRules({
        ...marks,
        servers: ['eth1', 'eth2', 'eth3'],
        services,
        localAddresses: addresses,
        fwmark: 0x40000000,
      }),
      ['eth1', 'eth2', 'eth3', 'uoa0'],
    ],
    ...ODD_NAMES.map((name): [string, { up: string; down: string }, string[]] => [
      `marks on ${name}`,
      markRules({ ...marks, tun: `t${name}`, servers: [name] }),
      [name, `t${name}`],
    ]),
    ['marks for one IPv6 service', markRules(marks6), ['eth1', 'uoa0']],
    ['marks for whatever IPv6 is NATed', markRules({ ...marks6, services: [] }), ['eth1', 'uoa0']],
    ['marks of both families', markRules(bothMarks), ['eth1', 'uoa0']],
    [
      'marks of both families on several interfaces, for several addresses',
      markRules({
        ...bothMarks,
        servers: ['eth1', 'eth2'],
        localAddresses: [...addresses, ...addresses6],
      }),
      ['eth1', 'eth2', 'uoa0'],
    ],
    ['NAT for one service', natRules(nat), ['eth0', 'eth1']],
    ['NAT for one IPv6 service', natRules(nat6), ['eth0', 'eth1']],
    ['NAT of every schedule for IPv6, with weights', natRules({ ...nat6, services: services6 }), []],
    [
      'NAT to several local IPv6 addresses',
      natRules({ ...nat6, services: services6, localAddresses: addresses6 }),
      [],
    ],
    [
      'NAT of both families',
      natRules({
        ...bothNats,
        services: [...services, ...services6],
        localAddresses: [...addresses, ...addresses6],
      }),
      ['eth0', 'eth1'],
    ],
    ['NAT of every schedule, with weights', natRules({ ...nat, services }), ['eth0', 'eth1']],
    ['NAT to several local addresses', natRules({ ...nat, services, localAddresses: addresses }), []],
    ['NAT without a guard', natRules({ ...nat, guarded: [] }), []],
    ...ODD_NAMES.map((name): [string, { up: string; down: string }, string[]] => [
      `NAT with a guard of ${name}`,
      natRules({ ...nat, tun: name, guarded: [{ name, family: 4 }] }),
      [],
    ]),
  ])('takes %s, once and again, and takes it away without a trace', (_, { up, down }, devices) => {
    const { status, stderr, there, gone } = load({ up, down }, devices);
    expect({ status, stderr, gone }).toEqual({ status: 0, stderr: '', gone: '' });
    // Every rule is there, once: what comes anew takes the place of what was there.
    expect(rulesIn(there)).toBe(rulesIn(up));
  });
});
