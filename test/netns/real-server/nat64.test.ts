/**
 * Clients of one family behind a load balancer of the other (NAT64 and NAT46).
 *
 *   LB namespace (wire.py)                        RS namespace
 *     10.99.1.1 LIP: IPv6 clients, 20-byte marks    10.99.1.2 RIP, .20 RIP_2        7000 a socket for each family
 *     fd00:99:1::1 LIP6: IPv4 clients, marks  ----  fd00:99:1::2 RIP6, ::20 RIP6_2  7001 the same, bound to RIP, RIP6
 *                        of 8 and 6 bytes                                           7002 one socket for both
 */
import { describe, expect, it } from 'vitest';
import { App, pattern } from '../../support/apps.js';
import { useBench } from '../../support/bench.js';
import { freshNumber, freshPattern, freshPort, freshText, inOrder, reversed } from '../../support/fresh.js';
import {
  DIRECT,
  DIRECT6,
  type Lab,
  LIP,
  LIP6,
  missing,
  RIP,
  RIP_2,
  RIP6,
  RIP6_2,
} from '../../support/netns.js';
import type { ShimOptions } from '../../support/shim.js';
import { STEERINGS, Stage, type Steering } from '../../support/stage.js';
import {
  endpoint,
  exceptIdentification,
  isAck,
  mark,
  type PacketSpec,
  type Seen,
  text,
} from '../../support/wire.js';

/** From a load balancer of one family; the application's side is of the other. */
const DIRECTIONS = [
  {
    ...{ name: 'IPv6 clients by IPv4', client: '2001:db8::7', carriers: ['ipo', 'opp'] as const },
    ...{ lb: LIP, server: RIP, server2: RIP_2, partner: RIP6, fragmentAt: 1456, network: 4, host: 6 },
    own: '203.0.113.77:7777',
  },
  {
    ...{ name: 'IPv4 clients by IPv6', client: '203.0.113.7', carriers: ['dstopt', 'opp'] as const },
    ...{ lb: LIP6, server: RIP6, server2: RIP6_2, partner: RIP, fragmentAt: 1448, network: 6, host: 4 },
    own: '[2001:db8::77]:7777',
  },
] as const;
type Direction = (typeof DIRECTIONS)[number];

/** As they stand in the packet, client port 5555. */
const BYTES: Record<string, string> = {
  'ipo 4': '1f1415b320010db8000000000000000000000007',
  'opp 4': '201100181f1415b320010db8000000000000000000000007',
  'dstopt 6': '11011f0615b3cb007107010400000000',
  'opp 6': '1011000c1f0815b3cb007107',
};
const PORTS = { wildcard: 7000, bound: 7001, dual: 7002 };
const MTU = 1500;

const options = (nat64: 'keep' | 'deliver', steering: Steering, prefixes = [LIP, LIP6]): ShimOptions => ({
  routing: { steering },
  loadBalancers: prefixes.map(prefix => ({ prefix: `${prefix}/${prefix === LIP6 ? 128 : 32}` })),
  services: [RIP, RIP_2, RIP6, RIP6_2].map(address => ({ address, port: '7000-7009' })),
  realServer: { nat64 },
});

/** A client that nobody has been yet: answers find the flow by it. */
const freshClient = ({ client }: Pick<Direction, 'client'>) => endpoint(client, 10_000 + freshNumber());

/** Applications, one for each family. */
type Sockets = Record<number, App>;

async function startPair({ rs }: Lab, port: number, addresses: readonly [string, string]): Promise<Sockets> {
  const [app4, app6] = await Promise.all(
    addresses.map(address => App.start(rs, 'echo', port, '--bind', address)),
  );
  return { 4: app4, 6: app6 };
}

describe.skipIf(missing() !== undefined).each(STEERINGS)('nat64: deliver, by %s', steering => {
  let wildcard: Sockets;
  let bound: Sockets;
  let dual: App;
  const bench = useBench({
    shim: options('deliver', steering),
    prepare: async ({ lab }) => {
      [wildcard, bound, dual] = await Promise.all([
        startPair(lab, PORTS.wildcard, ['0.0.0.0', '::']),
        startPair(lab, PORTS.bound, [RIP, RIP6]),
        App.start(lab.rs, 'echo', PORTS.dual, '--bind', '::', '--dual'),
      ]);
    },
  });

  /** Sends a packet; what the application of the client's family saw, and what came back to the load balancer. */
  async function exchange(direction: Direction, packet: PacketSpec, app = wildcard[direction.host]) {
    const payload = packet.payload ?? freshText();
    const [fromApp, from] = [app.now, bench.wire.now];
    const { lb: source, server: destination } = direction;
    await bench.wire.send({ source, destination, sourcePort: freshPort(), ...packet, payload });
    const seen = await app.got(payload, fromApp);
    return { seen, answer: await bench.wire.answer(payload, from) };
  }

  function expectAnswer(answer: Seen, { lb, server }: Direction, packet: PacketSpec): void {
    expect(answer).toMatchObject({
      ...{ source: packet.destination ?? server, sourcePort: packet.destinationPort ?? 7000 },
      ...{ destination: lb, destinationPort: packet.sourcePort, protocol: 17, udpChecksum: 'good' },
      ...(lb === LIP ? { headerChecksumGood: true } : { headers: [] }),
    });
  }

  describe.each(DIRECTIONS)('$name', direction => {
    it.each(direction.carriers)(
      'a mark in %s shows the client, and its ACK is right to the byte',
      async carrier => {
        const { wire, shim } = bench;
        const { lb, server, partner, network } = direction;
        const client = endpoint(direction.client, 5555);
        const sourcePort = freshPort();
        const from = wire.now;
        for (const spec of [{ mark: mark(client, carrier) }, {}, {}]) {
          const { seen, answer } = await exchange(direction, { sourcePort, ...spec });
          expect(seen).toMatchObject({ client, local: partner, options: '' });
          expectAnswer(answer, direction, { sourcePort });
        }

        const [ack, ...others] = wire.since(from).filter(isAck);
        expect(others).toEqual([]);
        expect(ack.hex).toContain(BYTES[`${carrier} ${network}`]);
        const expected = await wire.encode({
          ...{ source: server, sourcePort: 7000, destination: lb, destinationPort: sourcePort, payload: '' },
          ...{ mark: mark(client, carrier), checksum: 'good', dontFragment: true },
        });
        // The kernel fills in IPv4's identification.
        const bytes = network === 4 ? exceptIdentification : (hex: string) => hex;
        expect(bytes(ack.hex)).toBe(bytes(expected));

        const ends = { lb: endpoint(lb, sourcePort), server: endpoint(server, 7000) };
        expect(await shim.lookup(ends.lb, ends.server)).toBe(client);
        expect(await shim.flows({ lb: ends.lb })).toMatchObject([
          { ...ends, client, carrier, packets: 3, replies: 3 },
        ]);
      },
    );

    it('answers of bound sockets, and of one for both families, arrive at the load balancer', async () => {
      const shown =
        direction.host === 6
          ? (client: string) => client
          : (client: string) => `[::ffff:${client.replace(':', ']:')}`;
      for (const [destinationPort, app, as] of [
        [PORTS.bound, bound[direction.host], (client: string) => client],
        [PORTS.dual, dual, shown],
      ] as const) {
        const ends = { sourcePort: freshPort(), destinationPort };
        const client = freshClient(direction);
        for (const spec of [{ mark: mark(client, direction.carriers[0]) }, {}]) {
          const { seen, answer } = await exchange(direction, { ...ends, ...spec }, app);
          expect(seen.client).toBe(as(client));
          expectAnswer(answer, direction, ends);
        }
      }
    });

    it('answers of a wildcard socket come from the address that was asked', async () => {
      for (const destination of [direction.server2, direction.server]) {
        const ends = { sourcePort: freshPort(), destination };
        const client = freshClient(direction);
        for (const spec of [{ mark: mark(client, direction.carriers[0]) }, {}]) {
          const { seen, answer } = await exchange(direction, { ...ends, ...spec });
          expect(seen.client).toBe(client);
          expectAnswer(answer, direction, ends);
        }
      }
    });

    it('a standalone packet is learned, and not delivered', async () => {
      const { lb: source, server: destination } = direction;
      const client = freshClient(direction);
      const sourcePort = freshPort();
      const apps = Object.values(wildcard);
      const before = apps.map(app => app.now);
      const marked = { sourcePort, payload: '', mark: mark(client, direction.carriers[0]) };
      await bench.wire.send({ source, destination, ...marked });
      expect((await exchange(direction, { sourcePort })).seen.client).toBe(client);
      expect(apps.flatMap((app, i) => app.clients(before[i]))).toEqual([client]);
    });

    it.each([2, 64, 255])('traffic class and hops (%i) are translated', async ttl => {
      const sourcePort = freshPort();
      const client = freshClient(direction);
      for (const spec of [{ mark: mark(client, direction.carriers[0]) }, {}]) {
        const { seen } = await exchange(direction, { sourcePort, ttl, tos: 0xb8, ...spec });
        expect(seen).toMatchObject({ client, ttl, tos: 0xb8 });
      }
    });

    it.each(direction.carriers)(
      'datagrams in fragments arrive both ways, with marks in %s too',
      async carrier => {
        const client = freshClient(direction);
        const { lb: source, server: destination, fragmentAt, network } = direction;
        const ends = { source, destination, sourcePort: freshPort() };
        const marked = { mark: mark(client, carrier), checksum: 'good' as const };
        await exchange(direction, { ...ends, ...marked });
        // IPv6 has `opp` without extension headers only: not in fragments.
        const specs = carrier === 'opp' && network === 6 ? [{}] : [marked, {}];
        for (const size of [9000, 65000])
          for (const spec of specs)
            for (const order of [inOrder, reversed]) {
              const payload = freshPattern(size + 8);
              const packet = { ...ends, ...spec, payload, fragmentAt, identification: freshNumber() };
              const fragmentOrder = order((await bench.wire.fragments(packet)).length);
              const { seen, answer } = await exchange(direction, { ...packet, fragmentOrder });
              expect(seen.client).toBe(client);
              expectAnswer(answer, direction, ends);
              expect(answer.event).toBe('datagram');
              expect(Math.max(...(answer.sizes ?? [Number.NaN]))).toBeLessThanOrEqual(MTU);
            }
      },
    );

    it('clients of the load balancer’s family are served without translation', async () => {
      const { own } = direction;
      const sourcePort = freshPort();
      for (const spec of [{ mark: mark(own, direction.carriers[0]) }, {}]) {
        const packet = { sourcePort, ...spec };
        const { seen, answer } = await exchange(direction, packet, wildcard[direction.network]);
        expect(seen).toMatchObject({ client: own, local: direction.server });
        expectAnswer(answer, direction, packet);
      }
    });

    it('a new mark changes the client’s family, and back', async () => {
      const sourcePort = freshPort();
      const { own } = direction;
      const foreign = freshClient(direction);
      for (const [client, app] of [
        [own, wildcard[direction.network]],
        [foreign, wildcard[direction.host]],
        [own, wildcard[direction.network]],
      ] as const)
        for (const spec of [{ mark: mark(client, direction.carriers[0]) }, {}]) {
          const { seen, answer } = await exchange(direction, { sourcePort, ...spec }, app);
          expect(seen.client).toBe(client);
          expectAnswer(answer, direction, { sourcePort });
        }
    });
  });

  // ---- no checksum -------------------------------------------------------------------------------------------

  it.each(['ipo', 'opp'] as const)('a datagram without a checksum arrives with one (%s)', async carrier => {
    const [direction] = DIRECTIONS;
    const sourcePort = freshPort();
    const client = freshClient(direction);
    // Even, odd, nothing but zeros.
    for (const payload of [text('even'), text('odd'), '00'.repeat(1400)])
      for (const spec of [{ mark: mark(client, carrier) }, {}]) {
        const { seen } = await exchange(direction, { sourcePort, payload, checksum: 'zero', ...spec });
        expect(seen.client).toBe(client);
      }
  });

  it('a datagram in fragments without a checksum shows the load balancer', async () => {
    const [direction] = DIRECTIONS;
    const sourcePort = freshPort();
    const client = freshClient(direction);
    await exchange(direction, { sourcePort, mark: mark(client, 'ipo') });
    const torn = { sourcePort, payload: pattern(4000), checksum: 'zero', fragmentAt: 1472 } as const;
    const { seen, answer } = await exchange(direction, torn, wildcard[4]);
    expect(seen.client).toBe(endpoint(LIP, sourcePort));
    expectAnswer(answer, direction, { sourcePort });
    expect((await exchange(direction, { sourcePort })).seen.client).toBe(client);
  });
});

// ---- keep ------------------------------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined)('nat64: keep', () => {
  let apps: Sockets;
  const bench = useBench({
    shim: options('keep', 'policy-routing'),
    prepare: async ({ lab }) => {
      apps = await startPair(lab, 7000, ['0.0.0.0', '::']);
    },
  });

  it.each(
    DIRECTIONS.flatMap(direction =>
      direction.carriers.map(carrier => [direction.name, carrier, direction] as const),
    ),
  )(
    '%s, %s: the application sees the load balancer, and look-ups the client',
    async (_, carrier, { lb: source, server: destination, client: address, network }) => {
      const { wire, shim } = bench;
      const sourcePort = freshPort();
      const client = endpoint(address, sourcePort);
      const ends = { lb: endpoint(source, sourcePort), server: endpoint(destination, 7000) };
      for (const spec of [{ mark: mark(client, carrier) }, {}]) {
        const payload = freshText();
        const from = wire.now;
        await wire.send({ source, destination, sourcePort, payload, ...spec });
        expect(await apps[network].got(payload)).toMatchObject({ client: ends.lb, local: destination });
        expect(await wire.answer(payload, from)).toMatchObject({
          ...{ source: destination, destination: source, destinationPort: sourcePort, udpChecksum: 'good' },
        });
        const acks = wire.since(from).filter(isAck);
        expect(acks.map(ack => ack.mark)).toEqual(spec.mark === undefined ? [] : [spec.mark]);
      }
      expect(await shim.lookup(ends.lb, ends.server)).toBe(client);
      expect(await shim.flows({ client })).toMatchObject([{ ...ends, client, carrier, packets: 2 }]);
    },
  );
});

// ---- hosts that load balancers of one family reach -------------------------------------------------------------

describe.skipIf(missing() !== undefined).each(STEERINGS)('nat64: deliver, by %s', steering => {
  it.each(DIRECTIONS)(
    '$name: clients are served with strict rp_filter and without a default route, and the end restores the host',
    ({ lb: source, server: destination, host, ...direction }) =>
      Stage.in(
        async stage => {
          const { rs } = stage.lab;
          await rs.sysctl('net.ipv4.conf.eth0.rp_filter', 1);
          const apps: Sockets = { 4: stage.app, 6: await App.start(rs, 'echo', 7000, '--bind', '::') };
          const before = await rs.snapshot();
          const shim = await stage.running(options('deliver', steering, [source]));
          const sourcePort = freshPort();
          const client = freshClient(direction);
          for (const spec of [{ mark: mark(client, direction.carriers[0]) }, {}]) {
            const packet = { source, destination, sourcePort, ...spec };
            const { client: seen, answer } = await stage.exchange(packet, { app: apps[host] });
            expect(seen).toBe(client);
            expect(answer).toMatchObject({ source: destination, destination: source, udpChecksum: 'good' });
            expect(answer.destinationPort).toBe(sourcePort);
          }
          for (const [family, source, destination] of [
            [4, DIRECT, RIP],
            [6, DIRECT6, RIP6],
          ] as const) {
            const packet = { source, destination, sourcePort };
            const { client: seen, answer } = await stage.exchange(packet, { app: apps[family] });
            expect(seen).toBe(endpoint(source, sourcePort));
            expect(answer).toMatchObject({ source: destination, destination: source, udpChecksum: 'good' });
          }
          expect(await shim.stop()).toBe(0);
          expect(await rs.snapshot()).toEqual(before);
        },
        { defaultRoute: false },
      ),
  );
});
