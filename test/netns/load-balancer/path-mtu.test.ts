/**
 * Narrow links behind the load balancer, and in front of it. A mark makes packets larger than their senders know, so
 * what the network says of that is nobody's affair but the shim's; everything else is the senders'.
 *
 *   clients eth0 ---- near ---- eth0 VIP, VIP6    LB    eth1 LIP, LIP6 ---- far ----+---- RS 1: uoa-shim
 *          <--- answers: 1400         1500                1500    1400 --->         `---- RS 2: uoa-shim
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { App, type AppEvent, pattern } from '../../support/apps.js';
import { useLbBench } from '../../support/lb-bench.js';
import {
  intoTun,
  LB_CLIENTS_MAC,
  LB_SERVERS_MAC,
  LIP,
  LIP6,
  PORT,
  RIPS,
  RIPS6,
  VIP,
  VIP6,
} from '../../support/lb-lab.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { endpoint, mark, type Seen, text, Wire } from '../../support/wire.js';

const NARROW = 1400;
const WIDE = 1500;
const TOO_LONG = 'Message too long';

/** `headers` and `room` are bytes: of IP and UDP, and what a mark adds. */
const FLOWS = [
  { carrier: 'ipo', v6: false, headers: 28, room: 8 },
  { carrier: 'opp', v6: false, headers: 28, room: 12 },
  { carrier: 'dstopt', v6: true, headers: 48, room: 24 },
  { carrier: 'opp', v6: true, headers: 48, room: 24 },
] as const;
const named = FLOWS.map(flow => ({ ...flow, name: `${flow.carrier} over IPv${flow.v6 ? 6 : 4}` }));

/** Of the nth RS alone, each behind a port of its own; `extra` for an application of a test's. */
const services = (extra: readonly number[] = []) =>
  [PORT, ...extra].flatMap(port =>
    [
      { vip: VIP, address: RIPS[0] },
      { vip: VIP6, address: RIPS6[0] },
    ].map(({ vip, address }) => ({ vip, port, realServers: [{ address }] })),
  );

describe.skipIf(missing() !== undefined)('a narrow path to a real server', () => {
  /** What comes to the far router from the LB, and to the clients. */
  let far: Wire;
  let outside: Wire;
  const bench = useLbBench({
    lab: { ipv6: true, routers: true },
    marked: [true, false],
    stopped: true,
    prepare: async ({ lab }) => {
      await lab.narrowServers(NARROW);
      far = await Wire.start(lab.far, LB_SERVERS_MAC, ['--interface', 'lb']);
      outside = await Wire.start(lab.clients, LB_CLIENTS_MAC);
    },
  });

  describe.each(named)('$name', flow => {
    const { carrier, v6, headers, room } = flow;
    const [vip, rip] = v6 ? [VIP6, RIPS6[0]] : [VIP, RIPS[0]];
    const target = endpoint(vip, PORT);
    // What was learned of the path, by whomever, is forgotten.
    beforeEach(async () => {
      await bench.lab.clients.script('ip -4 route flush cache', 'ip -6 route flush cache');
      await bench.restart({ carrier, services: services() });
    });

    const freshClient = () => (v6 ? bench.freshClient6() : bench.freshClient());
    /** Sends one datagram, never in pieces; how many the socket itself refused. */
    const send = (from: string, payload: string) =>
      bench.clients.send({ from, target, payloads: [payload], dontFragment: 'ever', connect: true });
    const app = () => (v6 ? bench.apps6[0] : bench.apps[0]);
    const errors = async (from: number) =>
      (await bench.clients.unasked(from)).filter(({ event }) => event === 'error');
    /** What has come to the clients' side in the meantime. */
    async function tooBig(from: number): Promise<Seen[]> {
      await outside.ask({ op: 'ping' });
      return outside.events
        .slice(from)
        .filter(({ icmp }) => icmp && (v6 ? icmp.type === 2 : icmp.type === 3 && icmp.code === 4));
    }

    /** A datagram that arrives, with its echo: whom the application saw, and the packets it took. */
    async function passes(from: string, payload: string): Promise<{ seen: AppEvent; packets: Seen[] }> {
      const now = bench.now;
      expect(await send(from, payload)).toBe(0);
      await bench.clients.got(from, payload, now.clients);
      const seen = await app().got(payload, (v6 ? now.apps6 : now.apps)[0]);
      return { seen, packets: await bench.arrived(0, now) };
    }

    it.each([
      ['by a byte', NARROW - headers - room + 1],
      ['by all of it', NARROW - headers],
    ])(
      'a datagram that only its mark makes too big, %s, is lost once, and its client is told nothing',
      async (_, length) => {
        const whose = freshClient();
        const from = { ...bench.now, far: far.now, outside: outside.now };
        const lost = pattern(length);
        const counted = await bench.shim.counted(async () => {
          expect(await send(whose, lost)).toBe(0);
          const sent = await far.event('the marked one', ({ payload }) => payload === lost, from.far);
          expect(sent).toMatchObject({ mark: mark(whose, carrier), bytes: headers + length + room });
          await eventually(
            'the error is seen to',
            async () => (await bench.shim.stats()).packets_ignored > 0 || undefined,
          );
        });
        expect(counted).toEqual({ packets_seen: 2, marks_inserted: 1, packets_ignored: 1 });

        // From now on marks go ahead, of this flow and of others, and nothing more is lost.
        for (const [name, words] of [
          [whose, `00${pattern(length - 1)}`],
          [freshClient(), `01${pattern(length - 1)}`],
        ]) {
          const { seen, packets } = await passes(name, words);
          expect(seen.client).toBe(name);
          expect(packets).toMatchObject([
            { payload: '', mark: mark(name, carrier) },
            { payload: words, mark: null, bytes: headers + length },
          ]);
        }
        // Where there is room, they go inside.
        const [other, fits] = [freshClient(), pattern(NARROW - headers - room)];
        const { seen, packets } = await passes(other, fits);
        expect(seen.client).toBe(other);
        expect(packets).toMatchObject([{ payload: fits, mark: mark(other, carrier), bytes: NARROW }]);

        expect(await errors(from.clients)).toEqual([]);
        expect(await bench.clients.mtu(whose)).toBe(WIDE);
        expect(await tooBig(from.outside)).toEqual([]);
        expect((await bench.received(0, from)).map(({ payload }) => payload)).not.toContain(lost);
      },
    );

    it.each([
      ['by a byte', NARROW - headers + 1],
      ['by as much as a mark', NARROW - headers + room],
      ['and has no room for a mark either', WIDE - headers],
    ])('a client is told of a datagram that is too big by itself, %s', async (_, length) => {
      const whose = freshClient();
      const from = { ...bench.now, outside: outside.now };
      expect(await send(whose, pattern(length))).toBe(0);
      await bench.clients.event('the client hears of it', ({ error }) => error === TOO_LONG, from.clients);
      expect(await bench.clients.mtu(whose)).toBe(NARROW);
      expect(await bench.received(0, from)).toEqual([]);

      // In terms of what it sent itself.
      const [error] = await tooBig(from.outside);
      expect(error.destination).toBe(mark(whose).client);
      expect(error.icmp).toMatchObject({ checksumGood: true, value: NARROW });
      expect(error.icmp?.quoted).toMatchObject({
        ...{
          source: mark(whose).client,
          sourcePort: mark(whose).port,
          destination: vip,
          destinationPort: PORT,
        },
        ...{ mark: null, options: '', protocol: 17, udpLength: length + 8 },
        ...(!v6 && { headerChecksumGood: true }),
      });
      const declared = Buffer.from(error.icmp?.quoted?.hex ?? '', 'hex').readUInt16BE(v6 ? 4 : 2);
      expect(declared + (v6 ? 40 : 0)).toBe(headers + length);

      // A mark that went ahead by itself did arrive. Until its ACK is back, the next packet would get another one.
      if (headers + length + room > WIDE)
        await eventually('the ACK', async () => (await bench.shim.stats()).acks_received > 0 || undefined);

      // It keeps to that, and is heard.
      expect(await send(whose, `00${pattern(length - 1)}`)).toBe(1);
      const fits = pattern(NARROW - headers);
      expect((await passes(whose, fits)).seen.client).toBe(whose);
      expect(await errors(from.clients)).toHaveLength(1);
      expect(await tooBig(from.outside)).toHaveLength(1);
    });

    it('the kernel tells the client of a released flow, without the shim', async () => {
      const whose = freshClient();
      await passes(whose, text('hello'));
      await eventually(
        'it is acknowledged',
        async () => (await bench.shim.stats()).flows_acked === 1 || undefined,
      );
      await passes(whose, text('hello again'));
      await eventually(
        'it is released',
        async () => (await bench.shim.stats()).flows_released === 1 || undefined,
      );
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      expect(await send(whose, pattern(NARROW - headers + 1))).toBe(0);
      await bench.clients.event('the client hears of it', ({ error }) => error === TOO_LONG, from.clients);
      expect(await bench.clients.mtu(whose)).toBe(NARROW);
      expect((await passes(whose, pattern(NARROW - headers))).packets).toHaveLength(1);
      expect(await intoTun(bench.lab.lb)).toBe(before);
    });

    it('the real server gets neither errors nor packets that are too big', async () => {
      const from = bench.now;
      await send(freshClient(), pattern(NARROW - headers));
      await send(freshClient(), pattern(WIDE - headers));
      await bench.clients.event('a client hears of it', ({ error }) => error === TOO_LONG, from.clients);
      await passes(freshClient(), text('afterwards'));
      const arrived = bench.wires[0].events.slice(from.wires[0]);
      expect(arrived.filter(({ icmp }) => icmp?.quoted)).toEqual([]);
      expect(arrived.filter(({ destination, bytes }) => destination === rip && bytes > NARROW)).toEqual([]);
    });
  });
});

describe.skipIf(missing() !== undefined)('a narrow path to the clients', () => {
  const BIG = 7100;
  /** What comes to the far router from the LB. */
  let far: Wire;
  const bench = useLbBench({
    lab: { ipv6: true, routers: true },
    loadBalancer: { services: services([BIG]) },
    marked: [true, false],
  });
  beforeAll(async () => {
    far = await Wire.start(bench.lab.far, LB_SERVERS_MAC, ['--interface', 'lb']);
    const [rs] = bench.lab.rs;
    await App.start(rs, 'echo', BIG, '--answer', 1452);
    await App.start(rs, 'echo', BIG, '--answer', 1452, '--bind', '::');
  });
  afterEach(async () => {
    for (const by of ['near', 'lb'] as const) await bench.lab.narrowClients(by, WIDE);
    for (const family of ['-4', '-6'])
      for (const rs of bench.lab.rs) await rs.ip(`${family} route flush cache`);
  });

  it.each([
    { by: 'near', v6: false },
    { by: 'near', v6: true },
    { by: 'lb', v6: false },
    { by: 'lb', v6: true },
  ] as const)(
    'the real server gets an error about the packet that it sent: $by, IPv6 $v6',
    async ({ by, v6 }) => {
      const [lip, rip, target] = v6
        ? [LIP6, RIPS6[0], endpoint(VIP6, BIG)]
        : [LIP, RIPS[0], endpoint(VIP, BIG)];
      const wide = v6 ? bench.freshClient6() : bench.freshClient();
      let from = { ...bench.now, far: far.now };
      await bench.clients.send({ from: wide, target, payloads: [text('wide')] });
      await bench.clients.got(wide, pattern(1452), from.clients);

      await bench.lab.narrowClients(by, NARROW);
      from = { ...bench.now, far: far.now };
      const whose = v6 ? bench.freshClient6() : bench.freshClient();
      await bench.clients.send({ from: whose, target, payloads: [text('narrow')] });
      const asked = await far.event('the question', ({ payload }) => payload === text('narrow'), from.far);
      const { icmp, destination } = await far.event(
        'too big',
        seen => seen.icmp?.quoted !== undefined,
        from.far,
      );
      expect(destination).toBe(rip);
      expect(icmp).toMatchObject({ ...(v6 ? { type: 2, code: 0 } : { type: 3, code: 4 }), value: NARROW });
      expect(icmp?.checksumGood).toBe(true);
      expect(icmp?.quoted).toMatchObject({
        ...{ source: rip, sourcePort: BIG, destination: lip, destinationPort: asked.sourcePort },
        udpLength: 1460,
      });
      expect(await bench.clients.unasked(from.clients)).toEqual([]);
    },
  );
});
