/**
 * A load balancer gives the port of a flow that is over to another client, whose first datagram arrives without a mark.
 *
 *   LB namespace (wire.py)                              RS namespace
 *     10.99.1.1 LIP    timeout: 5       eth0 ---- eth0  10.99.1.2 RIP: an echo on port 7000, uoa-shim beside it
 *     10.99.1.3 LIP_2  360, the default
 */
import { describe, expect, it } from 'vitest';
import { freshPort } from '../../support/fresh.js';
import { LIP, LIP_2, missing, RIP } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { STEERINGS, Stage } from '../../support/stage.js';
import { mark } from '../../support/wire.js';

const FORMER = '198.51.100.7:5555';
const NEXT = '203.0.113.9:6666';

describe.skipIf(missing() !== undefined).each(STEERINGS)('a reused port, with %s', steering => {
  const loadBalancers = [{ prefix: `${LIP}/32`, timeout: 5 }, { prefix: `${LIP_2}/32` }];
  const stage = Stage.use({ shim: { loadBalancers, routing: { steering } } });

  /** Waits until the load balancer has sent nothing in a flow for three seconds. */
  async function silence(lb: string): Promise<void> {
    await eventually(`${lb} is idle`, async () => {
      const [flow] = await stage.resident.flows({ lb });
      return flow.idleSeconds >= 3 || undefined;
    });
  }

  it('an unmarked datagram after the time-out is never delivered as from the former client', async () => {
    const { resident: shim } = stage;
    const ports = Array.from({ length: 5 }, freshPort);
    for (const sourcePort of ports)
      expect((await stage.exchange({ sourcePort, mark: mark(FORMER) })).client).toBe(FORMER);
    for (const sourcePort of ports) await silence(`${LIP}:${sourcePort}`);
    const counted = await shim.counted(async () => {
      for (const sourcePort of ports) {
        const { client, answer } = await stage.exchange({ sourcePort });
        expect(client).toBe(`${LIP}:${sourcePort}`);
        expect(answer).toMatchObject({ source: RIP, destination: LIP, destinationPort: sourcePort });
        // The first datagram has not made it the former client's again.
        expect((await stage.exchange({ sourcePort })).client).toBe(`${LIP}:${sourcePort}`);
        for (const spec of [{ mark: mark(NEXT) }, {}])
          expect((await stage.exchange({ sourcePort, ...spec })).client).toBe(NEXT);
      }
    });
    expect(counted).toMatchObject({ uoa_miss: 2 * ports.length, uoa_replaced: ports.length });
  });

  it('an unmarked datagram before the time-out of its own load balancer is the client’s', async () => {
    const packet = { source: LIP_2, sourcePort: freshPort() };
    expect((await stage.exchange({ ...packet, mark: mark(FORMER) })).client).toBe(FORMER);
    await silence(`${LIP_2}:${packet.sourcePort}`);
    expect((await stage.exchange(packet)).client).toBe(FORMER);
  });
});
