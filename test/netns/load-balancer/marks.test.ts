/**
 * Which packets of a flow get a mark: the first ones, until there is an ACK.
 *
 *   clients                     LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ----- eth0 198.51.100.10    eth1 10.10.2.1 ---+---- RS 1 10.10.2.2: uoa-shim
 *   2001:db8:71::1 ... ::c8         2001:db8:64::10    fd00:10:2::1    |          fd00:10:2::2
 *                                   :7001 -> RS 1, :7002 -> RS 2       `---- RS 2 ...3: none, so nobody ACKs
 */
import { describe, expect, it } from 'vitest';
import { type BenchTime, said, useLbBench } from '../../support/lb-bench.js';
import { intoTun } from '../../support/lb-lab.js';
import { addressOf, nameOf, SIDES } from '../../support/lb-sides.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { endpoint, text } from '../../support/wire.js';

describe.skipIf(missing() !== undefined)('marks per flow', () => {
  const bench = useLbBench({ lab: { ipv6: true }, marked: [true, false] });

  describe.each(SIDES)('$carrier by IPv$family', side => {
    const { carrier, lips, services } = side;
    const [MARKED, PLAIN] = side.targets;
    // The one that brings it about: in IPv6 packets that is an option of another header.
    const configured = carrier === 'dstopt' ? 'ipo' : carrier;
    const freshClient = () => side.freshClient(bench);

    /** Marks of the packets that came to the nth RS, in their order: what they name, or null. */
    async function marks(n: number, from: BenchTime): Promise<(string | null)[]> {
      const arrived = await bench.arrived(n, from);
      for (const { mark: found } of arrived) expect([undefined, carrier]).toContain(found?.carrier);
      return arrived.map(({ mark: found }) => nameOf(found) ?? null);
    }

    it.each([0, 1, 3, 5])('a flow to an RS that never ACKs gets %i marks at most', async maxTrails => {
      await bench.reload({ services, carrier: configured, maxTrails });
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      const client = freshClient();
      const payloads = Array.from({ length: 8 }, (_, i) => text(`${client} ${i}`));
      const released = (await bench.shim.stats()).flows_released + 1;
      for (const [i, payload] of payloads.entries()) {
        await bench.clients.send({ from: client, target: PLAIN, payloads: [payload] });
        await bench.wires[1].event('it', seen => seen.payload === payload, from.wires[1]);
        if (i + 1 === maxTrails)
          await eventually(
            'it is released',
            async () => (await bench.shim.stats()).flows_released === released || undefined,
          );
      }
      // What nobody there can read is refused (opp); everything else is answered.
      const readable = carrier === 'opp' ? payloads.slice(maxTrails) : payloads;
      for (const payload of readable) await bench.clients.got(client, payload, from.clients);
      const received = await bench.received(1, from);
      expect(received.map(({ payload }) => payload)).toEqual(readable);
      for (const { client: seen } of received) expect(addressOf(seen)).toBe(addressOf(endpoint(lips[0], 0)));
      expect(await marks(1, from)).toEqual(payloads.map((_, i) => (i < maxTrails ? client : null)));
      // Released flows never see the TUN.
      expect((await intoTun(bench.lab.lb)) - before).toBe(maxTrails);
      expect(await bench.shim.flows({ client })).toMatchObject(
        maxTrails === 0 ? [] : [{ carrier, packets: maxTrails, replies: 0, datapath: 'kernel' }],
      );
      const refusals = (await bench.clients.unasked(from.clients)).filter(({ event }) => event === 'error');
      expect(refusals).toEqual([]);
    });

    it.each([1, 3, 5])('a flow to an RS that ACKs at once gets one mark of %i', async maxTrails => {
      await bench.reload({ services, carrier: configured, maxTrails });
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      const clients = Array.from({ length: 10 }, freshClient);
      const talk = await bench.clients.talk(clients, MARKED, { rounds: 8 });
      expect(talk).toEqual({ sent: 80, answered: 80, lost: [] });
      const found = (await marks(0, from)).filter(named => named !== null);
      expect(found.sort()).toEqual([...clients].sort());
      for (const { client: seen, payload } of await bench.received(0, from))
        expect(said(payload)).toContain(`${seen} `);
      // Each flow's mark and ACK, and what came until it was released: never less than the packet behind the ACK.
      const passed = await intoTun(bench.lab.lb);
      expect(passed - before).toBeGreaterThanOrEqual(clients.length * (maxTrails === 1 ? 2 : 3));
      const listed = (await bench.shim.flows()).filter(flow => clients.includes(flow.client));
      expect(listed.map(({ datapath }) => datapath)).toEqual(clients.map(() => 'kernel'));
      expect(await bench.clients.talk(clients, MARKED, { rounds: 8 })).toMatchObject({ answered: 80 });
      expect(await intoTun(bench.lab.lb)).toBe(passed);
    });

    it('a flow gets no mark where maxTrails is 0', async () => {
      await bench.reload({ services, carrier: configured, maxTrails: 0 });
      const from = bench.now;
      const counted = await bench.shim.counted(async () => {
        expect(await bench.clients.talk([freshClient()], MARKED, { rounds: 5 })).toMatchObject({
          answered: 5,
        });
      });
      expect(await marks(0, from)).toEqual(Array.from({ length: 5 }, () => null));
      // Only what the real server asks, in vain, comes to the shim.
      expect(counted.packets_seen).toBe(counted.asks_received);
    });
  });
});
