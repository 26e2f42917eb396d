/**
 * The load balancer's flows survive its shim: what was marked and acknowledged before is not begun anew.
 *
 *   clients                     LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ----- eth0 198.51.100.10    eth1 10.10.2.1 ---+---- RS 1 10.10.2.2: uoa-shim
 *                                   :7001 -> RS 1, :7002 -> RS 2       `---- RS 2 10.10.2.3: none, so nobody ACKs
 */
import { afterEach, describe, expect, it } from 'vitest';
import { useLbBench } from '../../support/lb-bench.js';
import { nameOf, SIDES } from '../../support/lb-sides.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { text } from '../../support/wire.js';

const [side] = SIDES;
const [MARKED, PLAIN] = side.targets;

describe.skipIf(missing() !== undefined)('a flow at the load balancer', () => {
  const bench = useLbBench({
    marked: [true, false],
    loadBalancer: { services: side.services, carrier: side.carrier, maxTrails: 3 },
  });
  afterEach(() => bench.restart({ services: side.services, carrier: side.carrier, maxTrails: 3 }));

  /** Sends datagrams one by one; what their marks named, or null. */
  async function send(client: string, target: string, server: number, count: number) {
    const from = bench.now;
    for (let i = 0; i < count; i++) {
      const payload = text(`${client} ${from.clients} ${i}`);
      await bench.clients.send({ from: client, target, payloads: [payload] });
      await bench.wires[server].event('it', seen => seen.payload === payload, from.wires[server]);
    }
    const arrived = await bench.arrived(server, from);
    return arrived.map(({ mark: found }) => nameOf(found) ?? null);
  }

  it.each(['SIGKILL', 'SIGTERM'] as const)('%s: has as many marks in all as without', async signal => {
    const client = side.freshClient(bench);
    expect(await send(client, PLAIN, 1, 1)).toEqual([client]);
    await bench.shim.stop(signal);
    await bench.shim.start();
    expect(bench.shim.program?.log).toContain('flows of the run before: 1 kept');
    expect(await send(client, PLAIN, 1, 4)).toEqual([client, client, null, null]);
  });

  it.each(['SIGKILL', 'SIGTERM'] as const)('%s: stays acknowledged', async signal => {
    const client = side.freshClient(bench);
    expect(await send(client, MARKED, 0, 1)).toEqual([client]);
    const repliesTo = async () => (await bench.shim.flows({ client }))[0]?.replies;
    await eventually('the ACK is there', async () => (await repliesTo()) === 1 || undefined);
    await bench.shim.stop(signal);
    await bench.shim.start();
    expect(await send(client, MARKED, 0, 3)).toEqual([null, null, null]);
    expect(await bench.shim.flows({ client })).toMatchObject([{ datapath: 'kernel' }]);
  });
});
