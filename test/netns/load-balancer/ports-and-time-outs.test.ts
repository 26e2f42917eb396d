/**
 * For how long conntrack keeps a flow, and which port it gives it: no LIP:lport is another client's while a real server's
 * shim remembers the one before.
 *
 *   clients                    LB: NAT, and uoa-shim                          RS, each an echo on 7000 and uoa-shim
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 10.10.2.1 ----+---- eth0 10.10.2.2
 *   2001:db8:71::1 ...             2001:db8:64::10           fd00:10:2::1  `---- eth0 10.10.2.3
 */
import { afterEach, describe, expect, it } from 'vitest';
import { useLbBench } from '../../support/lb-bench.js';
import { PORT, RIPS, TARGET, TARGET6, VIP } from '../../support/lb-lab.js';
import { missing, type Namespace } from '../../support/netns.js';

interface Entry {
  /** Seconds. */
  left: number;
  clientPort: number;
  lport: number;
}

/** Conntrack's entries of these clients. */
async function entriesOf(lb: Namespace, clients: readonly string[]): Promise<Entry[]> {
  const lists = await Promise.all(
    ['ipv4', 'ipv6'].map(family =>
      lb.must(['conntrack', '-L', '-f', family, '-p', 'udp', '--dport', `${PORT}`]),
    ),
  );
  return lists
    .flatMap(list => list.split('\n'))
    .flatMap(line => {
      const left = Number(/^udp +17 (\d+) /.exec(line)?.[1]);
      const [, source, port] = / src=(\S+) dst=\S+ sport=(\d+) /.exec(line) ?? [];
      const lport = Number(
        / src=\S+ dst=\S+ sport=\d+ dport=(\d+) .*mark=/.exec(line.slice(line.lastIndexOf(' src=')))?.[1],
      );
      const name = source?.includes(':') ? `[${source}]:${port}` : `${source}:${port}`;
      return clients.includes(name) ? [{ left, clientPort: Number(port), lport }] : [];
    });
}

/** What is left of a time-out just begun. Where it is not ours it is the lab's: 3600 s. */
function expectTimeOut(entries: readonly Entry[], seconds: number): void {
  for (const { left } of entries) {
    expect(left).toBeLessThanOrEqual(seconds);
    expect(left).toBeGreaterThan(seconds / 2);
  }
}

describe.skipIf(missing({ conntrack: 'conntrack' }) !== undefined)('managed NAT', () => {
  const bench = useLbBench({ lab: { ipv6: true }, loadBalancer: { flowTimeout: 700 } });

  it('gives flows the time-out flowTimeout, answered or not, and ports at random', async () => {
    const clients = Array.from({ length: 20 }, () => bench.freshClient());
    const clients6 = Array.from({ length: 20 }, () => bench.freshClient6());
    expect(await bench.clients.talk(clients, TARGET)).toMatchObject({ answered: 20 });
    expect(await bench.clients.talk(clients6, TARGET6)).toMatchObject({ answered: 20 });
    const silent = bench.freshClient();
    const { lb } = bench.lab;
    await lb.must([
      'nft',
      'add table ip mute; add chain ip mute c { type filter hook prerouting priority -400; }; add rule ip mute c iifname eth1 drop',
    ]);
    await bench.clients.send({ from: silent, target: TARGET, payloads: ['00'] });
    const all = [...clients, ...clients6, silent];
    const entries = await entriesOf(lb, all);
    await lb.must(['nft', 'delete table ip mute']);
    expect(entries).toHaveLength(all.length);
    expectTimeOut(entries, 700);
    // One of them may be the client's own by chance, but not two.
    expect(entries.filter(({ clientPort, lport }) => clientPort === lport).length).toBeLessThanOrEqual(1);
  });

  it('leaves the host’s time-outs alone where conntrackTimeout is false', async () => {
    await bench.restart({ flowTimeout: 700, conntrackTimeout: false });
    const clients = [bench.freshClient(), bench.freshClient6()];
    await bench.clients.talk(clients.slice(0, 1), TARGET);
    await bench.clients.talk(clients.slice(1), TARGET6);
    expectTimeOut(await entriesOf(bench.lab.lb, clients), 3600);
  });
});

const NAT = `table ip other {
  chain p { type nat hook prerouting priority dstnat; policy accept;
    ip daddr ${VIP} udp dport ${PORT} dnat to ${RIPS[0]}:${PORT}
  }
  chain o { type nat hook postrouting priority srcnat; policy accept;
    meta l4proto udp ct status dnat masquerade
  }
}
`;

describe.skipIf(missing({ conntrack: 'conntrack' }) !== undefined)('external NAT', () => {
  const external = { nat: 'external', interface: { servers: 'eth1' }, localAddresses: [], services: [] };
  const bench = useLbBench({
    stopped: true,
    prepare: async ({ lab }) => {
      await lab.lb.sysctl('net.ipv4.ip_forward', 1);
      await lab.lb.must(['nft', '-f', '-'], NAT);
    },
  });
  afterEach(() => bench.shim.clear());

  it.each([
    [{}, 3600],
    [{ conntrackTimeout: true }, 700],
    [{ conntrackTimeout: true, maxTrails: 0 }, 700],
    [{ conntrackTimeout: true, services: [{ vip: VIP, port: PORT }] }, 700],
    [{ conntrackTimeout: true, services: [{ vip: VIP, port: PORT + 1 }] }, 3600],
  ])('has flows kept as the configuration says (%j: %i s)', async (more, seconds) => {
    await bench.restart({ ...external, flowTimeout: 700, ...more });
    const clients = [bench.freshClient(), bench.freshClient()];
    expect(await bench.clients.talk(clients, TARGET)).toMatchObject({ answered: 2 });
    const entries = await entriesOf(bench.lab.lb, clients);
    expect(entries).toHaveLength(2);
    expectTimeOut(entries, seconds);
  });
});
