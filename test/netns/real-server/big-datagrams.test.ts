/**
 * Datagrams that are larger than the link's packets, up to the largest there are: both ways, in whatever order their
 * fragments come, and what fragments can do that are none.
 *
 *   LB namespace (wire.py)                        RS namespace
 *     10.99.1.1 LIP, fd00:99:1::1 LIP6           .-- uoa-shim
 *                              eth0, MTU 1500 ---- eth0 10.99.1.2 RIP, .20 RIP_2: echo on port 7000, wildcard
 *                                                       fd00:99:1::2 RIP6, ::20 RIP6_2: another
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { App, pattern } from '../../support/apps.js';
import { useBench } from '../../support/bench.js';
import { freshNumber, freshPattern, freshPort, inOrder, reversed } from '../../support/fresh.js';
import { LIP, LIP6, missing, RIP, RIP_2, RIP6, RIP6_2 } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { STEERINGS } from '../../support/stage.js';
import { mark, type PacketSpec, type Seen } from '../../support/wire.js';

/** What of UDP fits into an IP packet at most, in bytes. */
const LARGEST = 65507;
const MTU = 1500;

const FAMILY4 = { source: LIP, destination: RIP, other: RIP_2, client: '198.51.100.7' };
const FAMILY6 = { source: LIP6, destination: RIP6, other: RIP6_2, client: '[2001:db8::7]' };

/**
 * Sizes that the link can carry, and the largest datagram with a mark: those of `opp` and `dstopt` count as payload of
 * the IP packet. The first fragment has to hold all headers up to UDP's (RFC 7112 wants so of IPv6).
 */
const WAYS = [
  { carrier: 'ipo', ...FAMILY4, fragmentAt: 1472, headers: 8, largest: LARGEST },
  { carrier: 'opp', ...FAMILY4, fragmentAt: 1480, headers: 24, largest: LARGEST - 12 },
  { carrier: 'dstopt', ...FAMILY6, fragmentAt: 1448, headers: 32, largest: LARGEST - 4 },
] as const;
type Way = (typeof WAYS)[number];

/** So many bytes that no other datagram has, a missing or misplaced part of which would show. */

describe.skipIf(missing() !== undefined).each(STEERINGS)('big datagrams by %s', steering => {
  const apps = {} as Record<'4' | '6', App>;
  const bench = useBench({
    shim: {
      routing: { steering },
      loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP6}/128` }],
      services: [RIP, RIP_2, RIP6, RIP6_2].map(address => ({ address, port: 7000 })),
    },
    prepare: async ({ lab: { rs } }) => {
      [apps[4], apps[6]] = await Promise.all([
        App.start(rs, 'echo', 7000),
        App.start(rs, 'echo', 7000, '--bind', '::'),
      ]);
    },
  });

  const appOf = ({ source }: { source: string }) => (source === LIP6 ? apps[6] : apps[4]);
  const flowOf = (way: Way) => {
    const sourcePort = freshPort();
    const { source, destination, fragmentAt } = way;
    const client = `${way.client}:${sourcePort}`;
    const ends = { source, destination, sourcePort };
    return { client, mark: mark(client, way.carrier), ends, packet: { ...ends, fragmentAt } };
  };

  /** Sends a datagram in fragments; whom the application saw, and what came back for it, whole. */
  async function exchange(packet: PacketSpec & { source: string; payload: string }) {
    const app = appOf(packet);
    const [fromApp, from] = [app.now, bench.wire.now];
    await bench.wire.send({ identification: freshNumber(), ...packet });
    const { client, local } = await app.got(packet.payload, fromApp);
    return { client, local, answer: await bench.wire.answer(packet.payload, from) };
  }

  function expectWhole(answer: Seen, packet: PacketSpec): void {
    const { source, destination, sourcePort } = packet;
    expect(answer).toMatchObject({
      ...{ event: 'datagram', source: destination, sourcePort: 7000, destination: source },
      ...{
        destinationPort: sourcePort,
        udpChecksum: 'good',
        udpLength: 8 + (packet.payload ?? '').length / 2,
      },
    });
    expect(Math.max(...(answer.sizes ?? [Number.NaN]))).toBeLessThanOrEqual(MTU);
  }

  /** A client that is served, with or without fragments. */
  async function serves(way: Way, fragmented: boolean): Promise<void> {
    const { packet, ends, client, mark } = flowOf(way);
    const common = fragmented
      ? { ...packet, payload: freshPattern(4000) }
      : { ...ends, payload: freshPattern(1000) };
    expect((await exchange({ ...common, mark })).client).toBe(client);
    expect((await exchange({ ...common, payload: freshPattern(common.payload.length / 2) })).client).toBe(
      client,
    );
  }

  /** Sends things, and then a datagram that arrives: what the application got before that. */
  async function deliveredOf(way: Way, ...packets: PacketSpec[]): Promise<string[]> {
    const app = appOf(way);
    const from = app.now;
    await bench.wire.send(...packets);
    const { ends, client, mark } = flowOf(way);
    expect((await exchange({ ...ends, payload: freshPattern(1000), mark })).client).toBe(client);
    return app.events.slice(from, -1).map(({ payload }) => payload);
  }

  /**
   * What is in pieces inside `opp` has to be whole before it can go on, and there is room for a few of those; and of
   * others what comes before the first one. Waits until there is as much as so many bytes want.
   */
  async function untilRoom(way: Way, size = 4000): Promise<void> {
    await eventually('there is room for fragments', async () => {
      const { packet, mark } = flowOf(way);
      const delivered = await deliveredOf(way, {
        ...packet,
        payload: freshPattern(size),
        mark,
        identification: freshNumber(),
        // The first one last, so that all others have to be kept.
        fragmentOrder: reversed(Math.ceil((size + way.headers) / way.fragmentAt)),
      });
      return delivered.length === 1 || undefined;
    });
  }

  type Ends = ReturnType<typeof flowOf>['ends'];

  /** Protocol, options and body of the IP packet of a datagram, for cutting it up otherwise. */
  async function ipPacket(way: Way, ends: Ends, more: { payload: string; checksum?: 'zero' }) {
    const whole = await bench.wire.encode({ ...ends, mark: mark(`${way.client}:1`, way.carrier), ...more });
    if (way.carrier === 'dstopt') return { protocol: 60, options: '', body: whole.slice(80) };
    if (way.carrier === 'opp') return { protocol: 248, options: '', body: whole.slice(40) };
    return { protocol: 17, options: whole.slice(40, 56), body: whole.slice(56) };
  }

  /** A fragment of one's own making. */
  const piece =
    (
      ends: Ends,
      { protocol, options }: { protocol: number; options: string },
      identification = freshNumber(),
    ) =>
    (offset: number, body: string, more = true): PacketSpec => ({
      ...{ ...ends, protocol, identification, body, fragment: { offset, more } },
      ...(offset === 0 && { options }),
    });

  // ---- whole -------------------------------------------------------------------------------------------------

  describe.each(WAYS)('$carrier', way => {
    it.each([9000, way.largest])('%i bytes arrive both ways, in any order of fragments', async size => {
      const pieces = Math.ceil((size + 8) / way.fragmentAt) + 1;
      for (const order of [inOrder, reversed, shuffled]) {
        const { packet, client, mark } = flowOf(way);
        // One mark, and then what comes later: the largest there are.
        for (const spec of [{ mark }, {}, {}]) {
          const largest = size === way.largest && spec.mark === undefined ? LARGEST : size;
          const sent = { ...packet, payload: freshPattern(largest), ...spec };
          const count = (await bench.wire.fragments(sent)).length;
          expect(count).toBeLessThanOrEqual(pieces);
          const { client: seen, answer } = await exchange({ ...sent, fragmentOrder: order(count) });
          expect(seen, order.name).toBe(client);
          expectWhole(answer, sent);
        }
      }
    });

    it('a lost fragment loses its own datagram alone', async () => {
      const { packet, client, mark } = flowOf(way);
      const all = inOrder(
        (await bench.wire.fragments({ ...packet, payload: freshPattern(9000), mark })).length,
      );
      for (const lost of [0, 3, all.length - 1]) {
        const fragmentOrder = all.filter(i => i !== lost);
        const torn = {
          ...packet,
          payload: freshPattern(9000),
          mark,
          identification: freshNumber(),
          fragmentOrder,
        };
        expect(await deliveredOf(way, torn)).toEqual([]);
        expect((await exchange({ ...packet, payload: freshPattern(9000), mark })).client).toBe(client);
      }
    });

    it('duplicated fragments change nothing in their datagram', async () => {
      const { packet, client, mark } = flowOf(way);
      for (const order of [inOrder, reversed]) {
        const from = appOf(way).now;
        const sent = { ...packet, payload: freshPattern(9000), mark };
        const count = (await bench.wire.fragments(sent)).length;
        const twice = order(count).flatMap(i => [i, i]);
        const { client: seen, answer } = await exchange({ ...sent, fragmentOrder: twice });
        expect(seen).toBe(client);
        expectWhole(answer, sent);
        // One more, behind whatever might have been delivered twice.
        await exchange({ ...packet, payload: freshPattern(9000) });
        expect(appOf(way).clients(from)).toEqual([client, client]);
      }
    });

    it('two datagrams whose fragments come by turns arrive whole', async () => {
      const flows = [flowOf(way), flowOf(way)];
      const sent = flows.map(({ packet, mark }) => ({
        ...{ ...packet, mark, payload: freshPattern(9000), identification: freshNumber() },
      }));
      const fragments = await Promise.all(sent.map(packet => bench.wire.fragments(packet)));
      const app = appOf(way);
      const [from, fromWire] = [app.now, bench.wire.now];
      await bench.wire.send(...fragments[0].flatMap((raw, i) => [{ raw }, { raw: fragments[1][i] }]));
      for (const [i, { client }] of flows.entries()) {
        expect((await app.got(sent[i].payload, from)).client).toBe(client);
        expectWhole(await bench.wire.answer(sent[i].payload, fromWire), sent[i]);
      }
    });

    it('every fragment of a wildcard socket’s answer comes from the address that was asked', async () => {
      const { packet, client, mark } = flowOf(way);
      for (const spec of [{ mark }, {}]) {
        const sent = { ...packet, destination: way.other, payload: freshPattern(9000), ...spec };
        const { client: seen, local, answer } = await exchange(sent);
        expect([seen, local]).toEqual([client, way.other]);
        expectWhole(answer, sent);
      }
    });
  });

  // ---- not whole -------------------------------------------------------------------------------------------

  // Fragments are fragments, whichever way they came in.
  // Behind the TUN both steerings are one: once is enough.
  describe.each(steering === 'policy-routing' ? WAYS : [])('$carrier, not whole', way => {
    it('the smallest fragments that hold a whole header show the client', async () => {
      const { packet, client, mark } = flowOf(way);
      const sent = { ...packet, payload: freshPattern(240), mark, fragmentAt: way.headers };
      const count = (await bench.wire.fragments(sent)).length;
      await untilRoom(way);
      for (const order of [inOrder, reversed, shuffled])
        expect((await exchange({ ...sent, fragmentOrder: order(count) })).client, order.name).toBe(client);
    });

    it.each([
      ['a bit of the piece before it', 1432, 1440],
      ['the middle of a piece', 1448, 8],
      ['all but the first headers', 40, 1440],
    ])('an overlap of %s changes no byte of a datagram', async (_, offset, length) => {
      const { ends } = flowOf(way);
      // Without a checksum, where that is allowed, a mixture would be delivered.
      const checksum = way.carrier === 'dstopt' ? {} : { checksum: 'zero' as const };
      for (const isEarly of [true, false]) {
        await untilRoom(way);
        const payload = freshPattern(4000);
        const packet = await ipPacket(way, ends, { payload, ...checksum });
        const at = piece(ends, packet);
        const [one, two, three] = [
          ...[at(0, packet.body.slice(0, 2880)), at(1440, packet.body.slice(2880, 5760))],
          at(2880, packet.body.slice(5760), false),
        ];
        const bad = at(offset, 'ee'.repeat(length));
        const delivered = await deliveredOf(way, one, ...(isEarly ? [bad, two] : [two, bad]), three);
        expect(isEarly ? delivered : delivered.filter(what => what !== payload)).toEqual([]);
      }
    });

    it('fragments with impossible offsets and lengths disturb no other datagram', async () => {
      const { ends } = flowOf(way);
      const packet = await ipPacket(way, ends, { payload: freshPattern(4000) });
      const first = packet.body.slice(0, 2880);
      const filler = 'ee'.repeat(1440);
      type Lie = (at: ReturnType<typeof piece>) => PacketSpec[];
      const lies: Lie[] = [
        // Beyond what a packet can be.
        at => [at(0, first), at(65528, filler, false)],
        at => [at(65528, filler), at(0, first), at(64800, filler, false)],
        // Never a last one: as much as there is room for, and on.
        at => Array.from({ length: 46 }, (_, i) => at(i * 1440, i === 0 ? first : filler)),
        // Two ends; an end before what came already; pieces of no whole words; with nothing in them.
        at => [at(0, first), at(2880, filler, false), at(1440, filler, false)],
        at => [at(2880, filler), at(1440, filler, false), at(0, first)],
        at => [at(0, first.slice(0, -6)), at(1440, filler, false)],
        at => [at(0, first), at(1440, ''), at(1440, '', false)],
        at => [at(0, ''), at(0, '', false), at(8, '', false)],
        // A first one without room for the headers.
        ...[1, 4, 7, 8, 12, 20].map(
          (bytes): Lie =>
            at => [at(0, packet.body.slice(0, bytes * 2)), at(1440, filler, false)],
        ),
      ];
      for (const lie of lies) {
        await untilRoom(way);
        expect(await deliveredOf(way, ...lie(piece(ends, packet)))).toEqual([]);
      }
      await untilRoom(way);
      await serves(way, true);
    });
  });

  // ---- bounds ------------------------------------------------------------------------------------------------

  it('fragments without a first one take no more memory than is reserved', async () => {
    const { wire, shim } = bench;
    const orphans = WAYS.map(({ source, destination, carrier }) => ({
      ...{ source, destination, sourcePort: 1, body: pattern(1440), fragment: { offset: 1440, more: true } },
      protocol: { ipo: 17, opp: 248, dstopt: 60 }[carrier],
    }));
    const total = ({ fragments_held, fragments_dropped }: Record<string, number>) =>
      fragments_held + fragments_dropped;
    let identification = 30_000;
    const storm = async (rounds: number) => {
      // No other datagram has these.
      await wire.flood(
        orphans.map(packet => ({ ...packet, identification })),
        rounds,
      );
      identification += rounds;
      // In order nothing has to be held, but for what is inside `opp`.
      for (const way of WAYS) await serves(way, way.carrier !== 'opp');
    };
    const memory = () =>
      Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${shim.program?.pid}/status`, 'utf8'))?.[1]);

    await storm(500); // what is set aside has been touched then
    const [before, memoryBefore] = [await shim.stats(), memory()];
    for (let i = 0; i < 3; i++) await storm(2000);
    const sent = 3 * 2000 * orphans.length;
    expect(sent * 1440).toBeGreaterThan(24 << 20);
    expect(memory() - memoryBefore).toBeLessThan(12 << 10);
    expect(total(await shim.stats()) - total(before)).toBeGreaterThanOrEqual(sent);

    // And that is free again once nobody waits for the rest any more.
    for (const way of WAYS) await untilRoom(way, way.largest);
    expect((await shim.status()).healthy).toBe(true);
  });
});

/** The same order each time, and nothing like the right one. */
function shuffled(count: number): number[] {
  return inOrder(count).sort((a, b) => ((a * 7919 + 13) % 101) - ((b * 7919 + 13) % 101));
}
