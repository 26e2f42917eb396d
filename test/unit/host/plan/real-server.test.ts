import { expect, test } from 'vitest';
import { planRealServer } from '../../../../src/host/plan/real-server.js';
import { downScript, upCommand, upScript } from '../../../../src/host/plan/script.js';
import { commands, facts, open, options, towards4 } from '../../support/real-server-plan.js';

test('the plan for policy-routing has these commands, up and down', () => {
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

test('a plan for a host that forwards already neither switches forwarding on nor guards it', () => {
  const text = commands({}, { towardsLb: facts.towardsLb.map(open) }).join('\n');
  expect(text).not.toMatch(/forwarding|blackhole/);
});

test.each([
  { all: '0', own: '1', loosened: true },
  { all: '1', own: '0', loosened: true },
  { all: '1', own: '2', loosened: false },
  { all: '0', own: '0', loosened: false },
])('with rp_filter all=$all eth0=$own, loosening eth0’s is planned: $loosened', ({ all, own, loosened }) => {
  const [lb] = facts.towardsLb;
  const changed = commands({}, { allRpFilter: all, towardsLb: [{ ...lb, rpFilter: own }] });
  expect(changed.includes('sysctl -q -w net.ipv4.conf.eth0.rp_filter=2')).toBe(loosened);
});

test('a local rule that was moved out of the way before stays where it is, with our rules around it', () => {
  const text = commands({}, { localRules: [{ family: 4, priority: 150, protocol: 'unspec' }] }).join('\n');
  expect(text).not.toMatch(/lookup local/);
  expect(text).toMatch(/pref 151 iif eth0 blackhole/);
  expect(text).toMatch(/pref 160 iif lo/);
});

test('a local rule in the way is taken from where it is, and put back there', () => {
  const localRules = [{ family: 4 as const, priority: 5, protocol: 'static' }];
  const { changes } = planRealServer(options, { ...facts, localRules });
  expect(changes.map(upCommand).at(-1)).toBe('ip -4 rule del pref 5 lookup local protocol static');
  expect(downScript(changes)).toMatch(/rule add pref 5 lookup local protocol static/);
});

test('each prefix has rules on its interface, each service address and port one rule, and replies the smaller MTU', () => {
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

test('replies have a source that this host has, and a host without any service’s address is a fault', () => {
  const services = [
    { address: '10.10.1.9', from: 53, to: 53 },
    { address: '10.10.1.2', from: 53, to: 53 },
  ];
  expect(commands({ services }).join('\n')).toMatch(/src 10\.10\.1\.2/);
  expect(() => commands({ services: services.slice(0, 1) })).toThrow(
    /realServer\.services: none of 10\.10\.1\.9/,
  );
});

test('an interface’s name is quoted in the script', () => {
  const text = commands({}, { towardsLb: [towards4("a';reboot;'")] }).join('\n');
  expect(text).toContain(`iif 'a'\\'';reboot;'\\'''`);
});

test('the plan for nft-ingress has these commands, and changes neither local rule nor forwarding nor early demux', () => {
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
