/**
 * The load balancer's shim comes, goes and is killed: the NAT goes on, and in the end the host is as it was.
 *
 *   clients                    LB: nftables and uoa-shim, now and then           RS 1 and 2: uoa-shim, echo on 7000
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 10.10.2.1 LIP ----+---- eth0 10.10.2.2
 *                              rp_filter strict everywhere, no forwarding      |
 *                                                                              `---- eth0 10.10.2.3
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type BenchTime, said, useLbBench } from '../../support/lb-bench.js';
import { client, LIP, lbOptions, PORT, RIPS, TARGET, VIP, VIP_2 } from '../../support/lb-lab.js';
import { missing, planned } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { Shim } from '../../support/shim.js';

const to = (servers: readonly number[], more: Record<string, unknown> = {}) => ({
  ...{ vip: VIP, port: PORT, schedule: 'round-robin' },
  realServers: servers.map(n => ({ address: RIPS[n] })),
  ...more,
});

describe.skipIf(missing() !== undefined)('the load balancer’s lifecycle', () => {
  const bench = useLbBench({ stopped: true });
  let before: string[];

  beforeAll(async () => {
    before = await bench.lab.snapshot();
  });
  afterEach(async () => {
    await bench.shim.clear();
    bench.shim.configure(lbOptions());
  });

  /** Flows to both RS, a few datagrams each; whether the applications saw the clients. */
  async function serves(target = TARGET): Promise<void> {
    const from = bench.now;
    const clients = [bench.freshClient(), bench.freshClient()];
    expect(await bench.clients.talk(clients, target, { rounds: 5 })).toMatchObject({
      answered: 10,
      lost: [],
    });
    const received = await bench.receivedByAll(from);
    expect(received).toHaveLength(10);
    for (const { client: seen, payload } of received) expect(said(payload)).toContain(`${seen} `);
  }

  let port = 30000;
  /** Flows that go on and on, and new ones all the time, while `act` is done; who was lost. */
  async function amidTraffic(act: (progress: () => Promise<void>) => Promise<void>) {
    const known = Array.from({ length: 8 }, (_, n) => `${client(n)}:4242`);
    const from = bench.now;
    await bench.clients.stream(known, TARGET, [client(100), port, port + 5000]);
    port += 5000;
    /** Waits until new and old flows have been heard of since. */
    const progress = async () => {
      const now = bench.now;
      await eventually('traffic flows', async () => {
        const received = bench.apps.flatMap((app, n) => app.events.slice(now.apps[n]));
        const spoke = received
          .filter(({ event }) => event === 'datagram')
          .map(({ payload }) => said(payload));
        const visitors = spoke.filter(words => words.startsWith(`${client(100)}:`));
        return (visitors.length >= 10 && spoke.length >= 100) || undefined;
      });
    };
    await progress();
    await act(progress);
    const tally = await bench.clients.halt();
    expect(tally.sent).toBeGreaterThan(200);
    return { ...tally, from };
  }

  /** Visitors' datagrams since `from`: whom the application took each for, if not for who it was. */
  async function mistaken(from: BenchTime): Promise<string[]> {
    const received = await bench.receivedByAll(from);
    return received.flatMap(({ client: seen, payload }) =>
      said(payload).startsWith(`${seen} `) ? [] : [seen],
    );
  }

  // ---- the end -----------------------------------------------------------------------------------------------

  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends it with status 0, and the host is as it was',
    async signal => {
      for (let i = 0; i < 2; i++) {
        await bench.shim.start();
        const running = await bench.lab.snapshot();
        const settings = (lines: string[]) =>
          lines.filter(line => line.startsWith('sysctls: net.netfilter.'));
        expect(settings(running)).toEqual(settings(before));
        await serves();
        expect(await bench.shim.stop(signal)).toBe(0);
        expect(await bench.lab.snapshot()).toEqual(before);
      }
    },
  );

  it('a signal during the start ends it, and leaves nothing behind', async () => {
    const program = bench.shim.launch();
    await eventually('a first line', () => program.log !== '' || undefined);
    expect(await bench.shim.stop()).toBe(0);
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  it('rules and settings that were there before stay', async () => {
    const { lb } = bench.lab;
    const rules = 'table ip admins { chain c { type filter hook forward priority 5; counter; }\n}\n';
    await lb.must(['nft', '-f', '-'], rules);
    await lb.sysctl('net.ipv4.conf.eth0.forwarding', 1);
    try {
      const other = (await bench.lab.snapshot()).map(line => line.replace(/packets \d+ bytes \d+/, ''));
      await bench.shim.start();
      await serves();
      expect(await bench.shim.stop()).toBe(0);
      const after = (await bench.lab.snapshot()).map(line => line.replace(/packets \d+ bytes \d+/, ''));
      expect(after).toEqual(other);
    } finally {
      await lb.must(['nft', 'delete table ip admins']);
      await lb.sysctl('net.ipv4.conf.eth0.forwarding', 0);
    }
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  it('the loss of its TUN ends it with status 1, and the host is as it was', async () => {
    await bench.shim.start();
    await serves();
    await bench.lab.lb.ip('link del uoa0');
    expect(await bench.shim.program?.ended).toBe(1);
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  it('a second run is refused, and the first goes on', async () => {
    await bench.shim.start();
    const running = await bench.lab.snapshot();
    const second = new Shim(bench.lab.lb, lbOptions({}, { log: { level: 'error' } }));
    try {
      const program = second.launch();
      expect(await program.ended).toBe(1);
      expect(program.stderr).toEqual([expect.stringMatching(/^uoa-shim: .*in use/)]);
    } finally {
      await second.dispose();
    }
    expect(await bench.lab.snapshot()).toEqual(running);
    await serves();
  });

  it.each<[string, Record<string, unknown>, number, RegExp]>([
    ['a local address that is not its own', { localAddresses: ['10.10.2.77'] }, 78, /10\.10\.2\.77/],
    [
      'a real server without a route',
      { services: [{ ...to([]), realServers: [{ address: '192.0.2.7' }] }] },
      1,
      /192\.0\.2\.7/,
    ],
    ['an interface that is not there', { interface: { servers: 'eth7' } }, 1, /eth7/],
  ])('a start with %s is refused, and leaves nothing behind', async (_, loadBalancer, code, says) => {
    bench.shim.configure(lbOptions(loadBalancer, { log: { level: 'error' } }));
    const program = bench.shim.launch();
    expect(await program.ended).toBe(code);
    expect(program.stderr).toEqual([expect.stringMatching(says)]);
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  // ---- killed ------------------------------------------------------------------------------------------------

  it('after SIGKILL the NAT works on without marks, and the next start loses no datagram', async () => {
    await bench.shim.start();
    let from = bench.now;
    const killed = await amidTraffic(async progress => {
      expect(await mistaken(from)).toEqual([]);
      expect(await bench.shim.stop('SIGKILL')).toBe(-1);
      from = bench.now;
      await progress();
    });
    expect(killed.lost).toEqual([]);
    // One new flow at a time, so one datagram at most was in the shim's hands.
    expect(killed.visitors.lost.length).toBeLessThanOrEqual(1);
    expect((await bench.shim.cli('status')).code).toBe(3);

    // New flows are balanced as ever, just without marks; flows that were known to the RS stay so.
    const dead = await mistaken(from);
    expect(dead.length).toBeGreaterThan(5);
    for (const seen of dead) expect(seen).toMatch(new RegExp(`^${LIP}:`));
    for (const n of [0, 1]) expect((await bench.received(n, from)).length).toBeGreaterThan(0);
    expect((await bench.arrivedAtAll(from)).filter(({ mark: found }) => found)).toHaveLength(0);

    const restarted = await amidTraffic(async progress => {
      await bench.shim.start();
      from = bench.now;
      await progress();
    });
    expect(restarted).toMatchObject({ lost: [], visitors: { lost: [] } });
    expect(bench.shim.program?.log).toContain('taken over');
    await serves();
    expect(await bench.shim.stop()).toBe(0);
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  it('`cleanup` after SIGKILL restores the host, and a second one changes nothing', async () => {
    await bench.shim.start();
    await serves();
    const running = await bench.lab.snapshot();
    expect(await bench.shim.cli('cleanup')).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('being served'),
    });
    expect(await bench.lab.snapshot()).toEqual(running);
    expect(await bench.shim.stop('SIGKILL')).toBe(-1);
    for (let i = 0; i < 2; i++) {
      expect(await bench.shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
      expect(await bench.lab.snapshot()).toEqual(before);
    }
  });

  it.each(['run', 'cleanup'])('`%s` undoes what an older version has set: nf_conntrack_acct', async by => {
    const { lb } = bench.lab;
    await bench.shim.start();
    expect(await bench.shim.stop('SIGKILL')).toBe(-1);
    // That version set it between the NAT and the marks.
    const file = lb.stateOf('uoa0');
    const { undo, ...state } = JSON.parse(readFileSync(file, 'utf8')) as { undo: { key: string }[] };
    const accounting = { kind: 'sysctl', key: 'net.netfilter.nf_conntrack_acct', value: '1', before: '0' };
    const isNat = ({ key }: { key: string }) => key.endsWith('_nat');
    const older = [...undo.filter(isNat), accounting, ...undo.filter(entry => !isNat(entry))];
    writeFileSync(file, JSON.stringify({ ...state, undo: older }));
    await lb.sysctl(accounting.key, 1);
    if (by === 'cleanup') expect(await bench.shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
    else {
      await bench.shim.start();
      expect(await lb.must(['sysctl', '-n', accounting.key])).toBe('0\n');
      await serves();
      expect(await bench.shim.stop()).toBe(0);
    }
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  it('an orderly end restores the host after three kills with other configurations', async () => {
    for (const loadBalancer of [
      {},
      { services: [to([1])], maxTrails: 1 },
      { carrier: 'opp', maxTrails: 0 },
    ]) {
      bench.shim.configure(lbOptions(loadBalancer));
      await bench.shim.start();
      expect(await bench.clients.talk([bench.freshClient()], TARGET)).toMatchObject({ lost: [] });
      expect(await bench.shim.stop('SIGKILL')).toBe(-1);
    }
    await bench.shim.start();
    expect(await bench.shim.stop()).toBe(0);
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  // ---- SIGHUP ------------------------------------------------------------------------------------------------

  it('SIGHUP changes services, weights, marks and carrier without losing a datagram', async () => {
    bench.shim.configure(lbOptions({ services: [to([0, 1])] }));
    await bench.shim.start();
    const { pid } = await bench.shim.status();
    let later = bench.now;
    const newcomers = async (n: number) => {
      const received = await bench.received(n, later);
      return received.filter(({ payload }) => said(payload).startsWith(`${client(100)}:`)).length;
    };
    const { lost, visitors } = await amidTraffic(async progress => {
      await bench.reload({
        services: [to([0, 1], { realServers: [{ address: RIPS[0], weight: 0 }, { address: RIPS[1] }] })],
      });
      await progress();
      later = bench.now;
      await progress();
      expect([await newcomers(0), (await newcomers(1)) > 0]).toEqual([0, true]);
      // Flows that the first one has stay with it.
      expect((await bench.received(0, later)).length).toBeGreaterThan(0);

      await bench.reload({
        services: [
          to([0]),
          to([1], { vip: VIP_2, port: 9000, realServers: [{ address: RIPS[1], port: PORT }] }),
        ],
      });
      await progress();
      later = bench.now;
      await progress();
      expect([(await newcomers(0)) > 0, await newcomers(1)]).toEqual([true, 0]);

      for (const [loadBalancer, carriers] of [
        [{ carrier: 'opp' }, ['opp']],
        [{ carrier: 'ipo', maxTrails: 1 }, ['ipo']],
        [{ carrier: 'ipo', maxTrails: 0 }, []],
      ] as const) {
        await bench.reload({ services: [to([0, 1])], ...loadBalancer });
        await progress();
        later = bench.now;
        await progress();
        const marks = (await bench.arrivedAtAll(later)).flatMap(({ mark: found }) => found?.carrier ?? []);
        expect([...new Set(marks)]).toEqual(carriers);
      }
    });
    expect({ lost, visitors: visitors.lost }).toEqual({ lost: [], visitors: [] });

    await bench.reload({
      services: [
        to([0, 1]),
        to([1], { vip: VIP_2, port: 9000, realServers: [{ address: RIPS[1], port: PORT }] }),
      ],
    });
    await serves(`${VIP_2}:9000`);
    // A fault changes nothing.
    bench.shim.configure(lbOptions({ services: [], maxTrails: 101 }));
    bench.shim.program?.signal('SIGHUP');
    await eventually(
      'the fault is named',
      () => bench.shim.program?.log.includes('maxTrails: 101') || undefined,
    );
    await serves(`${VIP_2}:9000`);
    expect(await bench.shim.status()).toMatchObject({ pid, healthy: true });
    expect(await bench.shim.stop()).toBe(0);
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  // ---- plan --------------------------------------------------------------------------------------------------

  it('`plan` prints the commands that do what `run` does, and those that undo it', async () => {
    const { lb } = bench.lab;
    bench.shim.configure(
      lbOptions({ services: [to([0, 1]), to([1], { vip: VIP_2, schedule: 'source-hash' })] }),
    );
    const up = await bench.shim.cli('plan', '--up');
    const down = await bench.shim.cli('plan', '--down');
    expect([up.code, down.code]).toEqual([0, 0]);
    expect(await bench.lab.snapshot()).toEqual(before);

    await bench.shim.start();
    const running = await bench.lab.snapshot();
    expect((await bench.shim.cli('plan', '--up')).stdout).toBe(up.stdout);
    await bench.shim.stop();

    await lb.must(['sh', '-e'], up.stdout);
    expect(planned(await bench.lab.snapshot())).toEqual(planned(running));
    await lb.must(['sh', '-e'], down.stdout);
    expect(await bench.lab.snapshot()).toEqual(before);
  });
});
