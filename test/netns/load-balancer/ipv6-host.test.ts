/**
 * What the load balancer changes on an IPv6 host, what it stands beside there, and what is left when it goes.
 *
 *   clients                       LB: nftables and uoa-shim, now and then          RS 1 and 2: uoa-shim, echo on 7000
 *   2001:db8:71::1 ... ::c8 ---- eth0 2001:db8:64::10 VIP6   eth1 fd00:10:2::1 ---+---- fd00:10:2::2
 *                                 no forwarding                                   |
 *                                                                                 `---- fd00:10:2::3
 */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { said, useLbBench } from '../../support/lb-bench.js';
import {
  CLIENTS,
  canForceForwarding,
  client6,
  LIP6,
  PORT,
  RIPS6,
  service6,
  TARGET,
  TARGET6,
  VIP6,
  VIP6_2,
} from '../../support/lb-lab.js';
import { addressOf } from '../../support/lb-sides.js';
import { missing, planned } from '../../support/netns.js';
import { endpoint } from '../../support/wire.js';

// ---- beside somebody else's NAT --------------------------------------------------------------------------------

/** What kube-proxy does for a service with two endpoints: mark, choose, DNAT; and masquerade what is marked. */
const NFT = `table ip6 kube {
  chain services { type nat hook prerouting priority dstnat; policy accept;
    ip6 daddr ${VIP6} udp dport { ${PORT}, 7001 } meta mark set meta mark | 0x4000 dnat ip6 addr . port to numgen inc mod 2 map { 0 : ${RIPS6[0]} . ${PORT}, 1 : ${RIPS6[1]} . ${PORT} }
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

describe.skipIf(missing() !== undefined)('external IPv6 NAT', () => {
  let before: string[];
  const bench = useLbBench({
    lab: { ipv6: true },
    stopped: true,
    prepare: async ({ lab }) => {
      await lab.lb.sysctl('net.ipv6.conf.all.forwarding', 1);
      await lab.lb.must(['nft', '-f', '-'], NFT);
      before = await lab.snapshot();
    },
  });

  describe.each([
    ['dstopt', 5000],
    ['opp', 6000],
  ] as const)('%s', (carrier, firstPort) => {
    const EXTERNAL = {
      carrier,
      nat: 'external',
      interface: { servers: 'eth1' },
      localAddresses: [],
      services: [],
    };
    beforeAll(() => bench.restart(EXTERNAL));

    const ourTables = (lines: string[]) => lines.filter(line => /^nft: table .* uoa_/.test(line));

    it('the shim adds no NAT and removes no rule', async () => {
      const running = await bench.lab.snapshot();
      expect(running).toEqual(expect.arrayContaining(before));
      expect(ourTables(running)).toEqual([
        'nft: table ip uoa_uoa0 {',
        'nft: table ip6 uoa_uoa0 {',
        'nft: table netdev uoa_uoa0 {',
      ]);
      const ours = running.slice(running.indexOf('nft: table ip uoa_uoa0 {'));
      expect(ours.join('\n')).not.toMatch(/type nat|dnat to|snat to|masquerade/);
      expect(await bench.shim.status()).toMatchObject({ healthy: true, warnings: [] });
    });

    it('every application sees the real client, with one mark per flow', async () => {
      const from = bench.now;
      const clients = Array.from({ length: CLIENTS }, (_, n) => endpoint(client6(n), firstPort + (n % 3)));
      const talk = await bench.clients.talk(clients, TARGET6, { rounds: 5 });
      expect(talk).toEqual({ sent: CLIENTS * 5, answered: CLIENTS * 5, lost: [] });
      expect(await bench.clients.unasked(from.clients)).toEqual([]);
      const received = await bench.receivedByAll(from);
      expect(received).toHaveLength(CLIENTS * 5);
      for (const { client: source, payload } of received) expect(said(payload).split(' ')[0]).toBe(source);
      const marks = (await bench.arrivedAtAll(from)).flatMap(({ mark: found }) => found ?? []);
      expect(marks.map(found => endpoint(found.client, found.port)).sort()).toEqual([...clients].sort());
      expect(new Set(marks.map(found => found.carrier))).toEqual(new Set([carrier]));
      expect(await bench.shim.stats()).toMatchObject({
        ...{ marks_inserted: CLIENTS, flows_acked: CLIENTS, acks_unmatched: 0, dropped_io: 0 },
      });
    });

    it('flows of services that the configuration does not name get no marks, and their family no table', async () => {
      await bench.reload({ ...EXTERNAL, services: [{ vip: VIP6, port: 7001 }] });
      expect(ourTables(await bench.lab.snapshot())).toEqual([
        'nft: table ip6 uoa_uoa0 {',
        'nft: table netdev uoa_uoa0 {',
      ]);
      const from = bench.now;
      const [plain, marked] = [bench.freshClient6(), bench.freshClient6()];
      const counted = await bench.shim.counted(async () => {
        expect(await bench.clients.talk([plain], TARGET6, { rounds: 5 })).toMatchObject({ answered: 5 });
      });
      // Only what the real servers ask, in vain, comes to the shim.
      const asks = expect.any(Number);
      expect(counted).toEqual({ packets_seen: asks, asks_received: asks, asks_unknown: asks });
      expect(counted.asks_unknown).toBe(counted.packets_seen);
      expect(await bench.clients.talk([marked], `[${VIP6}]:7001`, { rounds: 5 })).toMatchObject({
        answered: 5,
      });
      const marks = (await bench.arrivedAtAll(from)).flatMap(({ mark: found }) => found ?? []);
      expect(marks.map(found => endpoint(found.client, found.port))).toEqual([marked]);
    });

    it('a host without NAT brings a warning, and the end restores the host', async () => {
      await bench.lab.lb.must(['nft', 'delete table ip6 kube']);
      expect(await bench.shim.stop()).toBe(0);
      await bench.shim.start();
      expect((await bench.shim.status()).warnings).toEqual([expect.stringMatching(/external.*DNAT/)]);
      await bench.lab.lb.must(['nft', '-f', '-'], NFT);
      expect(await bench.shim.stop()).toBe(0);
      await bench.shim.start();
      expect((await bench.shim.status()).warnings).toEqual([]);
      expect(await bench.shim.stop()).toBe(0);
      expect(await bench.lab.snapshot()).toEqual(before);
    });
  });
});

// ---- coming and going ------------------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined || !canForceForwarding())(
  'the load balancer’s lifecycle in an IPv6 network',
  () => {
    const bench = useLbBench({ lab: { ipv6: true }, stopped: true });
    let before: string[];

    beforeAll(async () => {
      before = await bench.lab.snapshot();
    });
    afterEach(async () => {
      await bench.shim.clear();
      bench.shim.configure(bench.options());
    });

    /** Flows of either family to both RS, a few datagrams each; the applications see the clients. */
    async function serves(): Promise<void> {
      for (const [target, fresh] of [
        [TARGET, () => bench.freshClient()],
        [TARGET6, () => bench.freshClient6()],
      ] as const) {
        const from = bench.now;
        const talk = await bench.clients.talk([fresh(), fresh()], target, { rounds: 5 });
        expect(talk).toEqual({ sent: 10, answered: 10, lost: [] });
        const received = await bench.receivedByAll(from);
        expect(received).toHaveLength(10);
        for (const { client: seen, payload } of received) expect(said(payload).split(' ')[0]).toBe(seen);
      }
    }

    it.each(['SIGTERM', 'SIGINT'] as const)(
      '%s ends it with status 0, and the host is as it was',
      async signal => {
        await bench.shim.start();
        const running = await bench.lab.snapshot();
        for (const name of ['eth0', 'eth1']) {
          expect(before).toContain(`sysctls: net.ipv6.conf.${name}.force_forwarding = 0`);
          expect(running).toContain(`sysctls: net.ipv6.conf.${name}.force_forwarding = 1`);
        }
        // It is no router otherwise: that would change what it does with advertisements, redirects and solicitations.
        for (const lines of [before, running])
          for (const name of ['all', 'eth0', 'eth1'])
            expect(lines).toContain(`sysctls: net.ipv6.conf.${name}.forwarding = 0`);
        await serves();
        expect(await bench.shim.stop(signal)).toBe(0);
        expect(await bench.lab.snapshot()).toEqual(before);
      },
    );

    it('after SIGKILL the NAT works on without marks, and the next start takes over', async () => {
      await bench.shim.start();
      const known = bench.freshClient6();
      expect(await bench.clients.talk([known], TARGET6, { rounds: 3 })).toMatchObject({ lost: [] });
      expect(await bench.shim.stop('SIGKILL')).toBe(-1);
      expect((await bench.shim.cli('status')).code).toBe(3);

      const from = bench.now;
      const newcomers = [bench.freshClient6(), bench.freshClient6()];
      const talk = await bench.clients.talk([known, ...newcomers], TARGET6, { rounds: 5 });
      expect(talk).toEqual({ sent: 15, answered: 15, lost: [] });
      // Flows that were known to the RS stay so.
      for (const { client: seen, payload } of await bench.receivedByAll(from))
        expect(addressOf(seen)).toBe(said(payload).startsWith(`${known} `) ? addressOf(known) : `[${LIP6}]`);
      for (const n of [0, 1]) expect((await bench.received(n, from)).length).toBeGreaterThan(0);
      expect((await bench.arrivedAtAll(from)).filter(({ mark: found }) => found)).toEqual([]);

      await bench.shim.start();
      expect(bench.shim.program?.log).toContain('taken over');
      await serves();
      expect(await bench.clients.talk([known], TARGET6, { rounds: 3 })).toMatchObject({ lost: [] });
      expect(await bench.shim.stop()).toBe(0);
      expect(await bench.lab.snapshot()).toEqual(before);
    });

    it('`cleanup` after SIGKILL restores the host, and a second one changes nothing', async () => {
      await bench.shim.start();
      await serves();
      expect(await bench.shim.stop('SIGKILL')).toBe(-1);
      expect(await bench.lab.snapshot()).not.toEqual(before);
      for (let i = 0; i < 2; i++) {
        expect(await bench.shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
        expect(await bench.lab.snapshot()).toEqual(before);
      }
    });

    it('SIGHUP adds and removes the tables of a family', async () => {
      bench.shim.configure(bench.options({ localAddresses: [LIP6], services: [service6()] }));
      await bench.shim.start();
      const tables = async () =>
        (await bench.lab.snapshot()).filter(line => line.startsWith('nft: table')).map(line => line.slice(5));
      const of = (ip: string) => ['', '_nat', '_refusal'].map(purpose => `table ${ip} uoa_uoa0${purpose} {`);
      const only6 = [...of('ip6'), 'table netdev uoa_uoa0 {'];
      expect((await tables()).sort()).toEqual([...only6].sort());
      await bench.reload({});
      await serves();
      expect((await tables()).sort()).toEqual([...only6, ...of('ip')].sort());
      await bench.reload({ localAddresses: [LIP6], services: [service6()] });
      expect((await tables()).sort()).toEqual([...only6].sort());
      expect(await bench.shim.stop()).toBe(0);
      expect(await bench.lab.snapshot()).toEqual(before);
    });

    it('`plan` prints the commands that do what `run` does, and those that undo it', async () => {
      const { lb } = bench.lab;
      const other = { vip: VIP6_2, schedule: 'source-hash', realServers: [{ address: RIPS6[1] }] };
      bench.shim.configure(
        bench.options({ localAddresses: [LIP6], services: [service6(), service6(other)] }),
      );
      const up = await bench.shim.cli('plan', '--up');
      const down = await bench.shim.cli('plan', '--down');
      expect([up.code, down.code]).toEqual([0, 0]);
      expect(await bench.lab.snapshot()).toEqual(before);

      await bench.shim.start();
      const running = await bench.lab.snapshot();
      expect((await bench.shim.cli('plan', '--up')).stdout).toBe(up.stdout);
      await bench.shim.stop();

      await lb.must(['sh', '-e'], up.stdout);
      expect(planned(await bench.lab.snapshot())).toEqual(planned(running));
      await lb.must(['sh', '-e'], down.stdout);
      expect(await bench.lab.snapshot()).toEqual(before);
    });
  },
);
