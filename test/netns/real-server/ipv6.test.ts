/**
 * A real server in an IPv6 network: both carriers, what the application sees, what goes back, and what is left of it.
 *
 *   LB namespace (wire.py)                         RS namespace
 *     fd00:99:1::1 LIP6    ack: true          .-- uoa-shim: eth0 -> uoa0 -> socket, and the way back
 *               ::3 LIP6_2 ack: false   eth0 ---- eth0 fd00:99:1::2 RIP6, ::20 RIP6_2
 *               ::7 DIRECT6 no LB                  7000 wildcard  7001 bound  7002 connected sockets
 *     10.99.1.1 LIP                                7003 both families in one socket  7009 nobody
 *                                                 eth0 10.99.1.2 RIP:7000 wildcard
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { App } from '../../support/apps.js';
import { useBench } from '../../support/bench.js';
import { freshPort, freshText } from '../../support/fresh.js';
import { DIRECT6, LIP, LIP6, LIP6_2, missing, planned, RIP, RIP6, RIP6_2 } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import type { ShimOptions } from '../../support/shim.js';
import { STEERINGS, Stage, type Steering } from '../../support/stage.js';
import { endpoint, isAck, mark, type PacketSpec, type Seen, TO_SERVICE6 } from '../../support/wire.js';

const CARRIERS = ['dstopt', 'opp'] as const;

const CLIENT = '[2001:db8::7]:5555';
const CLIENT4 = '203.0.113.7:5555';
/** As they stand in front of UDP. */
const BYTES = {
  dstopt: '11021f1215b320010db80000000000000000000000070100',
  opp: '201100181f1415b320010db8000000000000000000000007',
};
const PORTS = { wildcard: 7000, bound: 7001, connected: 7002, dual: 7003 };
const CLOSED = 7009;
/** Unreachable: the port. */
const PORT_UNREACHABLE = { type: 1, code: 4 };
const SKIPPED_OPTION = '1e04cafe0102';

const options = (steering: Steering): ShimOptions => ({
  routing: { steering },
  loadBalancers: [
    { prefix: `${LIP6}/128` },
    { prefix: `${LIP6_2}/128`, ack: false },
    { prefix: `${LIP}/32` },
  ],
  services: [RIP6, RIP6_2, RIP].map(address => ({ address, port: '7000-7009' })),
});

const acksAmong = (seen: Seen[]) => seen.filter(isAck);

describe.skipIf(missing() !== undefined).each(STEERINGS)('IPv6 by %s', steering => {
  let apps: Record<keyof typeof PORTS | 'wildcard4', App>;
  const bench = useBench({
    shim: options(steering),
    prepare: async ({ lab: { rs } }) => {
      // Every error is to be seen.
      await rs.sysctl('net.ipv6.icmp.ratelimit', 0);
      const [wildcard, bound, connected, dual, wildcard4] = await Promise.all([
        App.start(rs, 'echo', PORTS.wildcard, '--bind', '::'),
        App.start(rs, 'echo', PORTS.bound, '--bind', RIP6),
        App.start(rs, 'connected', PORTS.connected, '--bind', '::'),
        App.start(rs, 'echo', PORTS.dual, '--bind', '::', '--dual'),
        App.start(rs, 'echo', PORTS.wildcard),
      ]);
      apps = { wildcard, bound, connected, dual, wildcard4 };
    },
  });

  /** Sends a packet; what the application saw, and its answer. */
  async function exchange(
    packet: PacketSpec,
    app = apps.wildcard,
  ): Promise<{ seen: Awaited<ReturnType<App['got']>>; answer: Seen }> {
    const payload = packet.payload ?? freshText();
    const [fromApp, fromWire] = [app.now, bench.wire.now];
    await bench.wire.send({ ...TO_SERVICE6, sourcePort: freshPort(), ...packet, payload });
    const seen = await app.got(payload, fromApp);
    return { seen, answer: await bench.wire.answer(payload, fromWire) };
  }

  const clientOf = async (packet: PacketSpec) => (await exchange(packet)).seen.client;

  // ---- marks -------------------------------------------------------------------------------------------------

  describe.each(CARRIERS)('%s', carrier => {
    it('the application sees the client, also without a mark later, and the ACK is right to the byte', async () => {
      const { wire, shim } = bench;
      const sourcePort = freshPort();
      const from = wire.now;
      const marked = { sourcePort, mark: mark(CLIENT, carrier) };
      expect(await wire.encode({ ...TO_SERVICE6, ...marked, payload: '' })).toContain(BYTES[carrier]);
      for (const packet of [marked, { sourcePort }, { sourcePort }]) {
        const { seen, answer } = await exchange(packet);
        expect(seen).toMatchObject({ client: CLIENT, local: RIP6, options: '' });
        expect(answer).toMatchObject({
          ...{ source: RIP6, sourcePort: 7000, destination: LIP6, destinationPort: sourcePort },
          ...{ protocol: 17, headers: [], udpChecksum: 'good' },
        });
      }

      const [ack, ...others] = acksAmong(wire.since(from));
      expect(others).toEqual([]);
      expect(ack).toMatchObject({ udpLength: 8, udpChecksum: 'good' });
      expect(ack.hex.slice(80)).toMatch(new RegExp(`^${BYTES[carrier]}`));
      const back = { source: RIP6, sourcePort: 7000, destination: LIP6, destinationPort: sourcePort };
      expect(ack.hex).toBe(await wire.encode({ ...back, payload: '', mark: marked.mark }));

      const ends = { lb: endpoint(LIP6, sourcePort), server: endpoint(RIP6, 7000) };
      expect(await shim.lookup(ends.lb, ends.server)).toBe(CLIENT);
      expect(await shim.flows({ lb: ends.lb })).toMatchObject([
        { ...ends, client: CLIENT, carrier, packets: 3, replies: 3 },
      ]);
    });

    it('a load balancer with ack: false gets no ACK', async () => {
      const { wire } = bench;
      const from = wire.now;
      expect(await clientOf({ source: LIP6_2, mark: mark(CLIENT, carrier) })).toBe(CLIENT);
      expect(await clientOf({ source: LIP6_2 })).toContain(LIP6_2);
      expect(acksAmong(wire.since(from))).toEqual([]);
    });

    it('a standalone packet is learned, acknowledged and not delivered', async () => {
      const { wire, shim } = bench;
      const sourcePort = freshPort();
      const [fromApp, fromWire] = [apps.wildcard.now, wire.now];
      const counted = await shim.counted(async () => {
        await wire.send({ ...TO_SERVICE6, sourcePort, payload: '', mark: mark(CLIENT, carrier) });
        expect(await clientOf({ sourcePort })).toBe(CLIENT);
      });
      expect(apps.wildcard.clients(fromApp)).toEqual([CLIENT]);
      expect(acksAmong(wire.since(fromWire))).toHaveLength(1);
      expect(counted).toMatchObject({ uoa_got: 1, uoa_standalone: 1, uoa_saved: 1, uoa_ack_sent: 1 });
      expect(counted.uoa_miss).toBeUndefined();
    });

    it('an impossible client is not learned, and the application sees the load balancer', async () => {
      const { wire, shim } = bench;
      const clients = ['::', '::1', 'ff02::1', 'ff0e::7', 'fe80::7', '::ffff:203.0.113.7', RIP6, RIP6_2];
      const impossible = [...clients.map(address => endpoint(address, 5555)), '[2001:db8::7]:0'];
      const from = wire.now;
      const counted = await shim.counted(async () => {
        for (const client of impossible) {
          const sourcePort = freshPort();
          const lb = endpoint(LIP6, sourcePort);
          expect(await clientOf({ sourcePort, mark: mark(client, carrier) }), client).toBe(lb);
          expect(await clientOf({ sourcePort }), client).toBe(lb);
        }
      });
      const each = impossible.length;
      expect(counted).toMatchObject({ uoa_got: each, uoa_invalid: each, uoa_none: each, uoa_miss: each });
      expect(counted.uoa_saved).toBeUndefined();
      expect(acksAmong(wire.since(from))).toEqual([]);
    });

    it('a datagram with a wrong checksum or none is dropped', async () => {
      const sourcePort = freshPort();
      const marked = { ...TO_SERVICE6, sourcePort, mark: mark(CLIENT, carrier) };
      expect(await clientOf(marked)).toBe(CLIENT);
      const from = apps.wildcard.now;
      for (const checksum of ['bad', 'zero'] as const)
        await bench.wire.send({ ...marked, payload: freshText(), checksum });
      expect(await clientOf({ sourcePort })).toBe(CLIENT);
      expect(apps.wildcard.clients(from)).toHaveLength(1);
    });

    it.each([2, 64, 255])('hop limit (%i), traffic class and flow label stay', async ttl => {
      const sourcePort = freshPort();
      for (const spec of [{ mark: mark(CLIENT, carrier) }, {}]) {
        const { seen } = await exchange({ sourcePort, ttl, tos: 0xb8, flow: 0xabcde, ...spec });
        expect(seen).toMatchObject({ client: CLIENT, ttl, tos: 0xb8, flow: 0xabcde });
      }
    });
  });

  it('a datagram without mark or flow counts as a miss, and shows the load balancer', async () => {
    const sourcePort = freshPort();
    const counted = await bench.shim.counted(async () => {
      expect(await clientOf({ sourcePort })).toBe(endpoint(LIP6, sourcePort));
    });
    expect(counted).toMatchObject({ uoa_none: 1, uoa_miss: 1, packets_delivered: 1, replies_passed: 1 });
  });

  it('a new mark changes the client from then on', async () => {
    const sourcePort = freshPort();
    for (const client of ['[2001:db8::9]:1', '[2001:db8::10]:2']) {
      expect(await clientOf({ sourcePort, mark: mark(client, 'dstopt') })).toBe(client);
      expect(await clientOf({ sourcePort })).toBe(client);
    }
  });

  it('direct clients and their marks are left alone', async () => {
    const { wire, shim } = bench;
    const sourcePort = freshPort();
    const from = wire.now;
    const counted = await shim.counted(async () => {
      for (const spec of [{}, { mark: mark(CLIENT, 'dstopt') }, {}]) {
        const { seen, answer } = await exchange({ source: DIRECT6, sourcePort, ...spec });
        expect(seen.client).toBe(endpoint(DIRECT6, sourcePort));
        expect(answer).toMatchObject({ source: RIP6, destination: DIRECT6, udpChecksum: 'good' });
      }
    });
    expect(acksAmong(wire.since(from))).toEqual([]);
    expect(counted).toEqual({ replies_passed: 3 });
  });

  // ---- other extension headers -------------------------------------------------------------------------------

  it.each([
    ['before the mark', SKIPPED_OPTION, ''],
    ['behind it', '', SKIPPED_OPTION],
    ['on both sides', SKIPPED_OPTION, SKIPPED_OPTION.repeat(2)],
    ['at an odd offset', `00${SKIPPED_OPTION}`, ''],
  ])('an option %s reaches the application', async (_, before, after) => {
    const sourcePort = freshPort();
    const { seen, answer } = await exchange({ sourcePort, mark: mark(CLIENT, 'dstopt'), before, after });
    expect(seen.client).toBe(CLIENT);
    expect(optionsIn(seen.options)).toEqual(optionsIn(`0000${before}${after}`));
    expect(answer.destinationPort).toBe(sourcePort);
  });

  it('a mark behind hop-by-hop options is found, and such options without a mark pass', async () => {
    const extensions = [{ type: 0, options: SKIPPED_OPTION }];
    const sourcePort = freshPort();
    expect(await clientOf({ sourcePort, extensions, mark: mark(CLIENT, 'dstopt') })).toBe(CLIENT);
    expect(await clientOf({ sourcePort, extensions })).toBe(CLIENT);
    const { seen } = await exchange({ sourcePort, before: SKIPPED_OPTION });
    expect(seen.client).toBe(CLIENT);
    expect(optionsIn(seen.options)).toEqual([SKIPPED_OPTION]);
  });

  // ---- replies -----------------------------------------------------------------------------------------------

  it.each(['wildcard', 'bound', 'connected', 'dual'] as const)(
    'answers of a %s socket arrive at LIP6:lport, whole and once',
    async kind => {
      const { wire } = bench;
      const sourcePort = freshPort();
      const client = `[2001:db8::${PORTS[kind]}]:5555`;
      const [from, fromApp] = [wire.now, apps[kind].now];
      for (const spec of [{ mark: mark(client, 'dstopt') }, {}, {}]) {
        const { answer } = await exchange({ sourcePort, destinationPort: PORTS[kind], ...spec }, apps[kind]);
        expect(answer).toMatchObject({
          ...{ source: RIP6, sourcePort: PORTS[kind], destination: LIP6, destinationPort: sourcePort },
          ...{ udpChecksum: 'good', headers: [] },
        });
      }
      expect(wire.since(from).filter(seen => !seen.mark)).toHaveLength(3);
      expect(apps[kind].clients(fromApp)).toEqual([client, client, client]);
      if (kind === 'connected')
        expect(apps[kind].events.slice(fromApp).map(({ socket }) => socket)).toEqual([
          ...['wildcard', 'connected', 'connected'],
        ]);
    },
  );

  it.each([RIP6, RIP6_2])('a wildcard socket answers from the address that was asked: %s', async address => {
    const sourcePort = freshPort();
    const client = address === RIP6 ? '[2001:db8::30]:3000' : '[2001:db8::31]:3000';
    for (const spec of [{ mark: mark(client, 'opp') }, {}]) {
      const { seen, answer } = await exchange({ destination: address, sourcePort, ...spec });
      expect(seen.local).toBe(address);
      expect(answer).toMatchObject({ source: address, destinationPort: sourcePort, udpChecksum: 'good' });
    }
  });

  it('answers go to the flow heard last where two have the same client', async () => {
    const [first, second] = [freshPort(), freshPort()];
    const client = mark('[2001:db8::40]:4000', 'dstopt');
    const asked: PacketSpec[] = [
      { source: LIP6, sourcePort: first, mark: client },
      { source: LIP6_2, sourcePort: second, mark: client },
      { source: LIP6, sourcePort: first },
      { source: LIP6_2, sourcePort: second },
    ];
    for (const packet of asked) {
      const { answer } = await exchange(packet);
      expect(answer).toMatchObject({ destination: packet.source, destinationPort: packet.sourcePort });
    }
  });

  // ---- both families -----------------------------------------------------------------------------------------

  it('both families are served together, in sockets of their own and in one for both', async () => {
    const { wire } = bench;
    const sourcePort = freshPort();
    const families = [
      { ends: TO_SERVICE6, client: CLIENT, carrier: 'dstopt', app: apps.wildcard },
      { ends: { source: LIP, destination: RIP }, client: CLIENT4, carrier: 'ipo', app: apps.wildcard4 },
    ] as const;
    for (const marked of [true, false])
      for (const { ends, client, carrier, app } of families) {
        const spec = marked ? { mark: mark(client, carrier) } : {};
        const { seen, answer } = await exchange({ ...ends, sourcePort, ...spec }, app);
        expect(seen.client).toBe(client);
        expect(answer).toMatchObject({ source: ends.destination, destination: ends.source });
        expect(answer).toMatchObject({ destinationPort: sourcePort, udpChecksum: 'good' });
      }

    const payloads = families.map(() => freshText());
    const [from, fromApp] = [wire.now, apps.dual.now];
    const common = { sourcePort, destinationPort: PORTS.dual };
    await wire.send(
      ...families.map(({ ends, client, carrier }, i) => ({
        ...{ ...ends, ...common, payload: payloads[i], mark: mark(client, carrier) },
      })),
    );
    const shown = [CLIENT, `[::ffff:${CLIENT4.replace(':', ']:')}`];
    for (const [i, { ends }] of families.entries()) {
      expect((await apps.dual.got(payloads[i], fromApp)).client).toBe(shown[i]);
      expect(await wire.answer(payloads[i], from)).toMatchObject({
        ...{ source: ends.destination, destination: ends.source, destinationPort: sourcePort },
        udpChecksum: 'good',
      });
    }
  });

  // ---- ICMPv6 ------------------------------------------------------------------------------------------------

  it.each(CARRIERS)('a closed port is refused in the load balancer’s terms (%s)', async carrier => {
    const { wire, shim } = bench;
    const sourcePort = freshPort();
    const payload = freshText();
    const from = wire.now;
    const counted = await shim.counted(async () => {
      const packet = { ...TO_SERVICE6, sourcePort, destinationPort: CLOSED, payload };
      await wire.send({ ...packet, mark: mark(CLIENT, carrier) });
      const refused = await wire.event('an ICMPv6 error', ({ icmp }) => icmp?.quoted !== undefined, from);
      expect(refused).toMatchObject({ source: RIP6, destination: LIP6, protocol: 58 });
      expect(refused.icmp).toMatchObject({ ...PORT_UNREACHABLE, checksumGood: true });
      // The datagram that it is about, without its mark, as if it had come so from LIP6.
      expect(refused.icmp?.quoted).toMatchObject({
        ...{ source: LIP6, sourcePort, destination: RIP6, destinationPort: CLOSED, payload },
        ...{ protocol: 17, headers: [], udpChecksum: 'good' },
      });
    });
    expect(counted).toMatchObject({ icmp_translated: 1 });
  });

  it('a closed port is refused to direct clients, and without a flow, as without the shim', async () => {
    const { wire } = bench;
    for (const source of [LIP6, DIRECT6]) {
      const from = wire.now;
      const packet = { source, destination: RIP6, sourcePort: freshPort(), destinationPort: CLOSED };
      await wire.send({ ...packet, payload: freshText() });
      const refused = await wire.event('an ICMPv6 error', ({ icmp }) => icmp?.quoted !== undefined, from);
      expect(refused).toMatchObject({ source: RIP6, destination: source });
      expect(refused.icmp).toMatchObject({ ...PORT_UNREACHABLE, checksumGood: true, quoted: packet });
    }
  });

  it('an error from the network reaches the connected socket as ECONNREFUSED', async () => {
    const { wire, shim } = bench;
    const app = apps.connected;
    const sourcePort = freshPort();
    const client = '[2001:db8::99]:9999';
    const ends = { sourcePort, destinationPort: PORTS.connected };
    await exchange({ ...ends, mark: mark(client, 'dstopt') }, app);
    const { answer } = await exchange(ends, app);
    const from = app.now;
    const counted = await shim.counted(async () => {
      await wire.send({ ...TO_SERVICE6, icmp: { ...PORT_UNREACHABLE, quoted: answer.hex } });
      const error = await app.event('an error', ({ event }) => event === 'error', from);
      expect(error).toMatchObject({ client, error: 'Connection refused' });
    });
    expect(counted).toMatchObject({ icmp_translated: 1 });
    // It goes on after that.
    expect((await exchange(ends, app)).seen).toMatchObject({ client, socket: 'connected' });
  });

  it('neighbour discovery and ping work', async () => {
    const { lab, shim } = bench;
    const counted = await shim.counted(async () => {
      for (const side of [lab.lb, lab.rs]) await side.ip('-6 neigh flush dev eth0');
      expect(await clientOf({ mark: mark(CLIENT, 'dstopt') })).toBe(CLIENT);
      for (const side of [lab.lb, lab.rs]) await side.ip('-6 neigh flush dev eth0');
      for (const [side, source, target] of [
        [lab.lb, LIP6, RIP6],
        [lab.lb, DIRECT6, RIP6_2],
        [lab.rs, RIP6, LIP6],
      ] as const) {
        const ping = await side.run(['ping', '-6', '-c', '1', '-W', '5', '-I', source, target]);
        expect(ping.code, ping.stdout).toBe(0);
      }
    });
    expect(counted.dropped_malformed).toBeUndefined();
    expect(counted.packets_ignored).toBeUndefined();
  });
});

/** The options in an IPv6 options header, padding apart, and that they end with it. */
function optionsIn(hex: string): string[] {
  const found: string[] = [];
  let at = 4;
  while (at < hex.length) {
    const type = hex.slice(at, at + 2);
    const end = type === '00' ? at + 2 : at + 4 + Number.parseInt(hex.slice(at + 2, at + 4), 16) * 2;
    if (type !== '00' && type !== '01') found.push(hex.slice(at, end));
    at = end;
  }
  expect(at).toBe(hex.length);
  return found;
}

// ---- coming and going ------------------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined).each(STEERINGS)('IPv6 coming and going by %s', steering => {
  const stage = Stage.use({ lab: { defaultRoute: false } });
  let app: App;
  beforeAll(async () => {
    app = await App.start(stage.lab.rs, 'echo', 7000, '--bind', '::');
  });

  /** Whom the application sees; its answer has come back, too. */
  async function clientOf(packet: PacketSpec): Promise<string> {
    const { client, answer } = await stage.exchange({ ...TO_SERVICE6, ...packet }, { app });
    expect(answer).toMatchObject({ source: RIP6, destinationPort: packet.sourcePort, udpChecksum: 'good' });
    expect(answer.destination).toBe(packet.source ?? LIP6);
    return client;
  }

  async function plain(source = LIP6): Promise<void> {
    const sourcePort = freshPort();
    expect(await clientOf({ source, sourcePort })).toBe(endpoint(source, sourcePort));
  }

  async function serves(): Promise<void> {
    for (const carrier of CARRIERS) {
      const sourcePort = freshPort();
      expect(await clientOf({ sourcePort, mark: mark(CLIENT, carrier) })).toBe(CLIENT);
      expect(await clientOf({ sourcePort })).toBe(CLIENT);
    }
    await plain(DIRECT6);
  }

  it('the host is as it was after an end, and after a kill and another run', async () => {
    const { lab } = stage;
    const shim = stage.shim(options(steering));
    const before = await lab.rs.snapshot();
    await shim.start();
    expect((await shim.status()).warnings).toEqual([]);
    await serves();
    expect(await shim.stop('SIGKILL')).toBe(-1);
    await eventually('its nft has gone too', async () => {
      return !(await lab.rs.must(['nft', 'list', 'ruleset'])).includes('flags owner') || undefined;
    });
    for (const source of [LIP6, DIRECT6]) await plain(source);
    expect(await shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
    expect(await lab.rs.snapshot()).toEqual(before);

    await shim.start();
    await serves();
    await shim.stop('SIGKILL');
    await shim.start(); // takes over what that left
    await serves();
    const running = await lab.rs.snapshot();
    expect(running.filter(line => /^(rules6|routes6): .*(uoa0|lookup 249)/.test(line))).not.toEqual([]);
    expect(await shim.stop()).toBe(0);
    expect(await lab.rs.snapshot()).toEqual(before);
    await plain();
  });

  it('`plan` prints the commands that do what `run` does, and those that undo it', async () => {
    const { rs } = stage.lab;
    const shim = stage.shim(options(steering));
    const before = await rs.snapshot();
    const [up, down] = [await shim.cli('plan', '--up'), await shim.cli('plan', '--down')];
    expect([up.code, down.code]).toEqual([0, 0]);
    expect(up.stdout).toContain('ip -6 rule add');
    expect(await rs.snapshot()).toEqual(before);
    await shim.start();
    const running = await rs.snapshot();
    await shim.stop();
    await rs.must(['sh', '-e'], up.stdout);
    expect(planned(await rs.snapshot())).toEqual(planned(running));
    await rs.must(['sh', '-e'], down.stdout);
    expect(await rs.snapshot()).toEqual(before);
  });
});
