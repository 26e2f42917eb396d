import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parsePrefix } from '../../../../src/host/addresses.js';
import type { LoadBalancerFacts, ServingInterface } from '../../../../src/host/facts/load-balancer.js';
import type { Change, NftChange } from '../../../../src/host/plan/change.js';
import { type LoadBalancerPlanOptions, planLoadBalancer } from '../../../../src/host/plan/load-balancer.js';
import { egressTables } from '../../../../src/host/plan/nft-egress.js';
import { type BalancedService, natTables } from '../../../../src/host/plan/nft-nat.js';
import { downScript, upCommand, upScript } from '../../../../src/host/plan/script.js';

const options: LoadBalancerPlanOptions = {
  tun: { name: 'uoa0', address: '192.0.2.254/32' },
  fwmark: 0x20,
  nat: 'managed',
  marksPerFlow: 3,
  localAddresses: ['10.10.2.1'],
  services: [
    {
      vip: '198.51.100.10',
      port: 53,
      schedule: 'source-hash',
      realServers: [
        { address: '10.10.2.2', port: 53, weight: 1 },
        { address: '10.10.2.3', port: 5353, weight: 2 },
      ],
    },
  ],
};

/** An interface that forwards, or does not yet. */
function serving(name: string, forwards = false): ServingInterface {
  const key = `net.ipv4.conf.${name.replaceAll('.', '/')}.forwarding`;
  const off = forwards ? {} : { off: { key, before: '0' } };
  return { name, forwarding: [{ family: 4, interface: name, ...off }] };
}

const facts: LoadBalancerFacts = {
  servers: [serving('eth1')],
  clients: [serving('eth0')],
  conntrackAcct: '0',
  forwardsEach6: false,
  ownAddresses: ['127.0.0.0/8', '127.0.0.1', '10.10.2.1', '198.51.100.10'].map(parsePrefix),
  broadcastAddresses: [parsePrefix('10.10.2.255')],
  hasIpv6: true,
};

const plan = (o: Partial<LoadBalancerPlanOptions> = {}, f: Partial<LoadBalancerFacts> = {}): Change[] =>
  planLoadBalancer({ ...options, ...o }, { ...facts, ...f }).changes;

function scripts(changes: readonly Change[]): NftChange[] {
  return changes.filter(change => change.kind === 'nft');
}

/** Commands with the nft scripts left out. */
function commands(changes: readonly Change[]): string[] {
  return changes.filter(({ kind }) => kind !== 'nft').map(upCommand);
}

test('the whole script, up and down', () => {
  const changes = plan();
  const withoutReasons = upScript(changes).replaceAll(/^#.*\n/gm, '');
  expect(withoutReasons).toBe(`set -e
ip tuntap add dev uoa0 mode tun vnet_hdr
sysctl -q -w net.ipv4.conf.uoa0.rp_filter=2
ip -4 address add 192.0.2.254/32 dev uoa0
ip link set dev uoa0 addrgenmode none
ip link set dev uoa0 mtu 65535 txqueuelen 8192 up
sysctl -q -w net.ipv4.conf.uoa0.forwarding=1
nft -f - <<'END'
table ip uoa_uoa0_nat
delete table ip uoa_uoa0_nat
table ip uoa_uoa0_nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr 198.51.100.10 udp dport 53 dnat ip addr . port to jhash ip saddr mod 3 seed 0x1 map { 0 : 10.10.2.2 . 53, 1-2 : 10.10.2.3 . 5353 }
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
}
END
sysctl -q -w net.ipv4.conf.eth0.forwarding=1
sysctl -q -w net.ipv4.conf.eth1.forwarding=1
sysctl -q -w net.netfilter.nf_conntrack_acct=1
nft -f - <<'END'
table ip uoa_uoa0
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
}
END
`);
  expect(downScript(changes)).toBe(`# What takes it all back.
set +e
nft -f - <<'END'
table ip uoa_uoa0
delete table ip uoa_uoa0
table netdev uoa_uoa0
delete table netdev uoa_uoa0
END
sysctl -q -w net.netfilter.nf_conntrack_acct=0
sysctl -q -w net.ipv4.conf.eth1.forwarding=0
sysctl -q -w net.ipv4.conf.eth0.forwarding=0
nft -f - <<'END'
table ip uoa_uoa0_nat
delete table ip uoa_uoa0_nat
END
ip tuntap del dev uoa0 mode tun
`);
});

test('beside somebody else’s NAT: no NAT and no forwarding of ours', () => {
  const changes = plan({ nat: 'external' }, { clients: [] });
  expect(commands(changes)).toEqual(
    commands(plan()).filter(command => !/conf\.eth\d\.forwarding/.test(command)),
  );
  expect(scripts(changes)).toEqual(scripts(plan()).slice(1));
});

test('beside somebody else’s NAT, without services and local addresses: all that is NATed, all own addresses', () => {
  const ownAddresses = ['127.0.0.0/8', '127.0.0.1', '10.0.0.0/8', '10.10.2.1', '10.10.3.1', '198.51.100.10'];
  const [marks, ...others] = scripts(
    plan(
      { nat: 'external', services: [], localAddresses: [] },
      { clients: [], ownAddresses: ownAddresses.map(parsePrefix) },
    ),
  );
  expect(others).toEqual([]);
  expect(marks.up).toBe(
    egressTables({
      tun: 'uoa0',
      servers: ['eth1'],
      families: [4],
      // A prefix that the host answers for and its loopback are no sources of what it sends.
      localAddresses: ['10.10.2.1', '10.10.3.1', '198.51.100.10'],
      services: [],
      marksPerFlow: 3,
      fwmark: 0x20,
    }).up,
  );
});

test('the rules are made from the configuration: TUN, mark, trails, interfaces, addresses', () => {
  const localAddresses = ['10.10.2.1', '198.51.100.10'];
  const tun = { name: 'uoa1', address: '192.0.2.250/32' };
  const servers = [serving('eth1', true), serving('eth2', true)];
  const [nat, marks] = scripts(plan({ tun, fwmark: 0x100, marksPerFlow: 0, localAddresses }, { servers }));
  const { services } = options;
  expect(nat).toMatchObject(
    natTables({ tun: 'uoa1', localAddresses, services, guarded: [{ name: 'eth0', family: 4 }] }),
  );
  expect(marks).toMatchObject(
    egressTables({
      tun: 'uoa1',
      servers: ['eth1', 'eth2'],
      families: [4],
      localAddresses,
      services,
      marksPerFlow: 0,
      fwmark: 0x100,
    }),
  );
});

test.each<[string, boolean, boolean, string[]]>([
  ['neither forwards', false, false, ['eth0', 'eth1']],
  ['the clients’ side forwards', true, false, ['eth1']],
  ['the real servers’ side forwards', false, true, ['eth0']],
  ['both forward', true, true, []],
])('%s: the others are switched on, behind a guard', (_, clients, servers, closed) => {
  const changes = plan(
    {},
    {
      clients: [serving('eth0', clients)],
      servers: [serving('eth1', servers)],
    },
  );
  expect(commands(changes).filter(command => /conf\.eth\d\.forwarding/.test(command))).toEqual(
    closed.map(name => `sysctl -q -w net.ipv4.conf.${name}.forwarding=1`),
  );
  const guard = / *iifname \{ (.*) \} drop/.exec(scripts(changes)[0].up)?.[1];
  expect(guard).toBe(closed.length === 0 ? undefined : closed.map(name => `"${name}"`).join(', '));
  // First the guard, then the forwarding.
  const kinds = changes.map(change => (change.kind === 'sysctl' ? change.key : change.kind));
  for (const name of closed)
    expect(kinds.indexOf('nft')).toBeLessThan(kinds.indexOf(`net.ipv4.conf.${name}.forwarding`));
});

test('one interface on both sides is switched on and guarded once', () => {
  const both = [serving('eth0.5')];
  const changes = plan({}, { clients: both, servers: both });
  expect(commands(changes).filter(command => /conf\.eth0/.test(command))).toEqual([
    'sysctl -q -w net.ipv4.conf.eth0/5.forwarding=1',
  ]);
  expect(scripts(changes)[0].up).toContain('iifname { "eth0.5" } drop');
});

test('packets are counted already: that stays as it is', () => {
  expect(commands(plan({}, { conntrackAcct: '1' }))).toEqual(
    commands(plan()).filter(command => !command.includes('nf_conntrack_acct')),
  );
});

test('a host without IPv6 has no IPv6 to switch off', () => {
  expect(commands(plan({}, { hasIpv6: false })).join('\n')).not.toContain('addrgenmode');
});

test.each(['managed', 'external'] as const)('a local address that is not here is a fault: %s', nat => {
  const faulty = () => plan({ nat, localAddresses: ['10.10.2.1', '10.10.2.99', '10.10.2.98'] });
  expect(faulty).toThrow(
    /loadBalancer\.localAddresses: 10\.10\.2\.99, 10\.10\.2\.98 is not an address of this/,
  );
  expect(faulty).toThrow(expect.objectContaining({ exitCode: 78 }));
  expect(() => plan({ nat, localAddresses: ['10.10.2.99'] })).toThrow(/localAddresses: 10\.10\.2\.99 is not/);
});

describe('IPv6', () => {
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

  test('alone: rules of IPv6 only, each interface switched on by itself, behind a guard', () => {
    const changes = plan(options6, facts6);
    expect(switches(changes)).toEqual([
      'sysctl -q -w net.ipv4.conf.uoa0.forwarding=1',
      'sysctl -q -w net.ipv6.conf.uoa0.force_forwarding=1',
      'sysctl -q -w net.ipv6.conf.eth0.force_forwarding=1',
      'sysctl -q -w net.ipv6.conf.eth1.force_forwarding=1',
    ]);
    expect(commands(changes)).toContain('sysctl -q -w net.ipv6.conf.uoa0.disable_ipv6=0');
    const guarded = ['eth0', 'eth1'].map(name => ({ name, family: 6 as const }));
    expect(scripts(changes).map(({ up }) => up)).toEqual([
      natTables({ tun: 'uoa0', ...options6, guarded }).up,
      egressTables({
        tun: 'uoa0',
        servers: ['eth1'],
        families: [6],
        ...options6,
        marksPerFlow: 3,
        fwmark: 0x20,
      }).up,
    ]);
    expect(downScript(changes)).toContain('sysctl -q -w net.ipv6.conf.eth1.force_forwarding=0');
  });

  test('where the whole host forwards, nothing is switched and nothing guarded', () => {
    const changes = plan(options6, {
      ...{ ownAddresses, forwardsEach6: false },
      ...{ servers: [forwarding6('eth1')], clients: [forwarding6('eth0')] },
    });
    expect(switches(changes)).toEqual(['sysctl -q -w net.ipv4.conf.uoa0.forwarding=1']);
    expect(scripts(changes)[0].up).not.toContain('drop');
  });

  test('a kernel that can’t switch it on for one interface is no place for it: the fault names the remedy', () => {
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
    // Beside somebody else's NAT that is somebody else's business.
    expect(() => plan({ ...options6, nat: 'external' }, { ...facts6, servers })).not.toThrow();
  });

  test('beside IPv4: what each has alone', () => {
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
    expect(scripts(changes).map(({ up }) => up)).toEqual([
      natTables({ tun: 'uoa0', ...both, guarded }).up,
      egressTables({
        tun: 'uoa0',
        servers: ['eth1'],
        families: [4, 6],
        ...both,
        marksPerFlow: 3,
        fwmark: 0x20,
      }).up,
    ]);
  });

  test('without services and local addresses: both families, and of the own addresses those that others can send to', () => {
    const [marks] = scripts(
      plan({ nat: 'external', services: [], localAddresses: [] }, { ...facts6, clients: [] }),
    );
    expect(marks.up).toBe(
      egressTables({
        ...{ tun: 'uoa0', servers: ['eth1'], families: [4, 6], services: [], marksPerFlow: 3, fwmark: 0x20 },
        localAddresses: ['10.10.2.1', 'fd00:2::1', '2001:db8::10'],
      }).up,
    );
  });

  test('a service of a family without a local address has no rules', () => {
    const [marks] = scripts(
      plan(
        { nat: 'external', services: both.services, localAddresses: ['fd00:2::1'] },
        { ...facts6, clients: [] },
      ),
    );
    expect(marks.up).not.toContain('table ip uoa_uoa0');
    expect(marks.up).toContain('table ip6 uoa_uoa0');
  });

  test('a local address that is not here is a fault', () => {
    expect(() => plan({ ...options6, localAddresses: ['fd00:2::9'] }, facts6)).toThrow(
      /loadBalancer\.localAddresses: fd00:2::9 is not an address of this/,
    );
  });
});

test('whatever interfaces are called, a shell gives nft the rules to the letter, and nothing else runs', () => {
  const directory = mkdtempSync(join(tmpdir(), 'uoa-shim-plan-'));
  try {
    // Each program notes its arguments, one a line, and what it was given to read.
    for (const program of ['ip', 'nft', 'sysctl'])
      writeFileSync(
        join(directory, program),
        `#!/bin/sh\n{ echo "${program}"; for a in "$@"; do echo "<$a>"; done; [ ${program} != nft ] || cat; } >> "$LOG"\n`,
        { mode: 0o755 },
      );
    const changes = plan(
      { tun: { name: "a';reboot;'", address: '192.0.2.254/32' } },
      {
        servers: [serving('$(reboot)')],
        clients: [serving('END`reboot`')],
      },
    );
    const [nat, marks] = scripts(changes);
    for (const [script, expected] of [
      [upScript(changes), [nat.up, marks.up]],
      [downScript(changes), [marks.down, nat.down]],
    ] as const) {
      const log = join(directory, 'log');
      const { status, stderr } = spawnSync('/bin/sh', [], {
        input: script,
        encoding: 'utf8',
        env: { PATH: `${directory}:/usr/bin:/bin`, LOG: log },
      });
      expect([status, stderr]).toEqual([0, '']);
      const runs = readFileSync(log, 'utf8').split(/^(?=(?:ip|nft|sysctl)\n)/m);
      rmSync(log);
      expect(runs.filter(run => run.startsWith('nft\n'))).toEqual(
        expected.map(text => `nft\n<-f>\n<->\n${text}\n`),
      );
      expect(
        runs.some(run => run.includes("<a';reboot;'>") || run.includes('conf.$(reboot).forwarding')),
      ).toBe(true);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
