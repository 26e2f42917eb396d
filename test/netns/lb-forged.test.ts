/**
 * Marks and ACKs that others made up: no client ever sees an ACK, and no client passes for another one.
 *
 *   clients                    LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 LIP ----+---- RS 1 10.10.2.2: uoa-shim
 *                                  :7001 -> RS 1, :7002 -> RS 2      `---- RS 2 10.10.2.3: none, but forged ACKs
 */
import { describe, expect, it } from 'vitest';
import { pattern } from '../support/apps.js';
import { said, useLbBench } from '../support/lb-bench.js';
import { intoTun, LB_CLIENTS_MAC, LIP, LIP_2, PORT, RIPS, VIP } from '../support/lb-lab.js';
import { missing } from '../support/netns.js';
import { type Mark, mark, type PacketSpec, type Seen, text, Wire } from '../support/wire.js';

const CARRIERS = ['ipo', 'opp'] as const;
/** To the RS with a shim, and to the one without. */
const MARKED = `${VIP}:7001`;
const PLAIN = `${VIP}:7002`;
const SERVICES = RIPS.map((address, n) => ({
  ...{ vip: VIP, port: 7001 + n },
  realServers: [{ address, port: PORT }],
}));
const SOMEBODY_ELSE = '192.0.2.99:4242';

type Way = Required<
  Pick<PacketSpec, 'source' | 'sourcePort' | 'destination' | 'destinationPort' | 'payload'>
>;

/** Whose a mark is; without one there is no telling. */
const nameOf = (found: Mark | null | undefined) => (found ? `${found.client}:${found.port}` : undefined);

describe.skipIf(missing() !== undefined).each(CARRIERS)('forged ACKs, %s in use', carrier => {
  const bench = useLbBench({
    loadBalancer: { carrier, services: SERVICES, localAddresses: [LIP, LIP_2] },
    marked: [true, false],
  });

  /** The way of a packet from the second RS to whom `seen` came from. */
  const answering = (seen: Seen): Way => ({
    ...{ source: RIPS[1], sourcePort: seen.destinationPort ?? 0 },
    ...{ destination: seen.source, destinationPort: seen.sourcePort ?? 0, payload: '' },
  });

  /** Everything that may look like an ACK of a flow, except for the right one. */
  function wrong(to: Way, client: string): PacketSpec[] {
    const whose = CARRIERS.flatMap(kind => [
      { ...to, mark: mark(SOMEBODY_ELSE, kind) },
      { ...to, mark: mark(`${client.split(':')[0]}:1`, kind) },
      { ...to, mark: mark('2001:db8::7:5555', kind) },
      { ...to, mark: mark('0.0.0.0:0', kind) },
    ]);
    const other = carrier === 'ipo' ? 'opp' : 'ipo';
    const option = '1f0815b3cb007107';
    const ports = `${hex16(to.sourcePort)}${hex16(to.destinationPort)}`;
    return [
      ...whose,
      { ...to, mark: mark(client, other) },
      // Lengths that no mark has, and a list that ends in the middle of one.
      ...['1f04', '1f06', '1f0a', '1f0c', '1f28', '1f00', '1fff'].map(head => ({
        ...to,
        options: head.padEnd(head === '1f28' ? 80 : 24, '0'),
      })),
      // opp with headers that contradict themselves, and with nothing in them.
      ...['1011000c', '10110008', '10110004', '1011ffff', '2011000c', '1006000c', '0011000c', 'ffffffff'].map(
        head => ({
          ...{ source: to.source, destination: to.destination, protocol: 248 },
          body: `${head}${option}${ports}00080000`,
        }),
      ),
      { source: to.source, destination: to.destination, protocol: 248, body: '' },
      { source: to.source, destination: to.destination, protocol: 248, body: '10' },
    ];
  }

  /** Flows to both RS, as the second one saw its half of them: of the client and where to answer. */
  async function flows(count: number): Promise<{ client: string; seen: Seen }[]> {
    const from = bench.now;
    const clients = Array.from({ length: count }, () => bench.freshClient());
    for (const client of clients)
      await bench.clients.send({ from: client, target: PLAIN, payloads: [text(client)] });
    await bench.clients.talk([bench.freshClient()], MARKED);
    const seen = await bench.arrived(1, from);
    expect(seen.map(({ mark: found }) => nameOf(found)).sort()).toEqual([...clients].sort());
    return seen.map(packet => ({ client: nameOf(packet.mark) ?? '', seen: packet }));
  }

  /** Sends them and waits until they must have been seen to. */
  async function flood(packets: PacketSpec[]): Promise<void> {
    for (let i = 0; i < packets.length; i += 500) await bench.wires[1].send(...packets.slice(i, i + 500));
    await bench.clients.talk([bench.freshClient()], MARKED, { rounds: 3 });
  }

  /** What the clients got that was no answer, and the echo of what they said to the RS without a shim. */
  async function uncalledFor(from: number): Promise<string[]> {
    const seen = await bench.clients.unasked(from);
    return seen
      .filter(({ client, payload }) => said(payload) !== client)
      .map(({ event, client, payload }) => `${event} ${client} ${payload}`);
  }

  it('never reach a client, whatever is in them', async () => {
    const from = bench.now;
    const known = await flows(20);
    const unknown = Array.from({ length: 40 }, (_, i) => ({
      ...{ source: RIPS[1], destination: i % 2 === 0 ? LIP : LIP_2 },
      ...{ sourcePort: PORT + (i % 3), destinationPort: 30000 + i, payload: '' },
    }));
    const forged = [
      ...known.flatMap(({ client, seen }) => wrong(answering(seen), client)),
      ...unknown.flatMap(to => [...wrong(to, SOMEBODY_ELSE), { ...to, mark: mark(SOMEBODY_ELSE, carrier) }]),
      // From somebody who is no RS, and the right bytes in the wrong place.
      ...known.map(({ client, seen }) => ({
        ...answering(seen),
        source: '10.10.2.99',
        mark: mark(client, carrier),
      })),
      ...known.map(({ client, seen }) => ({
        ...answering(seen),
        sourcePort: 9,
        mark: mark(client, carrier),
      })),
    ];
    const counted = await bench.shim.counted(async () => {
      for (let round = 0; round < 3; round++) await flood(forged);
    });
    expect(await uncalledFor(from.clients)).toEqual([]);
    // What is no UOA at all is no ACK, and counted as malformed.
    expect((counted.acks_unmatched ?? 0) + (counted.dropped_malformed ?? 0)).toBeGreaterThan(
      forged.length * 2,
    );
    expect(counted.acks_received).toBe(3);

    // None of that was one flow's ACK.
    const clients = new Set(known.map(({ client }) => client));
    for (const flow of (await bench.shim.flows()).filter(({ client }) => clients.has(client)))
      expect(flow).toMatchObject({ packets: 1, replies: 0, datapath: 'tun' });
  });

  it('and neither do right ones, of which the first counts', async () => {
    const from = bench.now;
    const known = await flows(10);
    const right = known.map(({ client, seen }) => ({ ...answering(seen), mark: mark(client, carrier) }));
    const counted = await bench.shim.counted(() => flood([...right, ...right, ...right]));
    expect(counted).toMatchObject({ acks_received: right.length * 3 + 1, flows_acked: right.length + 1 });
    expect(counted.acks_unmatched).toBeUndefined();
    expect(await uncalledFor(from.clients)).toEqual([]);

    // Acknowledged, if not by a shim: no more marks.
    const later = bench.now;
    const before = await intoTun(bench.lab.lb);
    for (const { client } of known)
      await bench.clients.send({ from: client, target: PLAIN, payloads: [text(client)] });
    for (const { client } of known) await bench.clients.got(client, text(client), later.clients);
    expect((await bench.arrived(1, later)).map(({ mark: found }) => found)).toEqual(known.map(() => null));
    expect(await intoTun(bench.lab.lb)).toBe(before);
  });

  it('an answer with a mark in it reaches the client without', async () => {
    const [{ client, seen }] = await flows(1);
    const from = bench.now;
    for (const kind of CARRIERS) {
      const payload = text(`an answer in ${kind}`);
      await bench.wires[1].send({ ...answering(seen), payload, mark: mark(SOMEBODY_ELSE, kind) });
      expect(await bench.clients.got(client, payload, from.clients)).toMatchObject({ peer: PLAIN });
    }
  });

  it('do not reach a client when the shim is killed', async () => {
    const known = await flows(10);
    expect(await bench.shim.stop('SIGKILL')).toBe(-1);
    const from = bench.now;
    const forged = known.flatMap(({ client, seen }) => [
      ...wrong(answering(seen), client),
      ...CARRIERS.map(kind => ({ ...answering(seen), mark: mark(client, kind) })),
    ]);
    await flood(forged);
    expect(await uncalledFor(from.clients)).toEqual([]);
    // Nor is there an answer to the RS: what does not go through is dropped without a word.
    const refused = bench.wires[1].events.slice(from.wires[1]).filter(({ protocol }) => protocol === 1);
    expect(refused).toEqual([]);
    await bench.shim.start();
    await bench.clients.talk([bench.freshClient()], MARKED);
  });
});

describe.skipIf(missing() !== undefined).each(CARRIERS)('marks that a client forges, %s in use', carrier => {
  /** wire.py among the clients: it sends what no socket would. */
  let outside: Wire;
  const bench = useLbBench({
    loadBalancer: { carrier, services: SERVICES },
    prepare: async ({ lab }) => {
      outside = await Wire.start(lab.clients, LB_CLIENTS_MAC);
    },
  });

  const [address, port] = ['c0000263', '1092'];
  const forged = `1f08${port}${address}`;
  /** As much as the LB's own mark has to leave alone. */
  const variants: [string, string, number][] = [
    ['alone', forged, 1],
    ['behind NOPs', `01010101${forged}`, 1],
    ['twice', forged + forged, 2],
    ['among others', `9e04cafe${forged}9e04f00d`, 1],
    ['for IPv6', `1f14${port}20010db8000000000000000000000007`, 1],
    ['of a strange length', '1f06abcdef01', 1],
    ['in a full header', `1f28${'ab'.repeat(38)}`, 1],
    ['in a full header, at its end', `9e20${'a5'.repeat(30)}${forged}`, 1],
  ];

  it.each(variants)('are taken out of a first datagram and a tenth one: %s', async (_, options, marks) => {
    const from = bench.now;
    const client = bench.freshClient();
    const talk = () => bench.clients.talk([client], MARKED, { rounds: 4 });
    const send = async (payload: string) => {
      await bench.clients.send({ from: client, target: MARKED, payloads: [text(payload)], options });
      await bench.clients.got(client, text(payload), from.clients);
      await bench.clients.send({ from: client, target: MARKED, payloads: [] });
    };
    const counted = await bench.shim.counted(async () => {
      await send('first');
      await talk();
      await talk();
      await send('tenth');
    });
    expect(counted.marks_forged).toBe(marks * 2);
    expect((counted.marks_inserted ?? 0) + (counted.marks_standalone ?? 0)).toBe(1);

    const received = await bench.received(0, from);
    expect(received).toHaveLength(10);
    for (const { client: seen } of received) expect(seen).toBe(client);
    const arrived = await bench.arrived(0, from);
    expect(arrived.flatMap(({ mark: found }) => nameOf(found) ?? [])).toEqual([client]);
    // Their place is kept, by NOPs.
    const last = arrived.find(({ payload }) => payload === text('tenth'));
    expect(last).toMatchObject({ headerChecksumGood: true, udpChecksum: 'good', mark: null });
    expect(last?.options).toHaveLength(Math.ceil(options.length / 8) * 8);
    expect(last?.options).not.toContain(port + address);
  });

  it('are taken out of the first of several fragments', async () => {
    const from = bench.now;
    const [whose, payload] = [bench.freshClient(), pattern(4000)];
    const big = { from: whose, target: MARKED, payloads: [payload], options: forged, dontFragment: false };
    const counted = await bench.shim.counted(async () => {
      await bench.clients.send(big);
      await bench.clients.got(whose, payload, from.clients);
    });
    expect(counted).toMatchObject({ marks_forged: 1, marks_standalone: 1 });
    expect(await bench.received(0, from)).toMatchObject([{ client: whose, payload }]);
    const marks = (await bench.arrived(0, from)).flatMap(({ mark: found }) => nameOf(found) ?? []);
    expect(marks).toEqual([whose]);
  });

  it('do not slip by with a hop too few, nor as a protocol of their own', async () => {
    const from = bench.now;
    const whose = bench.freshClient();
    // The LB's own hop is the last but one: none is left for the way into the TUN.
    await bench.clients.send({
      from: whose,
      target: MARKED,
      payloads: [text('low')],
      options: forged,
      ttl: 2,
    });
    await bench.clients.send({ from: whose, target: MARKED, payloads: [] });
    const [source, sourcePort] = [whose.split(':')[0], Number(whose.split(':')[1])];
    const way = { source, sourcePort, destination: VIP, destinationPort: 7001 };
    await outside.send(
      ...CARRIERS.map(kind => ({ ...way, payload: text(kind), mark: mark(SOMEBODY_ELSE, kind) })),
    );
    expect(await bench.clients.talk([whose], MARKED, { rounds: 3 })).toMatchObject({ answered: 3 });
    const arrived = await bench.arrived(0, from);
    expect(arrived.flatMap(({ mark: found }) => nameOf(found) ?? [])).toContain(whose);
    for (const { mark: found } of arrived) expect([undefined, whose]).toContain(nameOf(found));
    expect(arrived.map(({ payload }) => said(payload))).not.toContain('low');
    for (const { client } of await bench.received(0, from)) expect(client).toBe(whose);
  });

  it('do not get through when the shim is killed', async () => {
    const whose = bench.freshClient();
    expect(await bench.clients.talk([whose], MARKED, { rounds: 3 })).toMatchObject({ answered: 3 });
    expect(await bench.shim.stop('SIGKILL')).toBe(-1);
    const from = bench.now;
    for (const name of [whose, bench.freshClient()]) {
      const datagram = { from: name, target: MARKED, payloads: [text('dead')], options: forged };
      await bench.clients.send(datagram);
      await bench.clients.send({ ...datagram, options: `01${forged}` });
      await bench.clients.send({ from: name, target: MARKED, payloads: [] });
      // Without options everything goes on.
      expect(await bench.clients.talk([name], MARKED)).toMatchObject({ answered: 1 });
    }
    expect((await bench.arrived(0, from)).map(({ options }) => options)).toEqual(['', '']);
    expect((await bench.received(0, from)).map(({ client }) => client)).toEqual([
      whose,
      expect.stringMatching(new RegExp(`^${LIP}:`)),
    ]);
    await bench.shim.start();
  });

  it('are taken out where there are to be no marks at all', async () => {
    const other = bench.freshClient();
    const from = bench.now;
    await bench.reload({ services: SERVICES, carrier, maxTrails: 0 });
    await bench.clients.send({ from: other, target: MARKED, payloads: [text('who?')], options: forged });
    await bench.clients.got(other, text('who?'), from.clients);
    const [seen] = await bench.received(0, from);
    expect(seen.client).toMatch(new RegExp(`^${LIP}:`));
    expect(seen.options).toBe('01'.repeat(8));
  });
});

function hex16(value: number): string {
  return value.toString(16).padStart(4, '0');
}
