import { expect, test } from 'vitest';
import { parsePrefix } from '../../../../src/host/addresses.js';
import { together } from '../../../../src/host/plan/nft.js';
import { egressTables } from '../../../../src/host/plan/nft-egress.js';
import { natTables } from '../../../../src/host/plan/nft-nat.js';
import { downScript, upScript } from '../../../../src/host/plan/script.js';
import { commands, options, plan, scripts, serving } from '../../support/load-balancer-plan.js';

test('the plan has these commands, up and down', () => {
  const changes = plan();
  const [refusal, tables] = scripts(changes);
  const withoutReasons = upScript(changes).replaceAll(/^#.*\n/gm, '');
  expect(withoutReasons).toBe(`set -e
ip tuntap add dev uoa0 mode tun vnet_hdr
sysctl -q -w net.ipv4.conf.uoa0.rp_filter=2
ip -4 address add 192.0.2.254/32 dev uoa0
ip link set dev uoa0 addrgenmode none
ip link set dev uoa0 mtu 65535 txqueuelen 65536 up
sysctl -q -w net.ipv4.conf.uoa0.forwarding=1
nft -f - <<'END'
${refusal.up}
END
nft -f - <<'END'
${tables.up}
END
sysctl -q -w net.ipv4.conf.eth0.forwarding=1
sysctl -q -w net.ipv4.conf.eth1.forwarding=1
`);
  expect(downScript(changes)).toBe(`# What takes it all back.
set +e
sysctl -q -w net.ipv4.conf.eth1.forwarding=0
sysctl -q -w net.ipv4.conf.eth0.forwarding=0
nft -f - <<'END'
${tables.down}
END
nft -f - <<'END'
${refusal.down}
END
ip tuntap del dev uoa0 mode tun
`);
});

test('all tables are one transaction, the NAT last, and the NAT is taken away first', () => {
  const [, { tables, up, down }, ...others] = scripts(plan());
  expect(others).toEqual([]);
  expect(tables).toEqual(['table ip uoa_uoa0', 'table netdev uoa_uoa0', 'table ip uoa_uoa0_nat']);
  const made = [...up.matchAll(/^(table \S+ \S+) \{$/gm)].map(([, id]) => id);
  expect(made).toEqual(tables);
  const unmade = [...down.matchAll(/^delete (.*)$/gm)].map(([, id]) => id);
  expect(unmade[0]).toBe('table ip uoa_uoa0_nat');
});

test('with an external NAT no NAT and no forwarding is planned', () => {
  const changes = plan({ nat: 'external' }, { clients: [] });
  expect(commands(changes)).toEqual(
    commands(plan()).filter(command => !/conf\.eth\d\.forwarding/.test(command)),
  );
  const [{ up, tables }] = scripts(changes);
  expect(tables).toEqual(['table ip uoa_uoa0', 'table netdev uoa_uoa0']);
  expect(scripts(plan())[1].up.startsWith(`${up}\n`)).toBe(true);
});

test('with an external NAT, no services and no local addresses, the egress tables are for all flows and all own addresses', () => {
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
      marks: true,
      timeoutSeconds: 360,
      fwmark: 0x20,
    }).up,
  );
});

test('the tables are those for the TUN, fwmark, marks, interfaces and addresses of the options', () => {
  const localAddresses = ['10.10.2.1', '198.51.100.10'];
  const tun = { name: 'uoa1', address: '192.0.2.250/32' };
  const servers = [serving('eth1', true), serving('eth2', true)];
  const [, tables] = scripts(
    plan({ tun, fwmark: 0x100, marks: false, timeoutSeconds: 300, localAddresses }, { servers }),
  );
  const { services } = options;
  const marks = egressTables({
    tun: 'uoa1',
    servers: ['eth1', 'eth2'],
    families: [4],
    localAddresses,
    services,
    marks: false,
    timeoutSeconds: 300,
    fwmark: 0x100,
  });
  const guarded = [{ name: 'eth0', family: 4 as const }];
  const nat = natTables({ tun: 'uoa1', localAddresses, services, guarded });
  expect(tables).toMatchObject(together(marks, nat));
});

test.each<[string, boolean, boolean, string[]]>([
  ['neither forwards', false, false, ['eth0', 'eth1']],
  ['the clients’ side forwards', true, false, ['eth1']],
  ['the real servers’ side forwards', false, true, ['eth0']],
  ['both forward', true, true, []],
])('if %s, forwarding is switched on for the others, after a guard', (_, clients, servers, closed) => {
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
  const guard = / *iifname \{ (.*) \} drop/.exec(scripts(changes)[1].up)?.[1];
  expect(guard).toBe(closed.length === 0 ? undefined : closed.map(name => `"${name}"`).join(', '));
  // First the guard, then the forwarding.
  const kinds = changes.map(change => (change.kind === 'sysctl' ? change.key : change.kind));
  for (const name of closed)
    expect(kinds.lastIndexOf('nft')).toBeLessThan(kinds.indexOf(`net.ipv4.conf.${name}.forwarding`));
});

test('an interface that is on both sides is switched on and guarded once', () => {
  const both = [serving('eth0.5')];
  const changes = plan({}, { clients: both, servers: both });
  expect(commands(changes).filter(command => /conf\.eth0/.test(command))).toEqual([
    'sysctl -q -w net.ipv4.conf.eth0/5.forwarding=1',
  ]);
  expect(scripts(changes)[1].up).toContain('iifname { "eth0.5" } drop');
});

test('a host without IPv6 gets no change about IPv6 addresses', () => {
  expect(commands(plan({}, { hasIpv6: false })).join('\n')).not.toContain('addrgenmode');
});

test.each(['managed', 'external'] as const)(
  'with a NAT that is %s, a local address that this host lacks is a fault',
  nat => {
    const faulty = () => plan({ nat, localAddresses: ['10.10.2.1', '10.10.2.99', '10.10.2.98'] });
    expect(faulty).toThrow(
      /loadBalancer\.localAddresses: 10\.10\.2\.99, 10\.10\.2\.98 is not an address of this/,
    );
    expect(faulty).toThrow(expect.objectContaining({ exitCode: 78 }));
    expect(() => plan({ nat, localAddresses: ['10.10.2.99'] })).toThrow(
      /localAddresses: 10\.10\.2\.99 is not/,
    );
  },
);
