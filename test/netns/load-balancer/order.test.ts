/**
 * Packets that pass by the TUN overtake their flow's first ones in it. Whoever comes after a mark, though, is known.
 *
 *   clients                    LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 LIP ----+---- RS 1 10.10.2.2: uoa-shim
 *                                                                    `---- RS 2 10.10.2.3: uoa-shim
 *                    bursts of six, back to back --->
 */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { said, useLbBench } from '../../support/lb-bench.js';
import { CLIENTS, client, LIP, TARGET } from '../../support/lb-lab.js';
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
    'an application never sees the LB’s address behind a mark of the flow, %s',
    async (carrier, port) => {
      await bench.restart({ carrier });
      const sockets = Array.from({ length: CLIENTS * 2 }, (_, n) => `${client(n % CLIENTS)}:${port + n}`);
      const from = bench.now;
      const missed = await misses();
      const talk = await bench.clients.talk(sockets, TARGET, { burst: BURST, together: 100 });
      expect(talk).toEqual({ sent: sockets.length * BURST, answered: sockets.length * BURST, lost: [] });

      /** Datagrams that came behind a mark of their flow, and those that had overtaken it. */
      const behind = new Set<string>();
      const ahead = new Set<string>();
      const named = new Set<string>();
      for (const { mark, payload } of await bench.arrivedAtAll(from)) {
        const flow = said(payload).split(' ')[0];
        if (mark) named.add(`${mark.client}:${mark.port}`);
        (named.has(flow) ? behind : ahead).add(said(payload));
      }
      expect(named).toEqual(new Set(sockets));
      expect(behind.size + ahead.size).toBe(sockets.length * BURST);

      for (const { client: seen, payload } of await bench.receivedByAll(from)) {
        const words = said(payload);
        const isKnown = behind.has(words);
        expect(`${words} as ${seen}`).toMatch(isKnown ? `${words} as ${words.split(' ')[0]}` : `as ${LIP}:`);
      }
      // Those the RS has counted: it had no mark to go by.
      expect((await misses()) - missed).toBe(ahead.size);
      expect((await bench.shim.stats()).dropped_io).toBe(0);
    },
  );
});

describe.skipIf(missing({ tcpdump: 'tcpdump' }) !== undefined)('bench/order.py', () => {
  it.each([['--ack'], ['--no-ack']])('bench/order.py counts every packet (%s)', async ack => {
    const outcome = await run(['python3', BENCH, '--flows', '300', '--json', ack]);
    expect(outcome).toMatchObject({ code: 0, stderr: '' });
    const figures = JSON.parse(outcome.stdout) as Record<string, number>;
    expect(figures).toMatchObject({ flows: 300, sent: 300 * BURST, arrived: 300 * BURST, lost: 0 });
    expect(figures.late).toBeLessThanOrEqual(300 * BURST);
  });
});
