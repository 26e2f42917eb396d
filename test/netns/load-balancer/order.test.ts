/**
 * No packet of a flow arrives ahead of the flow's first mark, however fast the client sends: all go through the TUN until
 * the flow is released.
 *
 *   clients                    LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 LIP ----+---- RS 1 10.10.2.2: uoa-shim
 *                                                                    `---- RS 2 10.10.2.3: uoa-shim
 *                    bursts of six, back to back --->
 */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { said, useLbBench } from '../../support/lb-bench.js';
import { CLIENTS, client, TARGET } from '../../support/lb-lab.js';
import { missing } from '../../support/netns.js';
import { run } from '../../support/process.js';

const BURST = 6;
const BENCH = fileURLToPath(new URL('../../../bench/order.py', import.meta.url));

describe.skipIf(missing() !== undefined)('bursts', () => {
  const bench = useLbBench({
    stopped: true,
    prepare: async ({ lab }) => {
      // One core takes all packets in, so that the order on the wire is the order in which the RS sees them.
      for (const rs of lab.rs)
        await rs.must(['sh', '-c', 'echo 1 > /sys/class/net/eth0/queues/rx-0/rps_cpus']);
    },
  });

  /** Datagrams without a mark to go by, which the RS have counted. */
  async function misses(): Promise<number> {
    const stats = await Promise.all(bench.servers.map(server => server?.stats()));
    return stats.reduce((sum, each) => sum + (each?.uoa_miss ?? 0), 0);
  }

  it.each([
    ['ipo', 5000],
    ['opp', 6000],
  ] as const)(
    'no datagram arrives ahead of its flow’s mark, and the application sees clients only, %s',
    async (carrier, port) => {
      await bench.restart({ carrier });
      const sockets = Array.from({ length: CLIENTS * 2 }, (_, n) => `${client(n % CLIENTS)}:${port + n}`);
      const from = bench.now;
      const missed = await misses();
      const talk = await bench.clients.talk(sockets, TARGET, { burst: BURST, together: 100 });
      expect(talk).toEqual({ sent: sockets.length * BURST, answered: sockets.length * BURST, lost: [] });

      const ahead: string[] = [];
      const named = new Set<string>();
      for (const { mark, payload } of await bench.arrivedAtAll(from)) {
        const flow = said(payload).split(' ')[0];
        if (mark) named.add(`${mark.client}:${mark.port}`);
        if (!named.has(flow)) ahead.push(said(payload));
      }
      expect(named).toEqual(new Set(sockets));
      expect(ahead).toEqual([]);

      const received = await bench.receivedByAll(from);
      expect(received).toHaveLength(sockets.length * BURST);
      for (const { client: seen, payload } of received) {
        const words = said(payload);
        expect(`${words} as ${seen}`).toBe(`${words} as ${words.split(' ')[0]}`);
      }
      expect((await misses()) - missed).toBe(0);
      expect((await bench.shim.stats()).dropped_io).toBe(0);
    },
  );
});

describe.skipIf(missing({ tcpdump: 'tcpdump' }) !== undefined)('bench/order.py', () => {
  it.each([['--ack'], ['--no-ack']])('2000 flows back to back: none is ahead of its mark (%s)', async ack => {
    const outcome = await run(['python3', BENCH, '--flows', '2000', '--rate', '5000', '--json', ack]);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    const figures = JSON.parse(outcome.stdout) as Record<string, number>;
    const sent = 2000 * BURST;
    expect(figures).toMatchObject({ flows: 2000, sent, arrived: sent, lost: 0, unnamed: 0 });
    expect(figures.late).toBeLessThanOrEqual(sent);
  });
});
