/**
 * ACKs that others made up: no client ever sees one, and none counts for a flow that it is not of.
 *
 *   clients                     LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ----- eth0 198.51.100.10    eth1 10.10.2.1 ---+---- RS 1 10.10.2.2: uoa-shim
 *   2001:db8:71::1 ... ::c8         2001:db8:64::10    fd00:10:2::1    |          fd00:10:2::2
 *                                   :7001 -> RS 1, :7002 -> RS 2       `---- RS 2 ...3: none, but forged ACKs
 */
import { describe, expect, it } from 'vitest';
import { said, useLbBench } from '../../support/lb-bench.js';
import { intoTun, PORT } from '../../support/lb-lab.js';
import { addressOf, nameOf, SIDES, type Side, useSide } from '../../support/lb-sides.js';
import { missing } from '../../support/netns.js';
import { mark, type PacketSpec, type Seen, text } from '../../support/wire.js';

type Way = Required<
  Pick<PacketSpec, 'source' | 'sourcePort' | 'destination' | 'destinationPort' | 'payload'>
>;

/** What differs between the families. */
interface Forgery {
  somebodyElse: string;
  /** Clients that there can't be. */
  nobody: string[];
  /** In the servers' network, and no server. */
  stranger: string;
  malformed: (to: Way) => PacketSpec[];
  /** Whether a packet is an ICMP error. */
  isError: (seen: Seen) => boolean;
}

const OPTION4 = '1f0815b3cb007107';
const OPTION6 = `1f14${'ab'.repeat(18)}`;

const FORGERY: Record<4 | 6, Forgery> = {
  4: {
    somebodyElse: '192.0.2.99:4242',
    nobody: ['[2001:db8::7]:5555', '0.0.0.0:1'],
    stranger: '10.10.2.99',
    malformed: to => [
      // Lengths that no mark has, and a list that ends in the middle of one.
      ...['1f04', '1f06', '1f0a', '1f0c', '1f28', '1f00', '1fff'].map(head => ({
        ...to,
        options: head.padEnd(head === '1f28' ? 80 : 24, '0'),
      })),
      ...['1011000c', '10110008', '10110004', '1011ffff', '2011000c', '1006000c', '0011000c', 'ffffffff'].map(
        head => opp(to, head + OPTION4),
      ),
    ],
    isError: ({ protocol }) => protocol === 1,
  },
  6: {
    somebodyElse: '[2001:db8::99]:4242',
    nobody: ['192.0.2.99:4242', '[::]:1'],
    stranger: 'fd00:10:2::99',
    malformed: to => {
      const marked = { ...to, mark: mark('[2001:db8::99]:4242', 'dstopt') };
      return [
        // Lengths that no mark has, others around it, and a list that ends in the middle of one.
        ...[
          '1f00',
          '1f04cafe0102',
          '1f10',
          '1f14',
          '1fff',
          '01001f120001',
          '1e02cafe1f120001',
          '00001f120001',
        ].map(before => ({ ...to, before: before.padEnd(44, '0') })),
        { ...marked, before: '1e02cafe' },
        { ...marked, extensions: [{ type: 60, options: '1e02cafe' }] },
        { ...marked, extensions: [{ type: 0, options: '1e02cafe' }] },
        // A fragment that is the whole of it.
        { ...marked, fragmentAt: 2000 },
        ...[
          '20110018',
          '20110014',
          '20110004',
          '2011ffff',
          '10110018',
          '20060018',
          '00110018',
          'ffffffff',
        ].map(head => opp(to, head + OPTION6)),
      ];
    },
    isError: ({ protocol, icmp }) => protocol === 58 && (icmp?.type ?? 0) < 128,
  },
};

/** `opp` with a header that contradicts itself, and an empty datagram behind it. */
function opp({ source, sourcePort, destination, destinationPort }: Way, header: string): PacketSpec {
  return {
    source,
    destination,
    protocol: 248,
    body: `${header}${hex16(sourcePort)}${hex16(destinationPort)}00080000`,
  };
}

function hex16(value: number): string {
  return value.toString(16).padStart(4, '0');
}

/** Everything that may look like an ACK of a flow, except for the right one. */
function wrong({ carrier, carriers, family }: Side, to: Way, whose: string): PacketSpec[] {
  const { somebodyElse, nobody, malformed } = FORGERY[family];
  const named = [somebodyElse, `${addressOf(whose)}:1`, ...nobody];
  const { source, destination } = to;
  return [
    ...carriers.flatMap(kind => named.map(client => ({ ...to, mark: mark(client, kind) }))),
    ...carriers.filter(kind => kind !== carrier).map(kind => ({ ...to, mark: mark(whose, kind) })),
    ...malformed(to),
    // Nothing in it, or next to nothing.
    ...['', '10', '20'].map(body => ({ source, destination, protocol: 248, body })),
  ];
}

describe.skipIf(missing() !== undefined)('forged ACKs', () => {
  const bench = useLbBench({ lab: { ipv6: true }, marked: [true, false] });

  describe.each(SIDES)('$carrier by IPv$family in use', side => {
    const { carrier, carriers, family, lips, rips } = side;
    const [MARKED, PLAIN] = side.targets;
    const { somebodyElse, stranger, isError } = FORGERY[family];
    useSide(bench, side, { localAddresses: lips });
    const freshClient = () => side.freshClient(bench);

    /** The way of a packet from the second RS to whom `seen` came from. */
    const answering = (seen: Seen): Way => ({
      ...{ source: rips[1], sourcePort: seen.destinationPort ?? 0 },
      ...{ destination: seen.source, destinationPort: seen.sourcePort ?? 0, payload: '' },
    });

    /** Flows to both RS, as the second one saw its half of them: of the client and where to answer. */
    async function flows(count: number): Promise<{ client: string; seen: Seen }[]> {
      const from = bench.now;
      const clients = Array.from({ length: count }, freshClient);
      for (const client of clients)
        await bench.clients.send({ from: client, target: PLAIN, payloads: [text(client)] });
      await bench.clients.talk([freshClient()], MARKED);
      for (const client of clients)
        await bench.wires[1].event(
          `a mark of ${client}`,
          seen => nameOf(seen.mark) === client,
          from.wires[1],
        );
      const seen = await bench.arrived(1, from);
      expect(seen.map(({ mark: found }) => nameOf(found)).sort()).toEqual([...clients].sort());
      return seen.map(packet => ({ client: nameOf(packet.mark) ?? '', seen: packet }));
    }

    /** Sends them and waits until they must have been seen to. */
    async function flood(packets: PacketSpec[]): Promise<void> {
      for (let i = 0; i < packets.length; i += 500) await bench.wires[1].send(...packets.slice(i, i + 500));
      await bench.clients.talk([freshClient()], MARKED, { rounds: 3 });
    }

    /** What the clients got that was no answer, and the echo of what they said to the RS without a shim. */
    async function uncalledFor(from: number): Promise<string[]> {
      const seen = await bench.clients.unasked(from);
      return seen
        .filter(({ client, payload }) => said(payload) !== client)
        .map(({ event, client, payload }) => `${event} ${client} ${payload}`);
    }

    it('wrong ACKs neither reach a client nor acknowledge a flow', async () => {
      const from = bench.now;
      const known = await flows(20);
      const unknown = Array.from({ length: 40 }, (_, i) => ({
        ...{ source: rips[1], destination: lips[i % 2] },
        ...{ sourcePort: PORT + (i % 3), destinationPort: 30000 + i, payload: '' },
      }));
      const forged = [
        ...known.flatMap(({ client, seen }) => wrong(side, answering(seen), client)),
        ...unknown.flatMap(to => [
          ...wrong(side, to, somebodyElse),
          { ...to, mark: mark(somebodyElse, carrier) },
        ]),
        // From somebody who is no RS, and the right bytes in the wrong place.
        ...known.flatMap(({ client, seen }) => [
          { ...answering(seen), source: stranger, mark: mark(client, carrier) },
          { ...answering(seen), sourcePort: 9, mark: mark(client, carrier) },
        ]),
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
      const listed = (await bench.shim.flows()).filter(({ client }) => clients.has(client));
      expect(listed).toHaveLength(known.length);
      for (const flow of listed) expect(flow).toMatchObject({ packets: 1, replies: 0, datapath: 'tun' });
    });

    it('right ACKs do not reach a client, and the first acknowledges its flow', async () => {
      const from = bench.now;
      const known = await flows(10);
      const right = known.map(({ client, seen }) => ({ ...answering(seen), mark: mark(client, carrier) }));
      const counted = await bench.shim.counted(() => flood([...right, ...right, ...right]));
      expect(counted).toMatchObject({ acks_received: right.length * 3 + 1, flows_acked: right.length + 1 });
      expect(counted.acks_unmatched).toBeUndefined();
      expect(await uncalledFor(from.clients)).toEqual([]);

      // Acknowledged, if not by a shim: no more marks, and released with the next packet.
      const later = bench.now;
      const again = async (round: string) => {
        const passed = await intoTun(bench.lab.lb);
        for (const { client } of known)
          await bench.clients.send({ from: client, target: PLAIN, payloads: [text(client + round)] });
        for (const { client } of known) await bench.clients.got(client, text(client + round), later.clients);
        return (await intoTun(bench.lab.lb)) - passed;
      };
      const released = await bench.shim.counted(async () => {
        expect(await again(' once')).toBe(known.length);
      });
      expect(released).toMatchObject({ flows_released: known.length });
      expect(await again(' twice')).toBe(0);
      const marks = (await bench.arrived(1, later)).map(({ mark: found }) => found);
      expect(marks).toEqual(new Array(2 * known.length).fill(null));
    });

    it('an answer with a mark reaches the client without the mark', async () => {
      const [{ client, seen }] = await flows(1);
      const from = bench.now;
      for (const kind of carriers) {
        const payload = text(`an answer in ${kind}`);
        await bench.wires[1].send({ ...answering(seen), payload, mark: mark(somebodyElse, kind) });
        expect(await bench.clients.got(client, payload, from.clients)).toMatchObject({ peer: PLAIN });
      }
    });

    it('ACKs do not reach a client after the shim was killed', async () => {
      const known = await flows(10);
      expect(await bench.shim.stop('SIGKILL')).toBe(-1);
      const from = bench.now;
      const forged = known.flatMap(({ client, seen }) => [
        ...wrong(side, answering(seen), client),
        ...carriers.map(kind => ({ ...answering(seen), mark: mark(client, kind) })),
      ]);
      await flood(forged);
      expect(await uncalledFor(from.clients)).toEqual([]);
      // Nor is there an answer to the RS: what does not go through is dropped without a word.
      expect(bench.wires[1].events.slice(from.wires[1]).filter(isError)).toEqual([]);
      await bench.shim.start();
      await bench.clients.talk([freshClient()], MARKED);
    });
  });
});
