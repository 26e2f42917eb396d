/**
 * Some 10,000 packets, each of them accounted for: counters, flows and look-ups against what was sent.
 *
 *   LB namespace (wire.py)                          RS namespace
 *     10.99.1.1 LIP, .3 LIP_2     eth0 ---- eth0 10.99.1.2 RIP:7000, an echo that counts per client
 */
import { describe, expect, it } from 'vitest';
import type { FlowAnswer } from '#shim/daemon/control/answers.js';
import { App } from '../../support/apps.js';
import { useBench } from '../../support/bench.js';
import { DIRECT, LIP, LIP_2, missing, RIP } from '../../support/netns.js';
import { mark, type PacketSpec, text } from '../../support/wire.js';

const FLOWS = 50;
const MARKED = 3;
const PLAIN_ROUNDS = 400;

describe.skipIf(missing() !== undefined)('counters and flows of a real server', () => {
  let app: App;
  const bench = useBench({
    shim: { loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP_2}/32`, ack: false }] },
    prepare: async ({ lab }) => {
      app = await App.start(lab.rs, 'echo', 7000, '--quiet');
    },
  });

  const flows = Array.from({ length: FLOWS }, (_, i) => ({
    source: i % 2 === 0 ? LIP : LIP_2,
    sourcePort: 30000 + i,
    client: `198.51.${100 + (i % 7)}.${i + 1}:${1024 + i}`,
    carrier: i % 3 === 0 ? ('opp' as const) : ('ipo' as const),
  }));
  const packets = (marked: boolean): PacketSpec[] =>
    flows.map(({ source, sourcePort, client, carrier }, i) => ({
      ...{ source, sourcePort, payload: text(`flow ${i}`) },
      ...(marked && { mark: mark(client, carrier) }),
    }));
  const acked = flows.filter(({ source }) => source === LIP).length;

  it('every packet that was sent is counted', async () => {
    const { wire, shim } = bench;
    const counted = await shim.counted(async () => {
      const marked = await wire.exchange(packets(true), MARKED);
      expect(marked).toMatchObject({
        sent: FLOWS * MARKED,
        answered: FLOWS * MARKED,
        acks: acked * MARKED,
        bad: 0,
      });
      const plain = await wire.exchange(packets(false), PLAIN_ROUNDS);
      const sent = FLOWS * PLAIN_ROUNDS;
      expect(plain).toMatchObject({ sent, answered: sent, acks: 0, bad: 0 });
      expect(plain.tally).toEqual(
        Object.fromEntries(flows.map(({ source, sourcePort }) => [`${source}:${sourcePort}`, PLAIN_ROUNDS])),
      );
    });
    const total = FLOWS * (MARKED + PLAIN_ROUNDS);
    expect(counted).toEqual({
      uoa_got: FLOWS * MARKED,
      uoa_none: FLOWS * PLAIN_ROUNDS,
      uoa_saved: FLOWS,
      uoa_ack_sent: acked * MARKED,
      packets_delivered: total,
      replies_translated: total,
    });
    expect((await shim.stats()).flows).toBe(FLOWS);
    expect(await app.tally()).toEqual(
      Object.fromEntries(flows.map(({ client }) => [client, MARKED + PLAIN_ROUNDS])),
    );
  });

  it('every flow is listed with its packets and replies', async () => {
    const each = MARKED + PLAIN_ROUNDS;
    const listed = (await bench.shim.flows()).sort((a, b) => a.lb.localeCompare(b.lb));
    const expected = flows
      .map(({ source, sourcePort, client, carrier }) => ({
        ...{ lb: `${source}:${sourcePort}`, server: `${RIP}:7000`, client, carrier },
        ...{ packets: each, replies: each, datapath: 'tun' },
      }))
      .sort((a, b) => a.lb.localeCompare(b.lb));
    expect(listed).toMatchObject(expected);
    expect(listed).toHaveLength(FLOWS);
    for (const { idleSeconds } of listed) expect(idleSeconds).toBeGreaterThanOrEqual(0);
  });

  it('flows can be filtered by client, load balancer and server', async () => {
    const list = (...filter: string[]) => bench.shim.printed<FlowAnswer[]>('flows', ...filter);
    const [first] = flows;
    expect(await list('--client', first.client)).toMatchObject([{ client: first.client }]);
    expect(await list('--lb', `${first.source}:${first.sourcePort}`)).toMatchObject([
      { client: first.client },
    ]);
    expect(await list('--lb', LIP_2)).toHaveLength(FLOWS - acked);
    expect(await list('--server', `${RIP}:7000`)).toHaveLength(FLOWS);
    expect(await list('--server', `${RIP}:7001`)).toEqual([]);
  });

  it('packets without a mapping are counted, and direct ones are not', async () => {
    const { wire, shim } = bench;
    const rounds = 100;
    const counted = await shim.counted(async () => {
      const unknown = await wire.exchange([{ sourcePort: 39000, payload: text('unknown') }], rounds);
      expect(unknown).toMatchObject({ answered: rounds, bad: 0 });
      const direct = await wire.exchange(
        [{ source: DIRECT, sourcePort: 39001, payload: text('direct') }],
        rounds,
      );
      expect(direct).toMatchObject({ answered: rounds, bad: 0 });
    });
    expect(counted).toEqual({
      ...{ uoa_none: rounds, uoa_miss: rounds, packets_delivered: rounds },
      replies_passed: 2 * rounds,
      asks_sent: expect.any(Number),
    });
  });

  it('look-ups are counted, and end with 0, 1 or 3', async () => {
    const { shim } = bench;
    const [first, ...some] = flows.filter((_, i) => i % 5 === 0);
    const ask = (source: string, destination = `${RIP}:7000`) =>
      shim.cli('lookup', '--source', source, '--destination', destination, '--json');
    const counted = await shim.counted(async () => {
      expect(await ask(`${first.source}:${first.sourcePort}`)).toMatchObject({
        ...{ code: 0, stdout: `{"client":"${first.client}"}\n` },
      });
      for (const { source, sourcePort, client } of some)
        expect(await shim.lookup(`${source}:${sourcePort}`, `${RIP}:7000`)).toBe(client);
      expect(await ask(`${LIP}:1`)).toMatchObject({ code: 1, stdout: '{"client":null}\n' });
      expect(await shim.lookup(`${LIP}:30000`, `${RIP}:7001`)).toBe(null);
    });
    expect(counted).toEqual({ lookup_success: 1 + some.length, lookup_miss: 2 });

    expect(await shim.stop()).toBe(0);
    expect((await ask(`${LIP}:30000`)).code).toBe(3);
    for (const command of ['stats', 'flows', 'status']) {
      const outcome = await shim.cli(command);
      expect(outcome, command).toMatchObject({ code: 3, stdout: '' });
      expect(outcome.stderr.trim().split('\n'), command).toHaveLength(1);
    }
  });
});

describe.skipIf(missing() !== undefined)('a flow table that is too small', () => {
  const bench = useBench({
    shim: { realServer: { maxFlows: 16 } },
    prepare: async ({ lab }) => {
      await App.start(lab.rs, 'echo', 7000, '--quiet');
    },
  });

  it('evicts flows, and loses no packet', async () => {
    const { wire, shim } = bench;
    const many = Array.from({ length: 48 }, (_, i) => ({
      ...{ sourcePort: 31000 + i, payload: text('x'), mark: mark(`198.51.100.7:${2000 + i}`) },
    }));
    const counted = await shim.counted(async () => {
      expect(await wire.exchange(many, 1, 1)).toMatchObject({ sent: 48, answered: 48, acks: 48, bad: 0 });
    });
    expect(counted).toMatchObject({ uoa_saved: 48, flows_evicted: 32, packets_delivered: 48 });
    expect((await shim.stats()).flows).toBe(16);
    expect(await shim.flows()).toHaveLength(16);
  });
});
