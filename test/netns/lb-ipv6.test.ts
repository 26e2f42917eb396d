/**
 * The load balancer in an IPv6 network, and in both at once: the chain, and marks byte for byte.
 *
 *   clients                         LB: nftables and uoa-shim                       RS, each an echo on 7000, wire.py
 *   2001:db8:71::1 ... ::c8 ------ eth0 2001:db8:64::10 VIP6   eth1 fd00:10:2::1 ----+---- RS 1 fd00:10:2::2
 *   203.0.113.1 ... .200                198.51.100.10 VIP           10.10.2.1 LIP     `---- RS 2 fd00:10:2::3
 *
 * Both RS have a shim for the chain; for the rest RS 2 has none, so nobody there ACKs.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { pattern } from '../support/apps.js';
import { type BenchTime, said, useLbBench } from '../support/lb-bench.js';
import { Clients, type Datagrams } from '../support/lb-clients.js';
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
} from '../support/lb-lab.js';
import { addressOf, nameOf } from '../support/lb-sides.js';
import { missing } from '../support/netns.js';
import { eventually, Program, run } from '../support/process.js';
import { endpoint, mark, type PacketSpec, type Seen, text } from '../support/wire.js';

/** What travels in IPv6 packets; the one in a configuration that brings it about; and what IPv4 ones get with that. */
const CARRIERS = [
  { carrier: 'dstopt', configured: 'ipo', carrier4: 'ipo' },
  { carrier: 'opp', configured: 'opp', carrier4: 'opp' },
] as const;

/** To the RS with a shim, and to the one without. */
const MARKED = `[${VIP6}]:7001`;
const PLAIN = `[${VIP6}]:7002`;
const SERVICES = RIPS6.map((address, n) => ({
  ...{ vip: VIP6, port: 7001 + n },
  realServers: [{ address, port: PORT }],
}));
const HALF = { lab: { ipv6: true }, marked: [true, false] as const };
const HEADERS = 48;
/** Bytes that a mark adds, with either carrier. */
const ROOM = 24;
const ICMPV6 = 58;

const NO_TOOLS = ['tcpdump', 'tshark', 'conntrack'].some(
  tool => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0,
);
if (NO_TOOLS)
  console.warn(
    '\n*** SKIPPED: what tshark and conntrack say; apt-get install tcpdump tshark conntrack ***\n',
  );

// ---- the chain -------------------------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined).each(CARRIERS)('both families by turns, $carrier', variant => {
  const { carrier, carrier4 } = variant;
  const ROUNDS = 5;
  const PORTS = [5000, 5001];
  const everyone = Array.from({ length: 50 }, (_, n) => n);
  const sockets = everyone.flatMap(n => PORTS.map(port => endpoint(client(n), port)));
  const sockets6 = everyone.flatMap(n => PORTS.map(port => endpoint(client6(n), port)));
  const FLOWS = sockets.length + sockets6.length;

  let others: Clients;
  // The network cards leave checksums to each other here, as they do in life.
  const bench = useLbBench({
    lab: { ipv6: true, offload: true },
    loadBalancer: { carrier, localAddresses: [LIP, LIP6, LIP6_2] },
    prepare: async ({ lab }) => {
      others = await Clients.start(lab.clients);
    },
  });
  const carrierOf = (name: string) => (name.startsWith('[') ? carrier : carrier4);

  it('shows every application the real client from the first datagram on, and the clients only the VIPs', async () => {
    const from = bench.now;
    const talks = await Promise.all([
      bench.clients.talk(sockets6, TARGET6, { rounds: ROUNDS }),
      others.talk(sockets, TARGET, { rounds: ROUNDS }),
    ]);
    for (const talk of talks)
      expect(talk).toEqual({ sent: (FLOWS / 2) * ROUNDS, answered: (FLOWS / 2) * ROUNDS, lost: [] });
    for (const program of [bench.clients, others])
      expect((await program.unasked()).filter(({ event }) => event !== 'ready')).toEqual([]);

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

  it('counts and lists what was sent', async () => {
    const stats = await bench.shim.stats();
    expect(stats).toMatchObject({
      ...{ marks_inserted: FLOWS, marks_standalone: 0, marks_forged: 0, flows: FLOWS },
      ...{ acks_received: FLOWS, acks_unmatched: 0, flows_acked: FLOWS },
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
      expect(await bench.shim.lookup(flow.lb, flow.server)).toEqual({ code: 0, client: flow.client });
    expect(await bench.shim.flows('--client', client6(7))).toHaveLength(PORTS.length);
    const byLip = await Promise.all([LIP6, LIP6_2].map(address => bench.shim.flows('--lb', address)));
    expect(
      byLip
        .flat()
        .map(flow => flow.client)
        .sort(),
    ).toEqual([...sockets6].sort());
  });

  it('leaves acknowledged flows to the kernel, and to it alone', async () => {
    const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
    expect(await bench.clients.talk(sockets6, TARGET6, { rounds: 3 })).toMatchObject({ lost: [] });
    expect(await intoTun(bench.lab.lb)).toBe(before);
    const arrived = await bench.arrivedAtAll(from);
    expect(arrived).toHaveLength(sockets6.length * 3);
    for (const { mark: found, headers } of arrived)
      expect({ found, headers }).toEqual({ found: null, headers: [] });
  });

  it.skipIf(NO_TOOLS)('by a bit of their conntrack marks, set by the ACK', async () => {
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
    for (const server of bench.servers) await server?.start();
  });

  it('takes datagrams that the sender’s kernel made of one (UDP_SEGMENT)', async () => {
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

  it('source-hash: a client stays with its server, whatever its port; and by weight', async () => {
    const shares = await share(`[${VIP6}]:7001`, [...of(6001), ...of(6002)]);
    const addresses = shares.map(names => new Set(names.map(addressOf)));
    expect(addresses[0].size + addresses[1].size).toBe(CLIENTS);
    // The hash and its seed are always the same, so this is no matter of luck.
    expect(Math.abs(addresses[0].size - CLIENTS / 2)).toBeLessThan(CLIENTS / 6);
    const weighed = await share(`[${VIP6}]:7002`, of(6001));
    expect(Math.abs(weighed[0].length - CLIENTS / 4)).toBeLessThan(CLIENTS / 10);
  });

  it('round-robin: in turn, by weight; a weight of 0 gets nothing, and another VIP has its own', async () => {
    const shares = await share(`[${VIP6}]:7003`, of(6001));
    expect(shares.map(names => names.length)).toEqual([(CLIENTS * 3) / 4, CLIENTS / 4]);
    expect((await share(`[${VIP6_2}]:7001`, of(6001)))[1]).toEqual([]);
  });

  it('random: by weight, on the whole', async () => {
    const shares = await share(`[${VIP6}]:7004`, [...of(6001), ...of(6002)]);
    // 100 of 400 are expected, give or take 9; five times that is as good as never.
    expect(Math.abs(shares[0].length - CLIENTS / 2)).toBeLessThan(45);
  });

  it('the local address goes by the client and its port', async () => {
    const flows = await bench.shim.flows();
    const first = new Map(flows.map(flow => [flow.client, addressOf(flow.lb)]));
    for (const flow of flows) expect(addressOf(flow.lb)).toBe(first.get(flow.client));
    const shared = flows.filter(flow => addressOf(flow.lb) === `[${LIP6}]`).length;
    expect(Math.abs(shared - flows.length / 2)).toBeLessThan(flows.length / 10);
  });
});

// ---- marks -----------------------------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined)('marks per IPv6 flow', () => {
  const bench = useLbBench({ ...HALF, loadBalancer: { services: SERVICES } });

  describe.each(CARRIERS)('with $carrier', ({ carrier, configured }) => {
    /** Marks of the packets that came to the nth RS, in their order: what they name, or null. */
    async function marks(n: number, from: BenchTime): Promise<(string | null)[]> {
      const arrived = await bench.arrived(n, from);
      for (const { mark: found } of arrived) expect([undefined, carrier]).toContain(found?.carrier);
      return arrived.map(({ mark: found }) => nameOf(found) ?? null);
    }

    it.each([0, 1, 3, 5])('an RS that never ACKs gets %i at most', async maxTrails => {
      await bench.reload({ services: SERVICES, carrier: configured, maxTrails });
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      const whose = bench.freshClient6();
      const payloads = Array.from({ length: 8 }, (_, i) => text(`${whose} ${i}`));
      for (const payload of payloads) {
        await bench.clients.send({ from: whose, target: PLAIN, payloads: [payload] });
        // One by one: packets may pass others that are still on their way through the TUN.
        await bench.wires[1].event('it', seen => seen.payload === payload, from.wires[1]);
      }
      // What nobody there can read is refused (opp); everything else is answered.
      const readable = carrier === 'opp' ? payloads.slice(maxTrails) : payloads;
      for (const payload of readable) await bench.clients.got(whose, payload, from.clients);
      const received = await bench.received(1, from);
      expect(received.map(({ payload }) => payload)).toEqual(readable);
      for (const { client: seen } of received) expect(addressOf(seen)).toBe(`[${LIP6}]`);
      expect(await marks(1, from)).toEqual(payloads.map((_, i) => (i < maxTrails ? whose : null)));
      // The fourth packet and later ones never leave the kernel.
      expect((await intoTun(bench.lab.lb)) - before).toBe(maxTrails);
      expect(await bench.shim.flows('--client', whose)).toMatchObject(
        maxTrails === 0 ? [] : [{ carrier, packets: maxTrails, replies: 0, datapath: 'tun' }],
      );
      const refusals = (await bench.clients.unasked(from.clients)).filter(({ event }) => event === 'error');
      expect(refusals).toEqual([]);
    });

    it.each([1, 5])('an RS that ACKs at once gets one of %i', async maxTrails => {
      await bench.reload({ services: SERVICES, carrier: configured, maxTrails });
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      const clients = Array.from({ length: 10 }, () => bench.freshClient6());
      const talk = await bench.clients.talk(clients, MARKED, { rounds: 8 });
      expect(talk).toEqual({ sent: 80, answered: 80, lost: [] });
      const found = (await marks(0, from)).filter(named => named !== null);
      expect(found.sort()).toEqual([...clients].sort());
      // Each flow's ACK, and those of its first packets that came before the ACK was seen to.
      const passed = (await intoTun(bench.lab.lb)) - before;
      expect(passed).toBeGreaterThanOrEqual(clients.length * 2);
      expect(passed).toBeLessThanOrEqual(clients.length * (1 + maxTrails));
    });
  });
});

describe.skipIf(missing() !== undefined).each(CARRIERS)('on an IPv6 wire, $carrier', ({ carrier }) => {
  const bench = useLbBench({ ...HALF, loadBalancer: { services: SERVICES, carrier } });

  /** Sends from a socket of its own; gives what the RS without a shim saw of it, in the order it came. */
  async function seenOf(datagrams: Omit<Datagrams, 'from' | 'target'>, packets: number, target = PLAIN) {
    const from = bench.now;
    const whose = bench.freshClient6();
    await bench.clients.send({ from: whose, target, ...datagrams });
    const n = target === PLAIN ? 1 : 0;
    const seen = await eventually(`${packets} packets`, () => {
      const arrived = bench.wires[n].events
        .slice(from.wires[n])
        .filter(({ event, protocol }) => event === 'packet' && protocol !== ICMPV6);
      return arrived.length >= packets ? arrived : undefined;
    });
    expect(seen).toHaveLength(packets);
    return { client: whose, seen, from };
  }

  /** The packet as PROTOCOL.md has it, made by wire.py; what the kernels on the way chose is taken over. */
  function laidOut(seen: Seen, spec: PacketSpec): Promise<string> {
    return bench.wires[1].encode({
      ...{ source: LIP6, sourcePort: seen.sourcePort ?? 0, destination: RIPS6[1], destinationPort: PORT },
      ...{ flow: seen.flow ?? 0, ttl: 63, checksum: 'good' },
      ...spec,
    });
  }

  /** An empty datagram with nothing but a mark. */
  const standalone = (seen: Seen, whose: string) =>
    laidOut(seen, { payload: '', mark: mark(whose, carrier), ttl: 64, flow: 0 });

  it('a mark is right in front of UDP, and nothing else is changed', async () => {
    const payloads = ['one', 'two', 'three', 'four'].map(text);
    const { client: whose, seen } = await seenOf({ payloads }, 4);
    // Packets may pass others that are still on their way through the TUN.
    for (const packet of seen) {
      const marked = packet.payload !== payloads[3] && { mark: mark(whose, carrier) };
      expect(packet.hex).toBe(await laidOut(packet, { payload: packet.payload ?? '', ...marked }));
    }
    expect(seen.map(({ payload }) => payload).sort()).toEqual([...payloads].sort());
  });

  it.each([
    ['one byte', 1],
    ['the most that has room', 1500 - HEADERS - ROOM],
  ])('a mark goes into a datagram of %s', async (_, length) => {
    const payload = pattern(length);
    const { client: whose, seen } = await seenOf({ payloads: [payload] }, 1);
    expect(seen[0].hex).toBe(await laidOut(seen[0], { payload, mark: mark(whose, carrier) }));
    expect(seen[0].bytes).toBe(HEADERS + length + ROOM);
  });

  it.each([
    ['a byte too much', 1500 - HEADERS - ROOM + 1],
    ['all that the link takes', 1500 - HEADERS],
  ])('a mark goes ahead of a datagram of %s', async (_, length) => {
    const payload = pattern(length);
    const { client: whose, seen } = await seenOf({ payloads: [payload] }, 2);
    expect(seen[0].hex).toBe(await standalone(seen[0], whose));
    expect(seen[1].hex).toBe(await laidOut(seen[1], { payload }));
    // And to an RS with a shim, where it makes one whole.
    const other = await seenOf({ payloads: [payload] }, 2, MARKED);
    expect(await bench.apps6[0].got(payload, other.from.apps6[0])).toMatchObject({ client: other.client });
    expect(await bench.received(0, other.from)).toHaveLength(1);
    await bench.clients.got(other.client, payload, other.from.clients);
  });

  it('an empty first datagram is one, not none and not two', async () => {
    const { client: whose, seen } = await seenOf({ payloads: [''] }, 2);
    expect(seen[0].hex).toBe(await standalone(seen[0], whose));
    expect(seen[1].hex).toBe(await laidOut(seen[1], { payload: '' }));

    const other = await seenOf({ payloads: [''] }, 2, MARKED);
    expect(other.seen[0].mark).toEqual(mark(other.client, carrier));
    await bench.clients.got(other.client, '', other.from.clients);
    expect(await bench.received(0, other.from)).toMatchObject([{ client: other.client, payload: '' }]);
    // An ACK is an empty datagram too, and there may be one more only if the client sends one more.
    expect(await bench.clients.talk([other.client], MARKED, { rounds: 2 })).toMatchObject({ answered: 2 });
    expect(await bench.received(0, other.from)).toHaveLength(3);
    expect(await bench.clients.unasked(other.from.clients)).toHaveLength(1);
  });

  it('a datagram in fragments is whole at the other end, its mark ahead of it', async () => {
    const payload = pattern(5000);
    const { client: whose, seen } = await seenOf({ payloads: [payload], dontFragment: false }, 5);
    expect(seen[0].hex).toBe(await standalone(seen[0], whose));
    expect(seen.slice(1).map(({ fragment }) => fragment.offset)).toEqual([0, 1448, 2896, 4344]);
    const other = await seenOf({ payloads: [payload], dontFragment: false }, 5, MARKED);
    expect(await bench.apps6[0].got(payload, other.from.apps6[0])).toMatchObject({ client: other.client });
    expect(await bench.received(0, other.from)).toHaveLength(1);
    await bench.clients.got(other.client, payload, other.from.clients);
  });

  it('options of the client’s own stay, and the mark finds its place behind them or ahead', async () => {
    const payload = text('options');
    const count = carrier === 'opp' ? 2 : 1;
    const { client: whose, seen } = await seenOf({ payloads: [payload], options: '1e04cafe0102' }, count);
    const extensions = [{ type: 60, options: '1e04cafe0102' }];
    if (carrier === 'opp') {
      // It comes without extension headers only.
      expect(seen[0].hex).toBe(await standalone(seen[0], whose));
      expect(seen[1].hex).toBe(await laidOut(seen[1], { payload, extensions }));
    } else
      expect(seen[0].hex).toBe(await laidOut(seen[0], { payload, extensions, mark: mark(whose, carrier) }));
    const other = await seenOf({ payloads: [payload], options: '1e04cafe0102' }, count, MARKED);
    const got = await bench.apps6[0].got(payload, other.from.apps6[0]);
    expect(got.client).toBe(other.client);
    expect(got.options).toContain('1e04cafe0102');
    expect(got.options).not.toContain('1f12');
    expect(await bench.received(0, other.from)).toHaveLength(1);
  });

  it('hop limits are as the kernel has them, and the last hop is the last', async () => {
    const { seen } = await seenOf({ payloads: [text('hop')], ttl: 3 }, 1);
    expect(seen[0]).toMatchObject({ ttl: 2, mark: { carrier } });
    // With one hop left there is none for the way into the TUN.
    const last = await seenOf({ payloads: [text('last')], ttl: 2 }, 1);
    expect(last.seen[0]).toMatchObject({ ttl: 1, mark: null });
  });

  it('the MTU is that of the route to the RS', async () => {
    const { lb } = bench.lab;
    try {
      await lb.ip(`-6 route add ${RIPS6[1]}/128 dev eth1 mtu 1400`);
      const fits = pattern(1400 - HEADERS - ROOM);
      const inside = await seenOf({ payloads: [fits] }, 1);
      expect(inside.seen[0]).toMatchObject({
        payload: fits,
        mark: mark(inside.client, carrier),
        bytes: 1400,
      });
      const over = pattern(1400 - HEADERS - ROOM + 1);
      const ahead = await seenOf({ payloads: [over] }, 2);
      expect(ahead.seen[0].hex).toBe(await standalone(ahead.seen[0], ahead.client));
      expect(ahead.seen[1]).toMatchObject({ payload: over, mark: null });
    } finally {
      await lb.run(['ip', '-6', 'route', 'del', `${RIPS6[1]}/128`, 'dev', 'eth1']);
    }
  });

  it.skipIf(NO_TOOLS)('tshark reads the same, and so it does an ACK', async () => {
    const rs = bench.lab.rs[0];
    const file = join(bench.shim.directory, `${carrier}.pcap`);
    const tcpdump = ['tcpdump', '-i', 'eth0', '-p', '-U', '--immediate-mode', '-Z', 'root', '-w', file];
    const capture = rs.start(new Program(rs.command([...tcpdump, 'host', LIP6, 'and', 'not', 'icmp6'])));
    await eventually('tcpdump listens', () => capture.log.includes('listening on') || undefined);
    const { client: whose } = await seenOf({ payloads: [text('whose?')] }, 1, MARKED);
    const packets = await eventually('the mark, its ACK and the echo', async () => {
      const found = await dissect(file);
      return found.length >= 3 ? found : undefined;
    });
    await capture.end('SIGTERM');

    const named = `${hexPort(whose)}${hexAddress(whose)}`;
    const isMarked = ({ options, data }: Dissected) =>
      carrier === 'dstopt' ? options === named : data?.startsWith(`201100181f14${named}`);
    expect(packets.filter(isMarked).map(({ source }) => source)).toEqual([LIP6, RIPS6[0]]);
    expect(packets.map(({ next }) => next)).toEqual(carrier === 'dstopt' ? [60, 60, 17] : [248, 248, 17]);
    for (const { malformed, udpStatus } of packets) {
      expect(malformed).toBe(false);
      expect(udpStatus ?? '1').toBe('1');
    }
  });
});

// ---- somebody else's opinion -----------------------------------------------------------------------------------

interface Dissected {
  source: string | undefined;
  next: number;
  /** The data of the option that tshark finds among destination options, in hex. */
  options: string | undefined;
  /** What tshark takes for payload. */
  data: string | undefined;
  malformed: boolean;
  udpStatus: string | undefined;
}

/** tshark's view of each packet in a capture; a status of 1 is a good checksum. */
async function dissect(file: string): Promise<Dissected[]> {
  const { stdout } = await run(['tshark', '-r', file, '-T', 'pdml', '-o', 'udp.check_checksum:TRUE']);
  return stdout
    .split('<packet>')
    .slice(1)
    .map(packet => {
      const show = (name: string) => new RegExp(`name="${name}"[^>]* show="([^"]*)"`).exec(packet)?.[1];
      return {
        source: show('ipv6.src'),
        next: Number(show('ipv6.nxt')),
        options: /name="ipv6.opt.unknown"[^>]* value="([^"]*)"/.exec(packet)?.[1],
        data: /name="data.data"[^>]* value="([^"]*)"/.exec(packet)?.[1],
        malformed: packet.includes('_ws.malformed'),
        udpStatus: show('udp.checksum.status'),
      };
    });
}

function hexPort(name: string): string {
  return hex16(mark(name).port);
}

/** Of the addresses here, which have one gap each. */
function hexAddress(name: string): string {
  const [head, tail] = mark(name)
    .client.split('::')
    .map(part => part.split(':').map(word => word.padStart(4, '0')));
  return [...head, ...Array.from({ length: 8 - head.length - tail.length }, () => '0000'), ...tail].join('');
}

function hex16(value: number): string {
  return value.toString(16).padStart(4, '0');
}
