/**
 * The whole chain: many clients, the load balancer with its shim beside the kernel's NAT, two real servers with
 * theirs, and applications that know nothing of it.
 *
 *   clients                    LB: nftables and uoa-shim                        RS 1 and 2: uoa-shim, echo on 7000
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 10.10.2.1 LIP ----+---- eth0 10.10.2.2
 *                                  198.51.100.11 VIP_2       10.10.2.10 LIP_2  `---- eth0 10.10.2.3
 *                              rp_filter strict everywhere
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FlowAnswer } from '#shim/daemon/control/answers.js';
import { pattern } from '../../support/apps.js';
import { type BenchTime, START, said, useLbBench } from '../../support/lb-bench.js';
import {
  CLIENTS,
  client,
  intoTun,
  LIP,
  LIP_2,
  PORT,
  RIPS,
  TARGET,
  VIP,
  VIP_2,
} from '../../support/lb-lab.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { Shim } from '../../support/shim.js';
import type { Seen } from '../../support/wire.js';

const PORTS = 3;
const ROUNDS = 5;
const FLOWS = CLIENTS * PORTS;

const everyone = Array.from({ length: CLIENTS }, (_, n) => client(n));
/** Those of all clients, on some ports from `first` on. The kernel remembers whose marks were acknowledged. */
const socketsFrom = (first: number) =>
  everyone.flatMap(address => Array.from({ length: PORTS }, (_, i) => `${address}:${first + i}`));
const sockets = socketsFrom(5000);
/** Of two groups of tests on one load balancer. */
const FIRST_PORT = { ipo: 5000, opp: 6000 };

describe.skipIf(missing() !== undefined)('the chain', () => {
  // The network cards leave checksums to each other here, as they do in life.
  const bench = useLbBench({ lab: { offload: true }, stopped: true });

  describe.each(['ipo', 'opp'] as const)('with %s', carrier => {
    const sockets = socketsFrom(FIRST_PORT[carrier]);
    /** Before this carrier's first datagram. */
    let start: BenchTime;
    beforeAll(async () => {
      start = bench.now;
      await bench.restart({ carrier, localAddresses: [LIP, LIP_2] });
    });

    /** LIP:lport -> RIP:rport of each marked packet, and whom it names. */
    const named = (packets: Seen[]): Map<string, string> =>
      new Map(
        packets.map(({ source, sourcePort, destination, destinationPort, mark }) => [
          `${source}:${sourcePort} ${destination}:${destinationPort}`,
          `${mark?.client}:${mark?.port}`,
        ]),
      );

    let flows: FlowAnswer[];

    it('every application sees the real client from the first datagram on, and the clients only the VIP', async () => {
      const talk = await bench.clients.talk(sockets, TARGET, { rounds: ROUNDS });
      expect(talk).toEqual({ sent: FLOWS * ROUNDS, answered: FLOWS * ROUNDS, lost: [] });
      // Nobody else had anything to say to a client, and nothing came twice.
      expect(await bench.clients.unasked(start.clients)).toEqual([]);

      const servers = await Promise.all([0, 1].map(n => bench.received(n, start)));
      for (const seen of servers) {
        expect(seen.length).toBeGreaterThan(0);
        for (const { client: source, payload } of seen)
          expect(said(payload)).toMatch(new RegExp(`^${source} `));
      }
      const clientsOf = servers.map(seen => new Set(seen.map(({ client: source }) => source)));
      expect(clientsOf[0].size + clientsOf[1].size).toBe(FLOWS);
      expect(new Set([...clientsOf[0], ...clientsOf[1]])).toEqual(new Set(sockets));
    });

    it('the first datagram of a flow, and no other, has a mark that names its client', async () => {
      const arrived = await bench.arrivedAtAll(start);
      expect(arrived).toHaveLength(FLOWS * ROUNDS);
      const marked = arrived.filter(({ mark }) => mark);
      expect(marked).toHaveLength(FLOWS);
      for (const { source, mark, payload } of marked) {
        expect([LIP, LIP_2]).toContain(source);
        expect(mark?.carrier).toBe(carrier);
        expect(said(payload)).toBe(`${mark?.client}:${mark?.port} 0`);
      }
      expect(new Set(marked.map(({ source }) => source)).size).toBe(2);
    });

    it('the counters agree with what was sent', async () => {
      const stats = await bench.shim.stats();
      expect(stats).toMatchObject({
        ...{ marks_inserted: FLOWS, marks_standalone: 0, marks_forged: 0 },
        ...{ acks_received: FLOWS, acks_unmatched: 0, flows_acked: FLOWS, flows: FLOWS },
        flows_released: FLOWS,
        ...{ dropped_malformed: 0, dropped_io: 0, packets_ignored: 0, flows_evicted: 0 },
      });
      expect(stats.packets_seen).toBe(stats.marks_inserted + stats.acks_received + stats.packets_unmarked);
      expect(await intoTun(bench.lab.lb)).toBe(stats.packets_seen);
      // With the packet behind its ACK a flow is released.
      expect(stats.packets_unmarked).toBeGreaterThanOrEqual(FLOWS);
      for (const server of bench.servers)
        expect(await server?.stats()).toMatchObject({ uoa_miss: 0, uoa_invalid: 0 });
    });

    it('`flows` lists every flow as it was seen on the wire', async () => {
      flows = await bench.shim.flows();
      const listed = new Map(flows.map(flow => [`${flow.lb} ${flow.server}`, flow.client]));
      expect(listed).toEqual(named((await bench.arrivedAtAll(start)).filter(({ mark }) => mark)));
      for (const flow of flows) expect(flow).toMatchObject({ carrier, datapath: 'kernel', replies: 1 });
    });

    it('`flows` and `lookup` find flows by each of their ends', async () => {
      const { shim } = bench;
      const some = flows.filter((_, i) => i % 250 === 0);
      const counted = await shim.counted(async () => {
        for (const { lb, server, client: whose } of some) expect(await shim.lookup(lb, server)).toBe(whose);
        expect(await shim.lookup(`${LIP}:1`, `${RIPS[0]}:${PORT}`)).toBe(null);
      });
      expect(counted).toEqual({ lookup_success: some.length, lookup_miss: 1 });
      expect(await shim.flows({ client: client(7) })).toHaveLength(PORTS);
      expect(await shim.flows({ client: sockets[0] })).toMatchObject([{ client: sockets[0] }]);
      const by = await Promise.all([
        ...RIPS.map(address => shim.flows({ server: address })),
        ...[LIP, LIP_2].map(address => shim.flows({ lb: address })),
      ]);
      expect(by[0].length + by[1].length).toBe(FLOWS);
      expect(by[2].length + by[3].length).toBe(FLOWS);
    });

    it('released flows never see the TUN', async () => {
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      const some = sockets.filter((_, i) => i % 4 === 0);
      expect(await bench.clients.talk(some, TARGET, { rounds: 3 })).toMatchObject({
        answered: some.length * 3,
      });
      expect(await intoTun(bench.lab.lb)).toBe(before);
      for (const { mark, options } of await bench.arrivedAtAll(from))
        expect({ mark, options }).toEqual({ mark: null, options: '' });
    });

    it('datagrams that the sender’s kernel cut (UDP_SEGMENT) arrive with the client', async () => {
      const from = bench.now;
      const [whole, whose] = [pattern(6000), bench.freshClient()];
      await bench.clients.send({ from: whose, target: TARGET, payloads: [whole], segment: 1000 });
      const received = await eventually('all are there', async () => {
        const datagrams = await bench.receivedByAll(from);
        return datagrams.length >= 6 ? datagrams : undefined;
      });
      expect(received.map(({ client: source }) => source)).toEqual(Array.from({ length: 6 }, () => whose));
      expect(received.map(({ payload }) => payload).join('')).toBe(whole);
    });

    it('`status` says healthy, without warnings', async () => {
      expect(await bench.shim.status()).toMatchObject({
        ...{ state: 'running', role: 'load-balancer', tun: 'uoa0', healthy: true, warnings: [] },
        pid: bench.shim.program?.pid,
      });
    });
  });
});

describe.skipIf(missing() !== undefined)('real servers with nft-ingress', () => {
  const bench = useLbBench({ realServers: { routing: { steering: 'nft-ingress' } }, stopped: true });

  it.each(['ipo', 'opp'] as const)('their applications see the clients, %s', async carrier => {
    await bench.restart({ carrier });
    const from = bench.now;
    const some = socketsFrom(FIRST_PORT[carrier]).filter((_, i) => i % 6 === 0);
    const talk = await bench.clients.talk(some, TARGET, { rounds: ROUNDS });
    expect(talk).toEqual({ sent: some.length * ROUNDS, answered: some.length * ROUNDS, lost: [] });
    const received = await bench.receivedByAll(from);
    expect(received).toHaveLength(some.length * ROUNDS);
    for (const { client: source, payload } of received) expect(said(payload)).toContain(`${source} `);
    expect(await bench.shim.stats()).toMatchObject({
      marks_inserted: some.length,
      flows_acked: some.length,
    });
  });
});

/**
 *   LB: eth1 10.10.2.1 LIP ----(switch)---- RS 1 eth0 10.10.2.2
 *       eth2 10.10.3.1 --------------------- RS 2 eth1 10.10.3.2
 *       lo   198.51.100.12
 */
describe.skipIf(missing() !== undefined)('real servers on two links', () => {
  const [vip, lip, rip] = ['198.51.100.12', '10.10.3.1', '10.10.3.2'];
  const target = `${vip}:${PORT}`;
  const loadBalancers = [LIP, lip].map(address => ({ prefix: `${address}/32` }));
  let second: Shim;
  const bench = useLbBench({
    marked: [true, false],
    realServers: { loadBalancers },
    loadBalancer: {
      interface: { clients: 'eth0' },
      localAddresses: [LIP, lip],
      services: [
        { vip, port: PORT, schedule: 'round-robin', realServers: [{ address: RIPS[0] }, { address: rip }] },
      ],
    },
    prepare: async ({ lab }) => {
      const [first, other] = lab.rs;
      await lab.lb.ip(`link add eth2 type veth peer name eth1 netns ${other.name}`);
      await lab.lb.ip(`address add ${lip}/24 dev eth2`);
      await lab.lb.ip(`address add ${vip}/32 dev lo`);
      await lab.lb.ip('link set eth2 up');
      await other.ip('address flush dev eth0');
      await other.ip(`address add ${rip}/24 dev eth1`);
      await other.ip('link set eth1 up');
      await other.ip(`route add default via ${lip}`);
      await first.ip(`route add default via ${LIP}`);
      second = new Shim(other, {
        loadBalancers,
        services: [{ address: rip, port: PORT }],
        realServer: { interface: 'eth1' },
      });
      await second.start();
    },
  });
  afterAll(() => second?.dispose());

  it('the applications on both see the clients, and the ACKs of both count', async () => {
    const some = sockets.slice(0, 100);
    const talk = await bench.clients.talk(some, target, { rounds: ROUNDS });
    expect(talk).toEqual({ sent: some.length * ROUNDS, answered: some.length * ROUNDS, lost: [] });
    const received = await bench.receivedByAll(START);
    for (const { client: source, payload } of received) expect(said(payload)).toContain(`${source} `);
    for (const n of [0, 1])
      expect(new Set((await bench.received(n, START)).map(({ client: source }) => source)).size).toBe(50);
    expect(await bench.shim.stats()).toMatchObject({
      marks_inserted: 100,
      flows_acked: 100,
      acks_unmatched: 0,
    });
  });
});

describe.skipIf(missing() !== undefined)('a flow table', () => {
  // Conntrack is to remember flows for longer than the shim.
  const bench = useLbBench({ loadBalancer: { maxFlows: 16, flowTimeout: 1, conntrackTimeout: false } });

  it('a flow table that is too small evicts flows, and loses neither datagrams nor clients', async () => {
    const some = sockets.slice(0, 96);
    const counted = await bench.shim.counted(async () => {
      const talk = await bench.clients.talk(some, TARGET, { rounds: ROUNDS });
      expect(talk).toEqual({ sent: some.length * ROUNDS, answered: some.length * ROUNDS, lost: [] });
    });
    expect(counted.flows_evicted).toBeGreaterThanOrEqual(some.length - 16);
    for (const { client: source, payload } of await bench.receivedByAll(START))
      expect(said(payload)).toContain(`${source} `);
  });

  it('idle flows expire, and the kernel still forwards those that were released', async () => {
    const known = bench.freshClient();
    expect(await bench.clients.talk([known], TARGET, { rounds: ROUNDS })).toMatchObject({ answered: ROUNDS });
    await eventually('it is empty', async () => (await bench.shim.flows()).length === 0 || undefined);
    const from = bench.now;
    expect(await bench.clients.talk([known], TARGET, { rounds: ROUNDS })).toMatchObject({ answered: ROUNDS });
    for (const { mark } of await bench.arrivedAtAll(from)) expect(mark).toBeNull();
    expect((await bench.shim.stats()).flows_expired).toBeGreaterThan(0);
  });
});

// ---- who gets a flow -------------------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined)('the schedules by IPv4', () => {
  const to = (port: number, schedule: string, weights: readonly number[], vip = VIP) => ({
    ...{ vip, port, schedule },
    realServers: RIPS.map((address, n) => ({ address, port: PORT, weight: weights[n] })),
  });
  const bench = useLbBench({
    loadBalancer: {
      services: [
        to(7001, 'source-hash', [1, 1]),
        to(7002, 'source-hash', [1, 3]),
        to(7003, 'round-robin', [3, 1]),
        to(7004, 'random', [1, 3]),
        to(7005, 'source-hash', [0, 2]),
        to(7001, 'round-robin', [1, 0], VIP_2),
      ],
      localAddresses: [LIP, LIP_2],
    },
  });

  /** The flows that each application got, of one datagram each. */
  async function share(target: string, from: readonly string[]): Promise<string[][]> {
    const start = bench.now;
    expect(await bench.clients.talk(from, target)).toMatchObject({ answered: from.length, lost: [] });
    const received = await Promise.all([0, 1].map(n => bench.received(n, start)));
    return received.map(seen => seen.map(({ client: source }) => source));
  }

  const addressOf = (name: string) => name.slice(0, name.indexOf(':'));
  const of = (port: number, addresses = everyone) => addresses.map(address => `${address}:${port}`);

  it('source-hash: a client stays with its server, whatever its port', async () => {
    const shares = await share(`${VIP}:7001`, [...of(6001), ...of(6002), ...of(6003)]);
    const addresses = shares.map(names => new Set(names.map(addressOf)));
    expect(addresses[0].size + addresses[1].size).toBe(CLIENTS);
    // The hash and its seed are always the same, so this is no matter of luck.
    expect(Math.abs(addresses[0].size - CLIENTS / 2)).toBeLessThan(CLIENTS / 6);
  });

  it('source-hash: servers get clients by weight', async () => {
    const shares = await share(`${VIP}:7002`, of(6001));
    expect(Math.abs(shares[0].length - CLIENTS / 4)).toBeLessThan(CLIENTS / 10);
  });

  it('round-robin: servers get flows in turn, by weight', async () => {
    const shares = await share(`${VIP}:7003`, [...of(6001), ...of(6002)]);
    expect(shares.map(names => names.length)).toEqual([(CLIENTS * 2 * 3) / 4, (CLIENTS * 2) / 4]);
  });

  it('random: servers get flows by weight, on average', async () => {
    const shares = await share(`${VIP}:7004`, [...of(6001), ...of(6002)]);
    // 100 of 400 are expected, give or take 9; five times that is as good as never.
    expect(Math.abs(shares[0].length - CLIENTS / 2)).toBeLessThan(45);
    const again = await share(`${VIP}:7004`, [...of(6003), ...of(6004)]);
    expect(again).not.toEqual(shares);
  });

  it('a server with weight 0 gets no flows, and each VIP has servers of its own', async () => {
    expect((await share(`${VIP}:7005`, of(6001)))[0]).toEqual([]);
    expect((await share(`${VIP_2}:7001`, of(6001)))[1]).toEqual([]);
  });

  it('a client’s port has the same local address in all flows, and both addresses are used', async () => {
    const flows = await bench.shim.flows();
    const lip = (of: FlowAnswer) => addressOf(of.lb);
    const first = new Map(flows.map(flow => [flow.client, lip(flow)]));
    for (const flow of flows) expect(lip(flow)).toBe(first.get(flow.client));
    const share = flows.filter(flow => lip(flow) === LIP).length;
    expect(Math.abs(share - flows.length / 2)).toBeLessThan(flows.length / 10);
  });

  it('a datagram to a port of no service is not forwarded', async () => {
    const from = bench.now;
    await bench.clients.send({ from: bench.freshClient(), target: `${VIP}:7999`, payloads: ['00'] });
    await bench.clients.talk([bench.freshClient()], `${VIP}:7001`);
    expect(await bench.arrivedAtAll(from)).toHaveLength(1);
  });
});
