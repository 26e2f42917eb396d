/**
 * The load balancer in an IPv6 network, and in both at once: the whole chain.
 *
 *   clients                         LB: nftables and uoa-shim                       RS, each an echo on 7000, wire.py
 *   2001:db8:71::1 ... ::c8 ------ eth0 2001:db8:64::10 VIP6   eth1 fd00:10:2::1 ----+---- RS 1 fd00:10:2::2
 *   203.0.113.1 ... .200                198.51.100.10 VIP           10.10.2.1 LIP     `---- RS 2 fd00:10:2::3
 */
import { spawnSync } from 'node:child_process';
import { beforeAll, describe, expect, it } from 'vitest';
import { pattern } from '../../support/apps.js';
import { said, useLbBench } from '../../support/lb-bench.js';
import { Clients } from '../../support/lb-clients.js';
import {
  CLIENTS,
  client,
  client6,
  intoTun,
  LIP,
  LIP6,
  LIP6_2,
  PORT,
  RIPS6,
  TARGET,
  TARGET6,
  VIP6,
  VIP6_2,
} from '../../support/lb-lab.js';
import { addressOf, nameOf } from '../../support/lb-sides.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { endpoint, text } from '../../support/wire.js';

/**
 * What travels in IPv6 packets, and what IPv4 ones get where that is configured; clients' ports, as the kernel remembers
 * whose marks were acknowledged.
 */
const CARRIERS = [
  { carrier: 'dstopt', carrier4: 'ipo', firstPort: 5000 },
  { carrier: 'opp', carrier4: 'opp', firstPort: 6000 },
] as const;

const NO_CONNTRACK = spawnSync('sh', ['-c', 'command -v conntrack']).status !== 0;
if (NO_CONNTRACK) console.warn('\n*** SKIPPED: what conntrack says; apt-get install conntrack ***\n');

describe.skipIf(missing() !== undefined)('both families by turns', () => {
  let others: Clients;
  // The network cards leave checksums to each other here, as they do in life.
  const bench = useLbBench({
    lab: { ipv6: true, offload: true },
    stopped: true,
    prepare: async ({ lab }) => {
      others = await Clients.start(lab.clients);
    },
  });

  describe.each(CARRIERS)('$carrier', ({ carrier, carrier4, firstPort }) => {
    beforeAll(() => bench.restart({ carrier, localAddresses: [LIP, LIP6, LIP6_2] }));

    const ROUNDS = 5;
    const PORTS = [firstPort, firstPort + 1];
    const everyone = Array.from({ length: 50 }, (_, n) => n);
    const sockets = everyone.flatMap(n => PORTS.map(port => endpoint(client(n), port)));
    const sockets6 = everyone.flatMap(n => PORTS.map(port => endpoint(client6(n), port)));
    const FLOWS = sockets.length + sockets6.length;

    const carrierOf = (name: string) => (name.startsWith('[') ? carrier : carrier4);

    it('every application sees the real client from the first datagram on, and the clients only the VIPs', async () => {
      const from = { ...bench.now, others: others.now };
      const talks = await Promise.all([
        bench.clients.talk(sockets6, TARGET6, { rounds: ROUNDS }),
        others.talk(sockets, TARGET, { rounds: ROUNDS }),
      ]);
      for (const talk of talks)
        expect(talk).toEqual({ sent: (FLOWS / 2) * ROUNDS, answered: (FLOWS / 2) * ROUNDS, lost: [] });
      expect(await bench.clients.unasked(from.clients)).toEqual([]);
      expect(await others.unasked(from.others)).toEqual([]);

      const servers = await Promise.all([0, 1].map(n => bench.received(n, from)));
      const clientsOf = servers.map(seen => new Set(seen.map(({ client: source }) => source)));
      for (const { client: source, payload } of servers.flat())
        expect(said(payload).split(' ')[0]).toBe(source);
      expect(clientsOf[0].size + clientsOf[1].size).toBe(FLOWS);
      expect(new Set([...clientsOf[0], ...clientsOf[1]])).toEqual(new Set([...sockets, ...sockets6]));
      // By turns, each family by itself.
      for (const seen of clientsOf)
        expect([...seen].filter(name => name.startsWith('['))).toHaveLength(sockets6.length / 2);

      const arrived = await bench.arrivedAtAll(from);
      expect(arrived).toHaveLength(FLOWS * ROUNDS);
      const marked = arrived.filter(({ mark: found }) => found);
      expect(marked).toHaveLength(FLOWS);
      for (const { mark: found, payload, udpChecksum } of marked) {
        const name = nameOf(found) ?? '';
        expect(said(payload)).toBe(`${name} 0`);
        expect(found?.carrier).toBe(carrierOf(name));
        expect(udpChecksum).toBe('good');
      }
      expect(new Set(marked.map(({ source }) => source))).toEqual(new Set([LIP, LIP6, LIP6_2]));
    });

    it('counters and `flows` agree with what was sent', async () => {
      const stats = await bench.shim.stats();
      expect(stats).toMatchObject({
        ...{ marks_inserted: FLOWS, marks_standalone: 0, marks_forged: 0, flows: FLOWS },
        ...{ acks_received: FLOWS, acks_unmatched: 0, flows_acked: FLOWS, flows_released: FLOWS },
        ...{ dropped_malformed: 0, dropped_io: 0, packets_ignored: 0, flows_evicted: 0 },
      });
      expect(stats.packets_seen).toBe(stats.marks_inserted + stats.acks_received + stats.packets_unmarked);
      expect(await intoTun(bench.lab.lb)).toBe(stats.packets_seen);
      for (const server of bench.servers)
        expect(await server?.stats()).toMatchObject({ uoa_miss: 0, uoa_invalid: 0 });

      const flows = await bench.shim.flows();
      expect(flows.map(flow => flow.client).sort()).toEqual([...sockets, ...sockets6].sort());
      for (const flow of flows)
        expect(flow).toMatchObject({ carrier: carrierOf(flow.client), datapath: 'kernel', replies: 1 });
      for (const flow of flows.filter((_, i) => i % 50 === 0))
        expect(await bench.shim.lookup(flow.lb, flow.server)).toBe(flow.client);
      expect(await bench.shim.flows({ client: client6(7) })).toHaveLength(PORTS.length);
      const byLip = await Promise.all([LIP6, LIP6_2].map(address => bench.shim.flows({ lb: address })));
      expect(
        byLip
          .flat()
          .map(flow => flow.client)
          .sort(),
      ).toEqual([...sockets6].sort());
    });

    it('released flows never see the TUN, and their packets have no marks', async () => {
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      expect(await bench.clients.talk(sockets6, TARGET6, { rounds: 3 })).toMatchObject({ lost: [] });
      expect(await intoTun(bench.lab.lb)).toBe(before);
      const arrived = await bench.arrivedAtAll(from);
      expect(arrived).toHaveLength(sockets6.length * 3);
      for (const { mark: found, headers } of arrived)
        expect({ found, headers }).toEqual({ found: null, headers: [] });
    });

    it.skipIf(NO_CONNTRACK)(
      'a release sets a bit of its connection’s ctMark, and nothing else does',
      async () => {
        const marks = async () => {
          const list = await bench.lab.lb.must([
            'conntrack',
            '-L',
            '-f',
            'ipv6',
            '-p',
            'udp',
            '--dport',
            `${PORT}`,
          ]);
          return list.split('\n').flatMap(line => / mark=(\d+)/.exec(line)?.[1] ?? []);
        };
        const acknowledged = await marks();
        expect(acknowledged.length).toBeGreaterThanOrEqual(sockets6.length);
        expect(new Set(acknowledged)).toEqual(new Set([`${0x20}`]));
        // Nobody is there to ACK.
        await bench.servers[0]?.stop();
        await bench.servers[1]?.stop();
        const whose = bench.freshClient6();
        const from = bench.now;
        await bench.clients.send({ from: whose, target: TARGET6, payloads: [text('who?')] });
        await eventually('it came', async () => (await bench.arrivedAtAll(from)).length > 0 || undefined);
        expect((await marks()).sort()).toEqual(['0', ...acknowledged]);
        await Promise.all(bench.servers.map(server => server?.start()));
        expect(await bench.clients.talk([whose], TARGET6, { rounds: 3 })).toMatchObject({ lost: [] });
        await eventually('it is released', async () => !(await marks()).includes('0') || undefined);
      },
    );

    it('datagrams that the sender’s kernel cut (UDP_SEGMENT) arrive with the client', async () => {
      const from = bench.now;
      const [whole, whose] = [pattern(6000), bench.freshClient6()];
      await bench.clients.send({ from: whose, target: TARGET6, payloads: [whole], segment: 1000 });
      const received = await eventually('all are there', async () => {
        const datagrams = await bench.receivedByAll(from);
        return datagrams.length >= 6 ? datagrams : undefined;
      });
      expect(received.map(({ client: source }) => source)).toEqual(Array.from({ length: 6 }, () => whose));
      expect(received.map(({ payload }) => payload).join('')).toBe(whole);
    });
  });
});

describe.skipIf(missing() !== undefined)('the schedules by IPv6', () => {
  const to = (port: number, schedule: string, weights: readonly number[], vip = VIP6) => ({
    ...{ vip, port, schedule },
    realServers: RIPS6.map((address, n) => ({ address, port: PORT, weight: weights[n] })),
  });
  const bench = useLbBench({
    lab: { ipv6: true },
    loadBalancer: {
      localAddresses: [LIP6, LIP6_2],
      services: [
        to(7001, 'source-hash', [1, 1]),
        to(7002, 'source-hash', [1, 3]),
        to(7003, 'round-robin', [3, 1]),
        to(7004, 'random', [1, 3]),
        to(7001, 'round-robin', [1, 0], VIP6_2),
      ],
    },
  });
  const of = (port: number) => Array.from({ length: CLIENTS }, (_, n) => endpoint(client6(n), port));

  /** The flows that each application got, of one datagram each. */
  async function share(target: string, from: readonly string[]): Promise<string[][]> {
    const start = bench.now;
    expect(await bench.clients.talk(from, target)).toMatchObject({ answered: from.length, lost: [] });
    const received = await Promise.all([0, 1].map(n => bench.received(n, start)));
    const sources = received.map(seen => seen.map(({ client: source }) => source));
    expect(sources.flat().sort()).toEqual([...from].sort());
    return sources;
  }

  it('source-hash: a client stays with its server, whatever its port, and servers get clients by weight', async () => {
    const shares = await share(`[${VIP6}]:7001`, [...of(6001), ...of(6002)]);
    const addresses = shares.map(names => new Set(names.map(addressOf)));
    expect(addresses[0].size + addresses[1].size).toBe(CLIENTS);
    // The hash and its seed are always the same, so this is no matter of luck.
    expect(Math.abs(addresses[0].size - CLIENTS / 2)).toBeLessThan(CLIENTS / 6);
    const weighed = await share(`[${VIP6}]:7002`, of(6001));
    expect(Math.abs(weighed[0].length - CLIENTS / 4)).toBeLessThan(CLIENTS / 10);
  });

  it('round-robin: servers get flows in turn, by weight, and each VIP has servers of its own', async () => {
    const shares = await share(`[${VIP6}]:7003`, of(6001));
    expect(shares.map(names => names.length)).toEqual([(CLIENTS * 3) / 4, CLIENTS / 4]);
    expect((await share(`[${VIP6_2}]:7001`, of(6001)))[1]).toEqual([]);
  });

  it('random: servers get flows by weight, on average', async () => {
    const shares = await share(`[${VIP6}]:7004`, [...of(6001), ...of(6002)]);
    // 100 of 400 are expected, give or take 9; five times that is as good as never.
    expect(Math.abs(shares[0].length - CLIENTS / 2)).toBeLessThan(45);
  });

  it('a client’s port has the same local address in all flows, and both addresses are used', async () => {
    const flows = await bench.shim.flows();
    const first = new Map(flows.map(flow => [flow.client, addressOf(flow.lb)]));
    for (const flow of flows) expect(addressOf(flow.lb)).toBe(first.get(flow.client));
    const shared = flows.filter(flow => addressOf(flow.lb) === `[${LIP6}]`).length;
    expect(Math.abs(shared - flows.length / 2)).toBeLessThan(flows.length / 10);
  });
});
