/**
 * A real server's shim that starts after everything else asks for the clients of the flows that it finds.
 *
 *   clients                     LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ----- eth0 198.51.100.10    eth1 10.10.2.1 ---+---- RS 1 10.10.2.2: uoa-shim
 *   2001:db8:71::1 ... ::c8         2001:db8:64::10    fd00:10:2::1    |          fd00:10:2::2
 *                                   :7001 -> RS 1, :7002 -> RS 2       `---- RS 2 ...3: none
 */
import { describe, expect, it } from 'vitest';
import { said, useLbBench } from '../../support/lb-bench.js';
import { addressOf, SIDES, useSide } from '../../support/lb-sides.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import type { Shim } from '../../support/shim.js';
import { endpoint } from '../../support/wire.js';

const CLIENTS = 100;

describe.skipIf(missing() !== undefined)('asks', () => {
  const bench = useLbBench({ lab: { ipv6: true }, marked: [true, false] });

  describe.each(SIDES)('$carrier by IPv$family', side => {
    const { lips, rips, targets } = side;
    useSide(bench, side);
    const server = () => bench.servers[0] as Shim;

    /** Everyone says something once and is answered; how many of them RS 1's application saw under another name. */
    async function nameless(clients: readonly string[]): Promise<number> {
      const from = bench.now;
      const talk = await bench.clients.talk(clients, targets[0]);
      expect(talk).toMatchObject({ answered: clients.length, lost: [] });
      const seen = await bench.received(0, from);
      // Nobody is taken for another client: it is the client that says so in its datagram, or the load balancer.
      const others = seen.filter(({ client, payload }) => !said(payload).includes(`${client} `));
      for (const { client } of others) expect(addressOf(client)).toBe(addressOf(endpoint(lips[0], 0)));
      return others.length;
    }

    it('flows that began before the real server’s shim are known after one datagram each', async () => {
      const clients = Array.from({ length: CLIENTS }, () => side.freshClient(bench));
      await server().stop();
      for (const from of clients)
        await bench.clients.send({ from, target: targets[0], payloads: ['00', '01', '02', '03', '04'] });
      await server().start();
      const [asked, wire] = [await bench.shim.stats(), bench.wires[0].now];
      await eventually('all of them are known', async () => (await nameless(clients)) === 0 || undefined);
      const { asks_sent: sent, asks_answered: answered } = await server().stats();
      expect(sent).toBeGreaterThan(0);
      expect(answered).toBeGreaterThan(0);
      expect(answered).toBeLessThanOrEqual(sent);
      const counted = await bench.shim.stats();
      expect(counted.asks_received - asked.asks_received).toBe(sent);
      expect(counted.asks_unknown - asked.asks_unknown).toBe(0);
      expect(counted.acks_unmatched - asked.acks_unmatched).toBe(0);
      // The answers went where their flows go.
      for (const { source, destination } of bench.wires[0].since(wire).filter(({ mark }) => mark))
        expect([lips, rips].flat()).toEqual(expect.arrayContaining([source, destination]));
      // No client got anything of it.
      expect((await bench.clients.unasked()).filter(({ payload }) => payload === '')).toEqual([]);
    });

    it('an ask from a host that is not the real server of the flow is not answered', async () => {
      const client = side.freshClient(bench);
      await nameless([client]);
      const [flow] = await bench.shim.flows({ client });
      const lport = Number(flow.lb.slice(flow.lb.lastIndexOf(':') + 1));
      const [before, wire] = [await bench.shim.stats(), bench.wires[1].now];
      const forged = { source: rips[1], sourcePort: 7000, destination: lips[0], destinationPort: lport };
      const nobody = { client: side.family === 4 ? '0.0.0.0' : '::', port: 0, carrier: side.carrier };
      await bench.wires[1].send({ ...forged, payload: '', mark: nobody });
      await bench.wires[1].ask({ op: 'ping' });
      await nameless([client]);
      const after = await bench.shim.stats();
      expect(after.asks_received - before.asks_received).toBe(1);
      expect(after.asks_unknown - before.asks_unknown).toBe(1);
      expect(bench.wires[1].since(wire).filter(({ mark }) => mark)).toEqual([]);
    });
  });
});
