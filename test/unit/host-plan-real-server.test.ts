import { expect, test } from 'vitest';
import { parsePrefix } from '../../src/host/addresses.js';
import type { RealServerFacts } from '../../src/host/facts-real-server.js';
import { planRealServer, type RealServerPlan } from '../../src/host/plan-real-server.js';
import { downScript, upCommand, upScript } from '../../src/host/script.js';

const options: RealServerPlan = {
  tun: { name: 'uoa0', address: '192.0.2.254/32' },
  routing: { table: 248, priority: 21, localPriority: 100, steering: 'policy-routing' },
  loadBalancers: [{ prefix: '10.10.1.0/24' }],
  services: [{ address: '10.10.1.2', from: 53, to: 53 }],
};

const facts: RealServerFacts = {
  localRule: { priority: 0, protocol: 'kernel' },
  allRpFilter: '0',
  udpEarlyDemux: '1',
  towardsLb: [{ name: 'eth0', mtu: 1500, forwarding: '0', rpFilter: '0' }],
  ownAddresses: [parsePrefix('127.0.0.0/8'), parsePrefix('10.10.1.2')],
  broadcastAddresses: [parsePrefix('10.10.1.255')],
  hasIpv6: true,
};

function commands(o: Partial<RealServerPlan> = {}, f: Partial<RealServerFacts> = {}): string[] {
  return planRealServer({ ...options, ...o }, { ...facts, ...f }).map(upCommand);
}

test('the whole script, up and down', () => {
  const changes = planRealServer(options, facts);
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
  const [lb] = facts.towardsLb;
  const text = commands({}, { towardsLb: [{ ...lb, forwarding: '1' }] }).join('\n');
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
  const text = commands({}, { localRule: { priority: 150, protocol: 'unspec' } }).join('\n');
  expect(text).not.toMatch(/lookup local/);
  expect(text).toMatch(/pref 151 iif eth0 blackhole/);
  expect(text).toMatch(/pref 160 iif lo/);
});

test('a local rule in the way moves from wherever it is, and back there', () => {
  const changes = planRealServer(options, { ...facts, localRule: { priority: 5, protocol: 'static' } });
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
      towardsLb: [
        { name: 'eth0', mtu: 1500, forwarding: '0', rpFilter: '0' },
        { name: 'eth1.100', mtu: 1400, forwarding: '0', rpFilter: '0' },
      ],
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

test('whatever an interface is called, the script is one of commands only', () => {
  const [lb] = facts.towardsLb;
  const text = commands({}, { towardsLb: [{ ...lb, name: "a';reboot;'" }] }).join('\n');
  expect(text).toContain(`iif 'a'\\'';reboot;'\\'''`);
});

test('nft-ingress leaves the local rule, forwarding and early demux alone', () => {
  const routing = { ...options.routing, steering: 'nft-ingress' as const };
  const changes = planRealServer({ ...options, routing }, facts);
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
table netdev uoa_uoa0 {
\tchain in_0 {
\t\ttype filter hook ingress device "eth0" priority 0; policy accept;
\t\tip saddr 10.10.1.0/24 ip daddr { 10.10.1.2 } ip protocol { udp, 248 } fwd ip to 192.0.2.253 device "uoa0"
\t\tip daddr { 10.10.1.2 } icmp type { destination-unreachable, time-exceeded, parameter-problem } fwd ip to 192.0.2.253 device "uoa0"
\t}
}
END
`);
});
