/**
 * Marks that clients made up: no client passes for another one.
 *
 *   clients, wire.py            LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ----- eth0 198.51.100.10    eth1 10.10.2.1 ---+---- RS 1 10.10.2.2: uoa-shim
 *   2001:db8:71::1 ... ::c8         2001:db8:64::10    fd00:10:2::1    |          fd00:10:2::2
 *                                   :7001 -> RS 1                      `---- RS 2, not asked
 */
import { describe, expect, it } from 'vitest';
import { pattern } from '../../support/apps.js';
import { said, useLbBench } from '../../support/lb-bench.js';
import { LB_CLIENTS_MAC } from '../../support/lb-lab.js';
import { addressOf, nameOf, SIDES, useSide } from '../../support/lb-sides.js';
import { missing } from '../../support/netns.js';
import { endpoint, mark, type PacketSpec, type Seen, text, Wire } from '../../support/wire.js';

/** What differs between the families. All options are as clients give them to their sockets, in hex. */
interface Forgery {
  /** The right option, and the same with padding in front. */
  forged: string;
  padded: string;
  /** By name: the options, and how many of them are marks. */
  variants: [string, string, number][];
  /** What has become of options in a later datagram of the flow. */
  expectCleaned: (seen: Seen | undefined, options: string) => void;
  /** What reaches the application of `forged` where nothing is marked. */
  left: string;
  /** What no socket sends, by the payload; and which of that gets through, without its mark. */
  strange: Record<string, Partial<PacketSpec>>;
  getsThrough: string[];
}

const PORT4242 = '1092';
const FORGED4 = `1f08${PORT4242}c0000263`;
const FORGED6 = `1f12${PORT4242}20010db8000000000000000000000099`;
const SOMEBODY_ELSE = { 4: '192.0.2.99:4242', 6: '[2001:db8::99]:4242' } as const;
const MARK6 = mark(SOMEBODY_ELSE[6], 'dstopt');

const FORGERY: Record<4 | 6, Forgery> = {
  4: {
    forged: FORGED4,
    padded: `01${FORGED4}`,
    variants: [
      ['alone', FORGED4, 1],
      ['behind padding', `01010101${FORGED4}`, 1],
      ['twice', FORGED4 + FORGED4, 2],
      ['among others', `9e04cafe${FORGED4}9e04f00d`, 1],
      ['of a client of the other family', `1f14${PORT4242}20010db8000000000000000000000007`, 1],
      ['of a strange length', '1f06abcdef01', 1],
      ['of a strange length, and a right one behind it', `1f06abcdef01${FORGED4}`, 2],
      ['in a full header', `1f28${'ab'.repeat(38)}`, 1],
      ['in a full header, at its end', `9e20${'a5'.repeat(30)}${FORGED4}`, 1],
    ],
    // Their place is kept, by NOPs.
    expectCleaned: (seen, options) => {
      expect(seen).toMatchObject({ headerChecksumGood: true });
      expect(seen?.options).toHaveLength(Math.ceil(options.length / 8) * 8);
      expect(seen?.options).not.toContain(FORGED4.slice(4));
    },
    left: '01'.repeat(8),
    strange: {
      ipo: { mark: mark(SOMEBODY_ELSE[4], 'ipo') },
      opp: { mark: mark(SOMEBODY_ELSE[4], 'opp') },
    },
    getsThrough: ['ipo'],
  },
  6: {
    forged: FORGED6,
    padded: `0102000000${FORGED6}`,
    variants: [
      ['alone', FORGED6, 1],
      ['behind padding', `0102000000${FORGED6}`, 1],
      ['twice', FORGED6 + FORGED6, 2],
      ['among others', `1e02cafe${FORGED6}1e02f00d`, 1],
      ['of a client of the other family', `1f06${PORT4242}c0000263`, 1],
      ['of a strange length', '1f04abcdef01', 1],
      ['of a strange length, and a right one behind it', `1f04abcdef01${FORGED6}`, 2],
    ],
    expectCleaned: seen => expect(seen?.options).not.toMatch(/1f(12|06|04)/),
    left: '',
    strange: {
      opp: { mark: mark(SOMEBODY_ELSE[6], 'opp') },
      'opp behind': {
        mark: mark(SOMEBODY_ELSE[6], 'opp'),
        extensions: [{ type: 60, options: FORGED6 }],
      },
      behind: { mark: MARK6 },
      'behind options': { mark: MARK6, extensions: [{ type: 60, options: '1e02cafe' }] },
      'behind hops': { mark: MARK6, extensions: [{ type: 0, options: '1e02cafe' }] },
      'a fragment': { mark: MARK6, fragmentAt: 2000 },
    },
    getsThrough: ['behind', 'behind options', 'behind hops'],
  },
};

describe.skipIf(missing() !== undefined)('marks that a client forges', () => {
  /** wire.py among the clients: it sends what no socket would. */
  let outside: Wire;
  const bench = useLbBench({
    lab: { ipv6: true },
    prepare: async ({ lab }) => {
      outside = await Wire.start(lab.clients, LB_CLIENTS_MAC);
    },
  });

  describe.each(SIDES)('$carrier by IPv$family in use', side => {
    const { carrier, family, vip, lips, services } = side;
    const { forged, padded, variants, expectCleaned, left, strange, getsThrough } = FORGERY[family];
    const [MARKED] = side.targets;
    useSide(bench, side);
    const freshClient = () => side.freshClient(bench);

    it.each(variants)(
      'a client’s mark is removed from a first and a tenth datagram: %s',
      async (_, options, marks) => {
        const from = bench.now;
        const client = freshClient();
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
        const last = arrived.find(({ payload }) => payload === text('tenth'));
        expect(last).toMatchObject({ udpChecksum: 'good', mark: null });
        expectCleaned(last, options);
      },
    );

    it('a client’s mark is removed from the first of several fragments', async () => {
      const from = bench.now;
      const [client, payload] = [freshClient(), pattern(4000)];
      const big = { from: client, target: MARKED, payloads: [payload], options: forged, dontFragment: false };
      const counted = await bench.shim.counted(async () => {
        await bench.clients.send(big);
        await bench.clients.got(client, payload, from.clients);
      });
      expect(counted).toMatchObject({ marks_forged: 1, marks_standalone: 1 });
      expect(await bench.received(0, from)).toMatchObject([{ client, payload }]);
      const marks = (await bench.arrived(0, from)).flatMap(({ mark: found }) => nameOf(found) ?? []);
      expect(marks).toEqual([client]);
    });

    it('a client’s mark does not pass with a hop too few, in another header or as another protocol', async () => {
      const from = bench.now;
      const client = freshClient();
      // The LB's own hop is the last but one: it gets one more for the way into the TUN.
      const low = { from: client, target: MARKED, payloads: [text('low')], options: forged, ttl: 2 };
      await bench.clients.send(low);
      await bench.clients.send({ from: client, target: MARKED, payloads: [] });
      expect(await bench.clients.talk([client], MARKED)).toMatchObject({ answered: 1 });
      const { client: source, port: sourcePort } = mark(client);
      const way = { source, sourcePort, destination: vip, destinationPort: 7001 };
      const packets = Object.entries(strange).map(([words, packet]) => ({
        ...way,
        ...packet,
        payload: text(words),
      }));
      await outside.send(...packets);
      // These come through the TUN; what is said after them may not.
      for (const words of getsThrough) await bench.wires[0].answer(text(words), from.wires[0]);
      expect(await bench.clients.talk([client], MARKED, { rounds: 3 })).toMatchObject({ answered: 3 });
      const arrived = await bench.arrived(0, from);
      expect(arrived.flatMap(({ mark: found }) => nameOf(found) ?? [])).toContain(client);
      for (const { mark: found } of arrived) expect([undefined, client]).toContain(nameOf(found));
      const arrivedLow = arrived.filter(({ payload }) => said(payload) === 'low');
      expect(arrivedLow.map(({ mark: found }) => nameOf(found))).toEqual([client]);
      for (const { client: seen } of await bench.received(0, from)) expect(seen).toBe(client);
    });

    it('a client’s mark does not pass after the shim was killed', async () => {
      const [known, fresh] = [freshClient(), freshClient()];
      expect(await bench.clients.talk([known], MARKED, { rounds: 3 })).toMatchObject({ answered: 3 });
      expect(await bench.shim.stop('SIGKILL')).toBe(-1);
      const from = bench.now;
      for (const client of [known, fresh]) {
        const datagram = { from: client, target: MARKED, payloads: [text('dead')], options: forged };
        await bench.clients.send(datagram);
        await bench.clients.send({ ...datagram, options: padded });
        await bench.clients.send({ from: client, target: MARKED, payloads: [] });
        // Without options everything goes on.
        expect(await bench.clients.talk([client], MARKED)).toMatchObject({ answered: 1 });
      }
      const arrived = await bench.arrived(0, from);
      expect(arrived.map(({ payload }) => said(payload))).toEqual([`${known} 0`, `${fresh} 0`]);
      expect(arrived.map(({ options }) => options)).toEqual(['', '']);
      const [first, second, ...others] = (await bench.received(0, from)).map(({ client }) => client);
      expect(first).toBe(known);
      expect(addressOf(second)).toBe(addressOf(endpoint(lips[0], 0)));
      expect(others).toEqual([]);
      await bench.shim.start();
    });

    it('a client’s mark is removed where maxTrails is 0', async () => {
      const client = freshClient();
      const from = bench.now;
      await bench.reload({ services, carrier, maxTrails: 0 });
      await bench.clients.send({ from: client, target: MARKED, payloads: [text('who?')], options: forged });
      await bench.clients.got(client, text('who?'), from.clients);
      const [seen] = await bench.received(0, from);
      expect(addressOf(seen.client)).toBe(addressOf(endpoint(lips[0], 0)));
      expect(seen.options).toBe(left);
    });
  });
});
