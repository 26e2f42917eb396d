/**
 * Beside somebody else's NAT: rules as kube-proxy makes them, written with nft and with iptables, which the shim has
 * no hand in.
 *
 *   clients                    LB: the operator's NAT, uoa-shim             RS 1 and 2: uoa-shim, echo on 7000
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 10.10.2.1 ----+---- eth0 10.10.2.2
 *                              ip_forward = 1, policy drop                 `---- eth0 10.10.2.3, a client itself too
 *                              rp_filter strict everywhere
 */
import { afterEach, describe, expect, it } from 'vitest';
import { App } from '../../support/apps.js';
import { type LbBench, said, useLbBench } from '../../support/lb-bench.js';
import { client, LIP, PORT, RIPS, TARGET, VIP } from '../../support/lb-lab.js';
import { missing } from '../../support/netns.js';
import { run } from '../../support/process.js';
import { text } from '../../support/wire.js';

/** What kube-proxy does for a service with two endpoints: mark, choose, DNAT; and masquerade what is marked. */
const NFT = `table ip kube {
  chain services { type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${VIP} udp dport { ${PORT}, 7001 } meta mark set meta mark | 0x4000 dnat ip addr . port to numgen inc mod 2 map { 0 : ${RIPS[0]} . ${PORT}, 1 : ${RIPS[1]} . ${PORT} }
  }
  chain postrouting { type nat hook postrouting priority srcnat; policy accept;
    meta mark & 0x4000 == 0x4000 meta mark set meta mark & 0xffffbfff masquerade random
  }
  chain forward { type filter hook forward priority filter; policy drop;
    ct state invalid drop
    ct state established,related accept
    meta mark & 0x4000 == 0x4000 accept
  }
}
`;

const IPTABLES = `*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SVC - [0:0]
:KUBE-SEP-1 - [0:0]
:KUBE-SEP-2 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-SERVICES -d ${VIP}/32 -p udp -m udp --dport ${PORT} -j KUBE-SVC
-A KUBE-SERVICES -d ${VIP}/32 -p udp -m udp --dport 7001 -j KUBE-SVC
-A KUBE-SVC -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SVC -m statistic --mode nth --every 2 --packet 0 -j KUBE-SEP-1
-A KUBE-SVC -j KUBE-SEP-2
-A KUBE-SEP-1 -p udp -m udp -j DNAT --to-destination ${RIPS[0]}:${PORT}
-A KUBE-SEP-2 -p udp -m udp -j DNAT --to-destination ${RIPS[1]}:${PORT}
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
*filter
:FORWARD DROP [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
`;

const isIptablesNft = (await run(['sh', '-c', 'iptables -V'])).stdout.includes('nf_tables');
if (!isIptablesNft)
  console.warn(
    '\n*** SKIPPED: NAT by iptables, which is not iptables-nft here; apt-get install iptables ***\n',
  );

/** The whole of the configuration: nothing to be balanced, no addresses. */
const EXTERNAL = { nat: 'external', interface: { servers: 'eth1' }, localAddresses: [], services: [] };

const makers: [
  string,
  (bench: LbBench) => Promise<unknown>,
  (bench: LbBench) => Promise<unknown>,
  boolean,
][] = [
  [
    'nft',
    ({ lab }) => lab.lb.must(['nft', '-f', '-'], NFT),
    ({ lab }) => lab.lb.must(['nft', 'delete table ip kube']),
    true,
  ],
  [
    'iptables',
    ({ lab }) => lab.lb.must(['iptables-restore'], IPTABLES),
    ({ lab }) => lab.lb.must(['iptables-restore'], '*nat\nCOMMIT\n*filter\n:FORWARD ACCEPT\nCOMMIT\n'),
    isIptablesNft,
  ],
];

describe.skipIf(missing() !== undefined).each(makers.filter(([, , , isThere]) => isThere))(
  'external NAT by %s',
  (_, makeNat, removeNat) => {
    let before: string[];
    const bench = useLbBench({
      loadBalancer: EXTERNAL,
      prepare: async prepared => {
        await prepared.lab.lb.sysctl('net.ipv4.ip_forward', 1);
        await makeNat(prepared);
        before = await prepared.lab.snapshot();
      },
    });
    afterEach(async () => {
      expect(bench.clients.events.filter(({ event }) => event === 'error')).toEqual([]);
    });

    it('the shim adds no NAT and removes no rule', async () => {
      const running = await bench.lab.snapshot();
      // Rules of iptables count packets, which may have come in the meantime.
      const withoutCounts = (lines: string[]) => lines.map(line => line.replace(/packets \d+ bytes \d+/, ''));
      expect(withoutCounts(running)).toEqual(expect.arrayContaining(withoutCounts(before)));
      const added = running.filter(line => line.startsWith('nft: table') && !before.includes(line));
      expect(added).toEqual(['nft: table ip uoa_uoa0 {', 'nft: table netdev uoa_uoa0 {']);
      const ours = running.slice(running.indexOf(added[0]));
      expect(ours.join('\n')).not.toMatch(/type nat|dnat to|snat to|masquerade/);
      expect(await bench.shim.status()).toMatchObject({ healthy: true, warnings: [] });
    });

    it('every application sees the real client, with one mark per flow', async () => {
      const from = bench.now;
      const clients = Array.from({ length: 200 }, (_, n) => `${client(n)}:${5000 + (n % 3)}`);
      const talk = await bench.clients.talk(clients, TARGET, { rounds: 5 });
      expect(talk).toEqual({ sent: 1000, answered: 1000, lost: [] });
      expect(await bench.clients.unasked(from.clients)).toEqual([]);
      const received = await bench.receivedByAll(from);
      expect(received).toHaveLength(1000);
      for (const { client: source, payload } of received)
        expect(said(payload)).toMatch(new RegExp(`^${source} `));
      const marks = (await bench.arrivedAtAll(from)).flatMap(({ mark }) => mark ?? []);
      expect(marks.map(mark => `${mark.client}:${mark.port}`).sort()).toEqual([...clients].sort());
      for (const n of [0, 1]) expect((await bench.received(n, from)).length).toBeGreaterThan(0);
      expect(await bench.shim.stats()).toMatchObject({
        marks_inserted: 200,
        flows_acked: 200,
        dropped_io: 0,
      });
    });

    it('an application sees a client that comes and goes by the servers’ interface', async () => {
      const [, other] = bench.lab.rs;
      await other.ip(`route add ${VIP}/32 via ${LIP}`);
      const from = bench.now;
      // By turns, so one of them goes to the other RS, and one back to where it came from.
      for (const port of ['6001', '6002']) {
        const answer = await App.query(other, VIP, PORT, '--payload', text(port), '--from', port);
        expect(answer).toMatchObject({ event: 'answer', peer: TARGET, payload: text(port) });
      }
      const [[first], [second]] = await Promise.all([0, 1].map(n => bench.received(n, from)));
      expect(first.client).toBe(`${RIPS[1]}:${said(first.payload)}`);
      // A host that is its own client can't be one from afar: the LB's address is all that works.
      expect(second.client).toMatch(new RegExp(`^${LIP}:`));
    });

    it('flows of services that the configuration does not name get no marks', async () => {
      await bench.reload({ ...EXTERNAL, services: [{ vip: VIP, port: 7001 }] });
      const from = bench.now;
      const [plain, marked] = [bench.freshClient(), bench.freshClient()];
      const counted = await bench.shim.counted(async () => {
        expect(await bench.clients.talk([plain], TARGET, { rounds: 5 })).toMatchObject({ answered: 5 });
      });
      // Only what the real servers ask, in vain, comes to the shim.
      expect(counted.packets_seen).toBe(counted.asks_received);
      expect(counted.asks_unknown).toBe(counted.asks_received);
      expect(await bench.clients.talk([marked], `${VIP}:7001`, { rounds: 5 })).toMatchObject({ answered: 5 });
      const marks = (await bench.arrivedAtAll(from)).flatMap(({ mark }) => mark ?? []);
      expect(marks.map(mark => `${mark.client}:${mark.port}`)).toEqual([marked]);
    });

    it('a host without NAT brings a warning, and the end restores the host', async () => {
      await removeNat(bench);
      const without = (await bench.lab.snapshot()).filter(line => line.startsWith('nft: table'));
      expect(await bench.shim.stop()).toBe(0);
      await bench.shim.start();
      const { healthy, warnings } = await bench.shim.status();
      expect({ healthy, warnings }).toEqual({
        healthy: true,
        warnings: [expect.stringMatching(/external.*DNAT/)],
      });
      expect(bench.shim.program?.stderr.join('\n')).toContain('external');
      expect(await bench.shim.stop()).toBe(0);
      const after = (await bench.lab.snapshot()).filter(line => line.startsWith('nft: table'));
      expect(after).toEqual(without.filter(line => !line.includes('uoa_')));

      await makeNat(bench);
      await bench.shim.start();
      expect((await bench.shim.status()).warnings).toEqual([]);
      expect(await bench.shim.stop()).toBe(0);
      expect(await bench.lab.snapshot()).toEqual(before);
    });
  },
);
