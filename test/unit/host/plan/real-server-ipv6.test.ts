/** A real server's plan for IPv6, alone and beside IPv4. */
import { describe, expect, test } from 'vitest';
import type { LbInterface, RealServerFacts } from '../../../../src/host/facts/real-server.js';
import { planRealServer } from '../../../../src/host/plan/real-server.js';
import type { RealServerPlanOptions } from '../../../../src/host/plan/real-server-options.js';
import { downScript, upCommand, upScript } from '../../../../src/host/plan/script.js';
import { commands, facts, open, options, towards4, towards6 } from '../../support/real-server-plan.js';

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

test('the plan for policy-routing has these commands, up and down', () => {
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

test('a plan for both families has the rules of each, and shared changes once', () => {
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

test('services of a family without load balancers change nothing', () => {
  expect(lines({ ...both, loadBalancers: options.loadBalancers }, facts)).toEqual(commands());
  expect(lines({ ...both, loadBalancers: options6.loadBalancers }, facts6)).toEqual(lines(options6, facts6));
});

test('a plan for a host that forwards already neither switches forwarding on nor guards it', () => {
  const text = lines(options6, { ...facts6, towardsLb: facts6.towardsLb.map(open) }).join('\n');
  expect(text).not.toMatch(/forwarding|blackhole/);
});

describe('a kernel that can’t switch forwarding on for one interface', () => {
  const key = 'net.ipv6.conf.eth0.force_forwarding';
  const closed: LbInterface = {
    ...towards6('eth0'),
    forwarding: { family: 6, interface: 'eth0', off: { key, before: undefined } },
  };

  test('is a fault for policy-routing that names both remedies', () => {
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

  test('is no fault for nft-ingress, nor for IPv4 alone', () => {
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

test('the plan for nft-ingress has these commands, and changes neither local rules nor forwarding nor early demux', () => {
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

test('one family’s local rule moves, and the other’s stays where it is if that is out of the way', () => {
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

test('strict rp_filter is not loosened for IPv6', () => {
  const strict = [{ ...towards6('eth0'), rpFilter: '1' }];
  expect(lines(options6, { ...facts6, towardsLb: strict }).join('\n')).not.toMatch(/eth0\.rp_filter/);
});

test('each prefix has rules on its interface, and replies the smaller MTU, but at least 1280', () => {
  const o = { ...options6, loadBalancers: [{ prefix: 'fd00:1::/64' }, { prefix: '2001:db8:9::1/128' }] };
  const text = (mtu: number) =>
    lines(o, { ...facts6, towardsLb: [towards6('eth0'), towards6('eth1.100', mtu)] }).join('\n');
  expect(text(1400)).toMatch(/from 2001:db8:9::1\/128 to fd00:1::2 iif eth1\.100 ipproto 60/);
  expect(text(1400)).toContain('net.ipv6.conf.eth1/100.force_forwarding=1');
  expect(text(1400)).toMatch(/device "eth1\.100"/);
  expect(text(1400)).toMatch(/table 249 src fd00:1::2 mtu 1400/);
  expect(text(1200)).toMatch(/table 249 src fd00:1::2 mtu 1280/);
});

test('replies have the sources of the host’s own routes', () => {
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

test('nat64 deliver adds the routes and rules for the other family’s replies, and no others', () => {
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

test('nat64 deliver changes nothing without a service of the other family', () => {
  expect(lines({ ...options, nat64: 'deliver' }, facts)).toEqual(commands());
});
