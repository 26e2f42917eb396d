/**
 * Flows that are older than the load balancer's shim, and flows that begin while it starts: all get their marks.
 *
 *   clients                    LB: NAT, and uoa-shim comes later              RS, each an echo on 7000 and uoa-shim
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 10.10.2.1 ----+---- eth0 10.10.2.2
 *     one socket each, and                                                 `---- eth0 10.10.2.3
 *     never a pause
 */
import { afterEach, describe, expect, it } from 'vitest';
import { type LbBench, said, useLbBench } from '../../support/lb-bench.js';
import { CLIENTS, client, PORT, RIPS, TARGET, VIP } from '../../support/lb-lab.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';

/** Somebody else's NAT, which forwards to the real servers by turns. */
const NAT = `table ip other {
  chain p { type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${VIP} udp dport ${PORT} dnat ip addr . port to numgen inc mod 2 map { 0 : ${RIPS[0]} . ${PORT}, 1 : ${RIPS[1]} . ${PORT} }
  }
  chain o { type nat hook postrouting priority srcnat; policy accept;
    meta l4proto udp ct status dnat masquerade
  }
}
`;

/** Waits until the real servers' shims know all of these clients. */
function allKnown(bench: LbBench, clients: readonly string[]): Promise<unknown> {
  return eventually('all clients are known', async () => {
    const flows = await Promise.all(bench.servers.map(server => server?.flows()));
    const known = new Set(flows.flatMap(list => list ?? []).map(flow => flow.client));
    return clients.every(name => known.has(name)) || undefined;
  });
}

/** From now on each datagram that reaches an application comes from its client; as many as there are clients are looked at. */
async function seenAsThemselves(bench: LbBench, clients: readonly string[]): Promise<void> {
  const from = bench.now;
  const received = await eventually('each has been heard of again', async () => {
    const all = await bench.receivedByAll(from);
    const speakers = new Set(all.map(({ payload }) => said(payload).split(' ')[0]));
    return clients.every(name => speakers.has(name)) ? all : undefined;
  });
  const mistaken = received.filter(({ client: seen, payload }) => !said(payload).startsWith(`${seen} `));
  expect(mistaken.map(({ client: seen, payload }) => `${said(payload)} as ${seen}`)).toEqual([]);
}

describe.skipIf(missing() !== undefined)('steady clients of an external NAT', () => {
  const bench = useLbBench({
    stopped: true,
    loadBalancer: { nat: 'external', interface: { servers: 'eth1' }, localAddresses: [], services: [] },
    prepare: async ({ lab }) => {
      await lab.lb.sysctl('net.ipv4.ip_forward', 1);
      await lab.lb.must(['nft', '-f', '-'], NAT);
    },
  });

  it('are known once the shim has started, though their flows are older, and none lost a datagram', async () => {
    const clients = Array.from({ length: 100 }, (_, n) => `${client(n % CLIENTS)}:${4000 + n}`);
    const from = bench.now;
    await bench.clients.stream(clients, TARGET, [client(0), 1, 1]);
    await eventually('all have been heard of', async () => {
      const received = await bench.receivedByAll(from);
      return new Set(received.map(({ client: seen }) => seen)).size >= clients.length || undefined;
    });
    await bench.shim.start();
    await allKnown(bench, clients);
    await seenAsThemselves(bench, clients);
    expect((await bench.clients.halt()).lost).toEqual([]);
    const stats = await bench.shim.stats();
    expect(stats).toMatchObject({
      flows_acked: clients.length,
      flows_released: clients.length,
      dropped_io: 0,
    });
  });
});

describe.skipIf(missing() !== undefined)('flows that begin while managed NAT starts', () => {
  const bench = useLbBench({ stopped: true });
  afterEach(() => bench.shim.clear());

  it.each([1, 2, 3])('are all known in the end (start %i)', async round => {
    const ports = [10_000 * round, 10_000 * round + 60] as const;
    const clients = Array.from({ length: 60 }, (_, n) => `${client(round)}:${ports[0] + n}`);
    await bench.clients.swarm(client(round), ports, TARGET, 0.02);
    await bench.shim.start();
    await allKnown(bench, clients);
    await seenAsThemselves(bench, clients);
    await bench.clients.disperse();
    expect(await bench.shim.stop()).toBe(0);
  });
});
