import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Family } from '../../../../src/host/family.js';
import {
  type BalancedService,
  type NatOptions,
  natTables,
  type RealServerTarget,
  refusalTables,
} from '../../../../src/host/plan/nft-nat.js';
import { countRules, load, ODD_NAMES, obstacle, rulesOf, tablesOf } from '../../support/nft.js';

const SCHEDULES = ['source-hash', 'round-robin', 'random'] as const;

const service: BalancedService = {
  vip: '198.51.100.10',
  port: 53,
  schedule: 'source-hash',
  realServers: [
    { address: '10.10.2.2', port: 53, weight: 1 },
    { address: '10.10.2.3', port: 5353, weight: 1 },
  ],
};

const service6: BalancedService = {
  ...service,
  vip: '2001:db8::10',
  realServers: [
    { address: 'fd00:2::2', port: 53, weight: 1 },
    { address: 'fd00:2::3', port: 5353, weight: 1 },
  ],
};

const four: NatOptions = {
  tun: 'uoa0',
  localAddresses: ['10.10.2.1'],
  services: [service],
  guarded: [
    { name: 'eth0', family: 4 },
    { name: 'eth1', family: 4 },
  ],
};

const six: NatOptions = {
  ...four,
  localAddresses: ['fd00:2::1'],
  services: [service6],
  guarded: four.guarded.map(({ name }) => ({ name, family: 6 })),
};

const both: NatOptions = {
  tun: 'uoa0',
  localAddresses: [...four.localAddresses, ...six.localAddresses],
  services: [service, service6],
  guarded: [
    { name: 'eth0', family: 4 },
    { name: 'eth1', family: 6 },
  ],
};

/** Text about IPv4 as it is about IPv6. */
const inIpv6 = (text: string): string =>
  text
    .replaceAll(/\bip (?=daddr|saddr|addr|uoa_)/g, 'ip6 ')
    .replaceAll('198.51.100.10', '2001:db8::10')
    .replaceAll('10.10.2.', 'fd00:2::');

const rules = (options: Partial<NatOptions>, chain: string): string[] =>
  rulesOf(natTables({ ...four, ...options }), chain);

/** What a rule sends new flows to: by which choice out of how many numbers, and the owner of each number. */
function choiceOf(rule: string) {
  const [, choice, modulus, map] =
    / to (.+) mod (\d+) (?:seed 0x1 )?map \{ (.*) \}(?: fully-random)?$/.exec(rule) ?? [];
  const owners = map.split(', ').flatMap(entry => {
    const [numbers, to] = entry.split(' : ');
    const [first, last = first] = numbers.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => [first + i, to] as const);
  });
  return { choice, modulus: Number(modulus), owners };
}

const weighted = (weights: readonly number[]): RealServerTarget[] =>
  weights.map((weight, i) => ({ address: `10.10.2.${i}`, port: 53 + i, weight }));

describe('the tables of the NAT', () => {
  it('for one service with two real servers have this text', () => {
    const { up, down } = natTables(four);
    expect(up).toBe(`table ip uoa_uoa0_nat
delete table ip uoa_uoa0_nat
table ip uoa_uoa0_nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 198.51.100.10 udp dport 53 dnat ip addr . port to jhash ip saddr mod 2 seed 0x1 map { 0 : 10.10.2.2 . 53, 1 : 10.10.2.3 . 5353 }
	}
	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		meta l4proto udp ct status dnat ct original ip daddr 198.51.100.10 ct original proto-dst 53 snat to 10.10.2.1 fully-random
	}
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname { "eth0", "eth1" } ct status dnat accept
		iifname { "eth0", "eth1" } drop
	}
}`);
    expect(down).toBe('table ip uoa_uoa0_nat\ndelete table ip uoa_uoa0_nat');
  });

  it('of IPv6 are those of IPv4 in the words of IPv6', () => {
    expect(natTables(six).up).toBe(inIpv6(natTables(four).up));
  });

  it('of both families: a table for each, with its own services, local addresses and guards', () => {
    const [alone4, alone6] = [
      natTables({ ...four, guarded: both.guarded.slice(0, 1) }),
      natTables({ ...six, guarded: both.guarded.slice(1) }),
    ];
    expect(tablesOf(natTables(both))).toEqual({ ...tablesOf(alone4), ...tablesOf(alone6) });
    expect(natTables(both).down).toBe(`${alone4.down}\n${alone6.down}`);
  });

  it('guard no interface that forwarded before', () => {
    expect(rules({ guarded: [] }, 'forward')).toEqual([]);
    expect(rules({ guarded: four.guarded.slice(1) }, 'forward')).toEqual(
      rules({}, 'forward').map(rule => rule.replace('"eth0", ', '')),
    );
  });

  it('have a rule of each kind for each service, in the services’ order', () => {
    const ports = ['53', '123', '443'];
    const services = ports.map(port => ({ ...service, port: Number(port) }));
    const portsBy = (chain: string, pattern: RegExp) =>
      rules({ services }, chain).map(rule => pattern.exec(rule)?.[1]);
    expect(portsBy('prerouting', /udp dport (\d+)/)).toEqual(ports);
    expect(portsBy('postrouting', /proto-dst (\d+)/)).toEqual(ports);
  });
});

describe('the tables that refuse what is not balanced', () => {
  it('have this text', () => {
    const { up, down } = refusalTables(four);
    expect(up).toBe(`table ip uoa_uoa0_refusal
delete table ip uoa_uoa0_refusal
table ip uoa_uoa0_refusal {
	chain input {
		type filter hook input priority filter; policy accept;
		ip daddr 198.51.100.10 udp dport 53 drop
	}
}`);
    expect(down).toBe('table ip uoa_uoa0_refusal\ndelete table ip uoa_uoa0_refusal');
  });

  it('of IPv6 are those of IPv4 in the words of IPv6, and both stand side by side', () => {
    expect(refusalTables(six).up).toBe(inIpv6(refusalTables(four).up));
    const both4and6 = refusalTables(both);
    expect(tablesOf(both4and6)).toEqual({
      ...tablesOf(refusalTables(four)),
      ...tablesOf(refusalTables(six)),
    });
  });
});

describe('the real servers of a service', () => {
  const toServers = (options: Partial<BalancedService>): string =>
    rules({ services: [{ ...service, ...options }] }, 'prerouting')[0];

  it.each([
    ['source-hash', 'jhash ip saddr'],
    ['round-robin', 'numgen inc'],
    ['random', 'numgen random'],
  ] as const)('are chosen by the schedule %s', (schedule, choice) => {
    expect(choiceOf(toServers({ schedule }))).toEqual({
      choice,
      modulus: 2,
      owners: [
        [0, '10.10.2.2 . 53'],
        [1, '10.10.2.3 . 5353'],
      ],
    });
  });

  it.each(SCHEDULES)('need no choice by %s if only one has a weight', schedule => {
    const realServers = weighted([0, 7]);
    expect(toServers({ schedule, realServers })).toMatch(/ dnat to 10\.10\.2\.1:54$/);
  });

  it('get one number each for every unit of weight, and no number is left over', () => {
    const anyWeights = fc.array(fc.oneof(fc.nat(3), fc.nat(1000)), { minLength: 2, maxLength: 12 });
    fc.assert(
      fc.property(
        anyWeights.filter(weights => weights.filter(weight => weight > 0).length > 1),
        weights => {
          const realServers = weighted(weights);
          const { owners, modulus } = choiceOf(toServers({ realServers }));
          expect(owners.map(([number]) => number)).toEqual([...Array(modulus).keys()]);
          for (const { address, port, weight } of realServers)
            expect(owners.filter(([, to]) => to === `${address} . ${port}`)).toHaveLength(weight);
        },
      ),
    );
  });

  it('have their ports behind brackets if they are of IPv6', () => {
    const services = [{ ...service6, realServers: service6.realServers.slice(1) }];
    expect(rules({ ...six, services }, 'prerouting')[0]).toMatch(/ dnat to \[fd00:2::3\]:5353$/);
  });
});

describe('the local addresses', () => {
  it.each([four, six])('give new flows ports at random, whether there is one address or several', options => {
    const several = {
      ...options,
      localAddresses: [...options.localAddresses, inIpv6('10.10.2.4'), '10.10.2.4'],
    };
    for (const each of [options, several])
      for (const rule of rules(each, 'postrouting')) expect(rule).toMatch(/ snat .* fully-random$/);
  });

  it.each<[Family, NatOptions, string[]]>([
    [4, four, ['10.10.2.1', '10.10.2.4', '10.10.2.5']],
    [6, six, ['fd00:2::1', 'fd00:2::4']],
  ])('of IPv%s share the clients’ sockets among them', (_, options, localAddresses) => {
    // One of the other family has no share.
    const others = [...four.localAddresses, ...six.localAddresses].filter(
      address => !options.localAddresses.includes(address),
    );
    const [rule] = rules({ ...options, localAddresses: [...others, ...localAddresses] }, 'postrouting');
    expect(choiceOf(rule)).toEqual({
      choice: expect.stringMatching(/^jhash ip6? saddr \. udp sport$/),
      modulus: localAddresses.length,
      owners: localAddresses.map((address, i) => [i, address]),
    });
  });
});

describe('nft itself', () => {
  const why = obstacle();
  beforeEach(({ skip }) => skip(why !== undefined, why));

  const services: BalancedService[] = [
    ...SCHEDULES.map((schedule, i) => ({
      ...service,
      schedule,
      port: 1000 + i,
      realServers: weighted([5, 0, 1, 1000]),
    })),
    { ...service, realServers: service.realServers.slice(0, 1) },
  ];
  const addresses = ['10.10.2.1', '10.10.2.4', '10.10.2.5'];
  const services6 = services.map(({ realServers, ...rest }) => ({
    ...rest,
    vip: '2001:db8::10',
    realServers: realServers.map(server => ({ ...server, address: inIpv6(server.address) })),
  }));
  const addresses6 = ['fd00:2::1', 'fd00:2::4'];

  it.each<[string, NatOptions]>([
    ['for one service', four],
    ['for one IPv6 service', six],
    ['of every schedule, with weights', { ...four, services }],
    ['of every schedule for IPv6, with weights', { ...six, services: services6 }],
    ['to several local addresses', { ...four, services, localAddresses: addresses }],
    ['to several local IPv6 addresses', { ...six, services: services6, localAddresses: addresses6 }],
    [
      'of both families',
      { ...both, services: [...services, ...services6], localAddresses: [...addresses, ...addresses6] },
    ],
    ['without a guard', { ...four, guarded: [] }],
    ...ODD_NAMES.map((name): [string, NatOptions] => [
      `with a guard of ${name}`,
      { ...four, tun: name, guarded: [{ name, family: 4 }] },
    ]),
  ])('takes a NAT %s, once and again, and takes it away without a trace', (_, options) => {
    const script = natTables(options);
    const { status, stderr, there, gone } = load(script, []);
    expect({ status, stderr, gone }).toEqual({ status: 0, stderr: '', gone: '' });
    expect(countRules(there)).toBe(countRules(script.up));
  });
});
