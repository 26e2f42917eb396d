import { describe, expect, test } from 'vitest';
import { parsePrefix } from '../../../../src/host/addresses.js';
import type { LbInterface, RealServerFacts } from '../../../../src/host/facts/real-server.js';
import { planRealServer } from '../../../../src/host/plan/real-server.js';
import type { RealServerPlanOptions } from '../../../../src/host/plan/real-server-options.js';
import { downScript, upCommand, upScript } from '../../../../src/host/plan/script.js';

const options: RealServerPlanOptions = {
  tun: { name: 'uoa0', address: '192.0.2.254/32' },
  routing: { table: 248, priority: 21, localPriority: 100, steering: 'policy-routing' },
  fwmark: 0x20,
  loadBalancers: [{ prefix: '10.10.1.0/24' }],
  services: [{ address: '10.10.1.2', from: 53, to: 53 }],
  nat64: 'keep',
};

/** An interface that does not forward IPv4 yet. */
function towards4(name: string, mtu = 1500): LbInterface {
  const key = `net.ipv4.conf.${name.replaceAll('.', '/')}.forwarding`;
  return {
    ...{ name, family: 4, mtu, rpFilter: '0' },
    forwarding: { family: 4, interface: name, off: { key, before: '0' } },
  };
}

/** The same for IPv6, with the switch that Linux 6.17 brought. */
function towards6(name: string, mtu = 1500): LbInterface {
  const key = `net.ipv6.conf.${name.replaceAll('.', '/')}.force_forwarding`;
  return {
    ...{ name, family: 6, mtu, rpFilter: '0' },
    forwarding: { family: 6, interface: name, off: { key, before: '0' } },
  };
}

/** What forwards already. */
function open({ forwarding: { off: _, ...forwarding }, ...lb }: LbInterface): LbInterface {
  return { ...lb, forwarding };
}

const facts: RealServerFacts = {
  localRules: [
    { family: 4, priority: 0, protocol: 'kernel' },
    { family: 6, priority: 0, protocol: 'kernel' },
  ],
  allRpFilter: '0',
  udpEarlyDemux: '1',
  replySources: [],
  towardsLb: [towards4('eth0')],
  ownAddresses: ['127.0.0.0/8', '10.10.1.2', '::1', 'fd00:1::2'].map(parsePrefix),
  broadcastAddresses: [parsePrefix('10.10.1.255')],
  hasIpv6: true,
};

function commands(o: Partial<RealServerPlanOptions> = {}, f: Partial<RealServerFacts> = {}): string[] {
  return planRealServer({ ...options, ...o }, { ...facts, ...f }).changes.map(upCommand);
}

test('the whole script, up and down', () => {
  const { changes } = planRealServer(options, facts);
  const withoutReasons = upScript(changes).replaceAll(/^#.*\n/gm, '');
  expect(withoutReasons).toBe(`set -e
ip tuntap add dev uoa0 mode tun vnet_hdr
sysctl -q -w net.ipv4.conf.uoa0.rp_filter=2
ip -4 address add 192.0.2.254/32 dev uoa0
ip link set dev uoa0 addrgenmode none
ip link set dev uoa0 mtu 65535 txqueuelen 8192 up
ip -4 route replace default dev uoa0 table 249 src 10.10.1.2 mtu 1500
ip -4 rule add pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel
ip -4 rule add pref 112 iif lo ipproto 1 dport 768-783 lookup 249 protocol kernel
ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 17 lookup 249 protocol kernel
ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 1 lookup 249 protocol kernel
ip -4 rule add pref 101 iif eth0 blackhole protocol kernel
sysctl -q -w net.ipv4.conf.eth0.forwarding=1
sysctl -q -w net.ipv4.udp_early_demux=0
ip -4 route replace default dev uoa0 table 248
ip -4 rule add pref 21 from 10.10.1.0/24 to 10.10.1.2 iif eth0 ipproto 17 lookup 248 protocol kernel
ip -4 rule add pref 22 from 10.10.1.0/24 to 10.10.1.2 iif eth0 ipproto 248 lookup 248 protocol kernel
ip -4 rule add pref 21 to 10.10.1.2 iif eth0 ipproto 1 lookup 248 protocol kernel
ip -4 rule add pref 100 lookup local protocol kernel
ip -4 rule del pref 0 lookup local protocol kernel
`);
  expect(downScript(changes)).toBe(`# What takes it all back.
set +e
ip -4 rule add pref 0 lookup local protocol kernel
ip -4 rule del pref 100 lookup local protocol kernel
ip -4 rule del pref 21 to 10.10.1.2 iif eth0 ipproto 1 lookup 248 protocol kernel
ip -4 rule del pref 22 from 10.10.1.0/24 to 10.10.1.2 iif eth0 ipproto 248 lookup 248 protocol kernel
ip -4 rule del pref 21 from 10.10.1.0/24 to 10.10.1.2 iif eth0 ipproto 17 lookup 248 protocol kernel
ip -4 route del default dev uoa0 table 248
sysctl -q -w net.ipv4.udp_early_demux=1
sysctl -q -w net.ipv4.conf.eth0.forwarding=0
ip -4 rule del pref 101 iif eth0 blackhole protocol kernel
ip -4 rule del pref 32800 from 10.10.1.2 iif lo ipproto 1 lookup 249 protocol kernel
ip -4 rule del pref 32800 from 10.10.1.2 iif lo ipproto 17 lookup 249 protocol kernel
ip -4 rule del pref 112 iif lo ipproto 1 dport 768-783 lookup 249 protocol kernel
ip -4 rule del pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel
ip -4 route del default dev uoa0 table 249 src 10.10.1.2 mtu 1500
ip tuntap del dev uoa0 mode tun
`);
});

test('a host that forwards already keeps its setting, and needs no guard', () => {
  const text = commands({}, { towardsLb: facts.towardsLb.map(open) }).join('\n');
  expect(text).not.toMatch(/forwarding|blackhole/);
});

test.each([
  { all: '0', own: '1', loosened: true },
  { all: '1', own: '0', loosened: true },
  { all: '1', own: '2', loosened: false },
  { all: '0', own: '0', loosened: false },
])('rp_filter all=$all eth0=$own: loosened $loosened', ({ all, own, loosened }) => {
  const [lb] = facts.towardsLb;
  const changed = commands({}, { allRpFilter: all, towardsLb: [{ ...lb, rpFilter: own }] });
  expect(changed.includes('sysctl -q -w net.ipv4.conf.eth0.rp_filter=2')).toBe(loosened);
});

test('a local rule that somebody has moved out of the way stays, and ours go around it', () => {
  const text = commands({}, { localRules: [{ family: 4, priority: 150, protocol: 'unspec' }] }).join('\n');
  expect(text).not.toMatch(/lookup local/);
  expect(text).toMatch(/pref 151 iif eth0 blackhole/);
  expect(text).toMatch(/pref 160 iif lo/);
});

test('a local rule in the way moves from wherever it is, and back there', () => {
  const localRules = [{ family: 4 as const, priority: 5, protocol: 'static' }];
  const { changes } = planRealServer(options, { ...facts, localRules });
  expect(changes.map(upCommand).at(-1)).toBe('ip -4 rule del pref 5 lookup local protocol static');
  expect(downScript(changes)).toMatch(/rule add pref 5 lookup local protocol static/);
});

test('every prefix on its interface, every service address and port once, the smaller MTU', () => {
  const text = commands(
    {
      loadBalancers: [{ prefix: '10.10.1.0/24' }, { prefix: '10.20.0.1/32' }],
      services: [
        { address: '10.10.1.2', from: 53, to: 53 },
        { address: '10.10.1.2', from: 5000, to: 5999 },
        { address: '10.10.1.3', from: 53, to: 53 },
        { address: '10.10.1.4', from: 0, to: 65535 },
      ],
    },
    {
      towardsLb: [towards4('eth0'), towards4('eth1.100', 1400)],
    },
  );
  const count = (pattern: RegExp): number => text.filter(line => pattern.test(line)).length;
  expect(count(/pref 21 from 10\.10\.1\.0\/24 to 10\.10\.1\.\d iif eth0 ipproto 17/)).toBe(3);
  expect(count(/pref 22 from 10\.20\.0\.1\/32 to 10\.10\.1\.\d iif eth1\.100 ipproto 248/)).toBe(3);
  expect(count(/pref 110 iif lo ipproto 17 sport 53 /)).toBe(1);
  expect(count(/pref 110 iif lo ipproto 17 sport 5000-5999 /)).toBe(1);
  expect(count(/pref 110 iif lo ipproto 17 lookup 249/)).toBe(1);
  expect(count(/mtu 1400/)).toBe(1);
  expect(count(/conf\.eth1\/100\.forwarding=1/)).toBe(1);
});

test('the source of replies is a service address that this host has; none is a fault', () => {
  const services = [
    { address: '10.10.1.9', from: 53, to: 53 },
    { address: '10.10.1.2', from: 53, to: 53 },
  ];
  expect(commands({ services }).join('\n')).toMatch(/src 10\.10\.1\.2/);
  expect(() => commands({ services: services.slice(0, 1) })).toThrow(
    /realServer\.services: none of 10\.10\.1\.9/,
  );
});

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

test('whatever an interface is called, the script is one of commands only', () => {
  const text = commands({}, { towardsLb: [towards4("a';reboot;'")] }).join('\n');
  expect(text).toContain(`iif 'a'\\'';reboot;'\\'''`);
});

test('nft-ingress leaves the local rule, forwarding and early demux alone', () => {
  const routing = { ...options.routing, steering: 'nft-ingress' as const };
  const { changes } = planRealServer({ ...options, routing }, facts);
  expect(upScript(changes).replaceAll(/^#.*\n/gm, '')).toBe(`set -e
ip tuntap add dev uoa0 mode tun vnet_hdr
sysctl -q -w net.ipv4.conf.uoa0.rp_filter=2
ip -4 address add 192.0.2.254/32 dev uoa0
ip link set dev uoa0 addrgenmode none
ip link set dev uoa0 mtu 65535 txqueuelen 8192 up
ip -4 route replace default dev uoa0 table 249 src 10.10.1.2 mtu 1500
ip -4 rule add pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel
ip -4 rule add pref 112 iif lo ipproto 1 dport 768-783 lookup 249 protocol kernel
ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 17 lookup 249 protocol kernel
ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 1 lookup 249 protocol kernel
ip -4 rule add pref 32801 iif uoa0 ipproto 17 blackhole protocol kernel
nft -f - <<'END'
table netdev uoa_uoa0
delete table netdev uoa_uoa0
table inet uoa_uoa0
delete table inet uoa_uoa0
table netdev uoa_uoa0 {
\tchain in_0 {
\t\ttype filter hook ingress device "eth0" priority 0; policy accept;
\t\tip saddr 10.10.1.0/24 ip daddr { 10.10.1.2 } ip protocol { 17, 248 } fwd ip to 192.0.2.253 device "uoa0"
\t\tip daddr { 10.10.1.2 } icmp type { 3, 11, 12 } fwd ip to 192.0.2.253 device "uoa0"
\t}
}
table inet uoa_uoa0 {
\tchain ours {
\t\ttype filter hook output priority raw; policy accept;
\t\tmeta mark & 0x20 == 0x20 notrack
\t}
}
END
`);
});

describe('IPv6', () => {
  const options6: RealServerPlanOptions = {
    ...options,
    loadBalancers: [{ prefix: 'fd00:1::/64' }],
    services: [{ address: 'fd00:1::2', from: 53, to: 53 }],
  };
  const facts6: RealServerFacts = { ...facts, towardsLb: [towards6('eth0')] };
  const both: RealServerPlanOptions = {
    ...options,
    loadBalancers: [...options.loadBalancers, ...options6.loadBalancers],
    services: [...options.services, ...options6.services],
  };
  const factsOfBoth: RealServerFacts = { ...facts, towardsLb: [towards4('eth0'), towards6('eth0')] };
  const deliver: RealServerPlanOptions = { ...both, nat64: 'deliver' };

  const script = (o: RealServerPlanOptions, f: RealServerFacts) =>
    upScript(planRealServer(o, f).changes).replaceAll(/^#.*\n/gm, '');
  const lines = (o: RealServerPlanOptions, f: RealServerFacts) => planRealServer(o, f).changes.map(upCommand);
  const ofFamily = (family: 4 | 6, all: readonly string[]) =>
    all.filter(line => line.startsWith(`ip -${family} r`));

  test('the whole script, up and down', () => {
    expect(script(options6, facts6)).toBe(`set -e
ip tuntap add dev uoa0 mode tun vnet_hdr
sysctl -q -w net.ipv4.conf.uoa0.rp_filter=2
ip -4 address add 192.0.2.254/32 dev uoa0
sysctl -q -w net.ipv6.conf.uoa0.disable_ipv6=0
ip link set dev uoa0 addrgenmode none
ip link set dev uoa0 mtu 65535 txqueuelen 8192 up
ip -6 route replace default dev uoa0 table 249 src fd00:1::2 mtu 1500
ip -6 rule add pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel
ip -6 rule add pref 112 iif lo ipproto 58 dport 256-511 lookup 249 protocol kernel
ip -6 rule add pref 112 iif lo ipproto 58 dport 1024-1279 lookup 249 protocol kernel
ip -6 rule add pref 101 iif eth0 blackhole protocol kernel
sysctl -q -w net.ipv6.conf.eth0.force_forwarding=1
sysctl -q -w net.ipv4.udp_early_demux=0
ip -6 route replace default dev uoa0 table 248
ip -6 rule add pref 21 from fd00:1::/64 to fd00:1::2 iif eth0 ipproto 17 lookup 248 protocol kernel
ip -6 rule add pref 22 from fd00:1::/64 to fd00:1::2 iif eth0 ipproto 248 lookup 248 protocol kernel
ip -6 rule add pref 21 from fd00:1::/64 to fd00:1::2 iif eth0 ipproto 60 lookup 248 protocol kernel
nft -f - <<'END'
table netdev uoa_uoa0
delete table netdev uoa_uoa0
table netdev uoa_uoa0 {
\tchain in_0 {
\t\ttype filter hook ingress device "eth0" priority 0; policy accept;
\t\tip6 daddr { fd00:1::2 } icmpv6 type { 1, 2, 3, 4 } fwd ip6 to 2001:db8::253 device "uoa0"
\t}
}
END
ip -6 rule add pref 100 lookup local protocol kernel
ip -6 rule del pref 0 lookup local protocol kernel
`);
    expect(downScript(planRealServer(options6, facts6).changes)).toBe(`# What takes it all back.
set +e
ip -6 rule add pref 0 lookup local protocol kernel
ip -6 rule del pref 100 lookup local protocol kernel
nft -f - <<'END'
table netdev uoa_uoa0
delete table netdev uoa_uoa0
END
ip -6 rule del pref 21 from fd00:1::/64 to fd00:1::2 iif eth0 ipproto 60 lookup 248 protocol kernel
ip -6 rule del pref 22 from fd00:1::/64 to fd00:1::2 iif eth0 ipproto 248 lookup 248 protocol kernel
ip -6 rule del pref 21 from fd00:1::/64 to fd00:1::2 iif eth0 ipproto 17 lookup 248 protocol kernel
ip -6 route del default dev uoa0 table 248
sysctl -q -w net.ipv4.udp_early_demux=1
sysctl -q -w net.ipv6.conf.eth0.force_forwarding=0
ip -6 rule del pref 101 iif eth0 blackhole protocol kernel
ip -6 rule del pref 112 iif lo ipproto 58 dport 1024-1279 lookup 249 protocol kernel
ip -6 rule del pref 112 iif lo ipproto 58 dport 256-511 lookup 249 protocol kernel
ip -6 rule del pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel
ip -6 route del default dev uoa0 table 249 src fd00:1::2 mtu 1500
ip tuntap del dev uoa0 mode tun
`);
  });

  test('beside IPv4: the rules of both, each as if it were alone', () => {
    const all = lines(both, factsOfBoth);
    expect(ofFamily(4, all)).toEqual(ofFamily(4, commands()));
    expect(ofFamily(6, all)).toEqual(ofFamily(6, lines(options6, facts6)));
    expect(all.filter(line => /^nft/.test(line))).toHaveLength(1);
    expect(all.filter(line => /udp_early_demux/.test(line))).toHaveLength(1);
    for (const key of ['net.ipv4.conf.eth0.forwarding', 'net.ipv6.conf.eth0.force_forwarding'])
      expect(all.filter(line => line === `sysctl -q -w ${key}=1`)).toHaveLength(1);
    // Neither local rule goes before everything else is there.
    const moved = all.findIndex(line => /rule del pref 0 lookup local/.test(line));
    expect(all.slice(moved).every(line => /lookup local/.test(line))).toBe(true);
  });

  test('load balancers of one family leave the other’s routing alone, whatever the services', () => {
    expect(lines({ ...both, loadBalancers: options.loadBalancers }, facts)).toEqual(commands());
    expect(lines({ ...both, loadBalancers: options6.loadBalancers }, facts6)).toEqual(
      lines(options6, facts6),
    );
  });

  test('a host that forwards already keeps its setting, and needs no guard', () => {
    const text = lines(options6, { ...facts6, towardsLb: facts6.towardsLb.map(open) }).join('\n');
    expect(text).not.toMatch(/forwarding|blackhole/);
  });

  describe('a kernel that can’t switch it on for one interface', () => {
    const key = 'net.ipv6.conf.eth0.force_forwarding';
    const closed: LbInterface = {
      ...towards6('eth0'),
      forwarding: { family: 6, interface: 'eth0', off: { key, before: undefined } },
    };

    test('is no place for routing rules: the fault names both remedies', () => {
      const faulty = () => planRealServer(options6, { ...facts6, towardsLb: [closed] });
      expect(faulty).toThrow(
        expect.objectContaining({
          exitCode: 69,
          message:
            "eth0 does not forward IPv6, and this kernel can't switch it on for one interface " +
            '(net.ipv6.conf.eth0.force_forwarding, Linux 6.17); forward on the whole host ' +
            '(sysctl -w net.ipv6.conf.all.forwarding=1) or set routing.steering to nft-ingress, ' +
            'which needs no forwarding',
        }),
      );
    });

    test('will do for nft-ingress, and for IPv4 alone', () => {
      const routing = { ...options.routing, steering: 'nft-ingress' as const };
      expect(lines({ ...options6, routing }, { ...facts6, towardsLb: [closed] })).toEqual(
        lines({ ...options6, routing }, facts6),
      );
      const towardsLb = [towards4('eth0'), closed];
      expect(() =>
        planRealServer({ ...both, services: options.services }, { ...facts, towardsLb }),
      ).not.toThrow();
    });
  });

  test('nft-ingress leaves local rules, forwarding and early demux alone', () => {
    const routing = { ...options.routing, steering: 'nft-ingress' as const };
    expect(script({ ...both, routing }, factsOfBoth)).toBe(`set -e
ip tuntap add dev uoa0 mode tun vnet_hdr
sysctl -q -w net.ipv4.conf.uoa0.rp_filter=2
ip -4 address add 192.0.2.254/32 dev uoa0
sysctl -q -w net.ipv6.conf.uoa0.disable_ipv6=0
ip link set dev uoa0 addrgenmode none
ip link set dev uoa0 mtu 65535 txqueuelen 8192 up
ip -4 route replace default dev uoa0 table 249 src 10.10.1.2 mtu 1500
ip -6 route replace default dev uoa0 table 249 src fd00:1::2 mtu 1500
ip -4 rule add pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel
ip -4 rule add pref 112 iif lo ipproto 1 dport 768-783 lookup 249 protocol kernel
ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 17 lookup 249 protocol kernel
ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 1 lookup 249 protocol kernel
ip -6 rule add pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel
ip -6 rule add pref 112 iif lo ipproto 58 dport 256-511 lookup 249 protocol kernel
ip -6 rule add pref 112 iif lo ipproto 58 dport 1024-1279 lookup 249 protocol kernel
ip -4 rule add pref 32801 iif uoa0 ipproto 17 blackhole protocol kernel
nft -f - <<'END'
table netdev uoa_uoa0
delete table netdev uoa_uoa0
table inet uoa_uoa0
delete table inet uoa_uoa0
table netdev uoa_uoa0 {
\tchain in_0 {
\t\ttype filter hook ingress device "eth0" priority 0; policy accept;
\t\tip saddr 10.10.1.0/24 ip daddr { 10.10.1.2 } ip protocol { 17, 248 } fwd ip to 192.0.2.253 device "uoa0"
\t\tip daddr { 10.10.1.2 } icmp type { 3, 11, 12 } fwd ip to 192.0.2.253 device "uoa0"
\t\tip6 saddr fd00:1::/64 ip6 daddr { fd00:1::2 } meta l4proto { 17, 248 } fwd ip6 to 2001:db8::253 device "uoa0"
\t\tip6 saddr fd00:1::/64 ip6 daddr { fd00:1::2 } frag nexthdr 60 fwd ip6 to 2001:db8::253 device "uoa0"
\t\tip6 daddr { fd00:1::2 } icmpv6 type { 1, 2, 3, 4 } fwd ip6 to 2001:db8::253 device "uoa0"
\t}
}
table inet uoa_uoa0 {
\tchain ours {
\t\ttype filter hook output priority raw; policy accept;
\t\tmeta mark & 0x20 == 0x20 notrack
\t}
}
END
`);
    const alone = lines({ ...options6, routing }, facts6);
    expect(alone.filter(line => line.startsWith('ip -4'))).toEqual([
      'ip -4 address add 192.0.2.254/32 dev uoa0',
    ]);
  });

  test('each family’s local rule moves from wherever it is; one that is out of the way stays', () => {
    const localRules = [
      { family: 4 as const, priority: 0, protocol: 'kernel' },
      { family: 6 as const, priority: 150, protocol: 'unspec' },
    ];
    const text = lines(both, { ...factsOfBoth, localRules }).join('\n');
    expect(text).toMatch(/ip -4 rule del pref 0 lookup local/);
    expect(text).toMatch(/ip -4 rule add pref 101 iif eth0 blackhole/);
    expect(text).not.toMatch(/ip -6 rule .*lookup local/);
    expect(text).toMatch(/ip -6 rule add pref 151 iif eth0 blackhole/);
    expect(text).toMatch(/ip -6 rule add pref 160 iif lo ipproto 17/);
  });

  test('rp_filter is IPv4’s business alone', () => {
    const strict = [{ ...towards6('eth0'), rpFilter: '1' }];
    expect(lines(options6, { ...facts6, towardsLb: strict }).join('\n')).not.toMatch(/eth0\.rp_filter/);
  });

  test('every prefix on its interface, the smaller MTU for all, but none that IPv6 does not have', () => {
    const o = { ...options6, loadBalancers: [{ prefix: 'fd00:1::/64' }, { prefix: '2001:db8:9::1/128' }] };
    const text = (mtu: number) =>
      lines(o, { ...facts6, towardsLb: [towards6('eth0'), towards6('eth1.100', mtu)] }).join('\n');
    expect(text(1400)).toMatch(/from 2001:db8:9::1\/128 to fd00:1::2 iif eth1\.100 ipproto 60/);
    expect(text(1400)).toContain('net.ipv6.conf.eth1/100.force_forwarding=1');
    expect(text(1400)).toMatch(/device "eth1\.100"/);
    expect(text(1400)).toMatch(/table 249 src fd00:1::2 mtu 1400/);
    expect(text(1200)).toMatch(/table 249 src fd00:1::2 mtu 1280/);
  });

  test('the sources of replies are those of the host’s own routes, where there are any', () => {
    const replySources = [
      { prefix: '0.0.0.0/0', source: '10.10.1.7' },
      { prefix: '10.10.9.0/24', source: '10.10.9.1' },
      { prefix: '::/0', source: 'fd00:1::7' },
    ];
    const text = lines(both, { ...factsOfBoth, replySources }).join('\n');
    expect(text).toMatch(/-4 route replace default .* src 10\.10\.1\.7 /);
    expect(text).toMatch(/-4 route replace 10\.10\.9\.0\/24 .* src 10\.10\.9\.1 /);
    expect(text).toMatch(/-6 route replace default .* src fd00:1::7 /);
    expect(() =>
      lines({ ...options6, services: [{ address: 'fd00:1::9', from: 53, to: 53 }] }, facts6),
    ).toThrow(/realServer\.services: none of fd00:1::9/);
  });

  test('nat64 deliver: the partners’ answers come by too, and nothing else is led there', () => {
    const added = (o: Partial<RealServerPlanOptions>, f: RealServerFacts) => {
      const without = lines({ ...both, ...o }, f);
      return lines({ ...deliver, ...o }, f).filter(line => !without.includes(line));
    };
    expect(added({ loadBalancers: options.loadBalancers }, facts)).toEqual([
      'sysctl -q -w net.ipv6.conf.uoa0.disable_ipv6=0',
      'ip -6 route replace default dev uoa0 table 249 src fd00:1::2 mtu 1500',
      'ip -6 rule add pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel',
      'ip -6 rule add pref 112 iif lo ipproto 58 dport 256-511 lookup 249 protocol kernel',
      'ip -6 rule add pref 112 iif lo ipproto 58 dport 1024-1279 lookup 249 protocol kernel',
    ]);
    // IPv4 answers grow on their way to IPv6: by a longer header and one for fragments.
    expect(added({ loadBalancers: options6.loadBalancers }, facts6)).toEqual([
      'ip -4 route replace default dev uoa0 table 249 src 10.10.1.2 mtu 1472',
      'ip -4 rule add pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel',
      'ip -4 rule add pref 112 iif lo ipproto 1 dport 768-783 lookup 249 protocol kernel',
      'ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 17 lookup 249 protocol kernel',
      'ip -4 rule add pref 32800 from 10.10.1.2 iif lo ipproto 1 lookup 249 protocol kernel',
      'ip -4 rule add pref 32801 iif uoa0 ipproto 17 blackhole protocol kernel',
    ]);
  });

  test('nat64 deliver without a partner changes nothing', () => {
    expect(lines({ ...options, nat64: 'deliver' }, facts)).toEqual(commands());
  });
});
