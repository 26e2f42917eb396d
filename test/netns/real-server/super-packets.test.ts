/**
 * Senders and applications that have many datagrams sent at once (UDP_SEGMENT, UDP_GRO): they pass the shim as
 * super-packets, and every datagram comes out as it was, in its order and with the client's address.
 *
 *   LB namespace (client, sniffer), all offloads on     RS namespace
 *     10.99.1.1    LIP    eth0 ------------------------ eth0 10.99.1.2, fd00:99::2
 *     fd00:99::1                                          :7000 a plain socket, :7001 one with UDP_GRO
 */
import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab, LIP, missing, RIP } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { Shim, type ShimOptions } from '../../support/shim.js';
import { STEERINGS } from '../../support/stage.js';
import { type End, ManyApp, ManyClient, Sniffer, totalOf } from '../../support/super-packets.js';

const LIP6 = 'fd00:99::1';
const RIP6 = 'fd00:99::2';

interface Family {
  name: string;
  lip: string;
  rip: string;
  client: string;
  clientPort: number;
  /** The option that names the client. */
  mark: string;
}

const IPV4: Family = {
  ...{ name: 'IPv4', lip: LIP, rip: RIP, client: '203.0.113.7', clientPort: 5555 },
  mark: '1f0815b3cb007107',
};
const IPV6: Family = {
  ...{ name: 'IPv6', lip: LIP6, rip: RIP6, client: '2001:db8::7', clientPort: 5555 },
  mark: '1f1215b320010db8000000000000000000000007',
};

interface Scene {
  lab: Lab;
  shim: Shim;
  sniffer: Sniffer;
  client: ManyClient;
  apps: Record<string, ManyApp>;
}

const SERVICES = [RIP, RIP6].map(address => ({ address, port: '7000-7001' }));

async function setUp(options: ShimOptions): Promise<Scene> {
  const lab = await Lab.create({});
  const { lb, rs } = lab;
  await lb.ip(`-6 address replace ${LIP6}/64 dev eth0 nodad`);
  await rs.ip(`-6 address replace ${RIP6}/64 dev eth0 nodad`);
  await rs.ip(`-6 route replace default via ${LIP6}`);
  for (const side of [lb, rs])
    await side.must(['ethtool', '-K', 'eth0', ...'tx on rx on gso on tx-udp-segmentation on'.split(' ')]);
  const shim = await Shim.start(rs, {
    loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP6}/128` }],
    services: SERVICES,
    ...options,
  });
  const apps: Record<string, ManyApp> = {};
  for (const address of [RIP, RIP6]) {
    apps[`${address} 7000`] = await ManyApp.start(rs, address, 7000);
    apps[`${address} 7001`] = await ManyApp.start(rs, address, 7001, '--gro');
  }
  const client = await ManyClient.start(lb);
  const sniffer = await Sniffer.start(lb, 'eth0', RIP, RIP6);
  return { lab, shim, sniffer, client, apps };
}

async function tearDown({ shim, lab }: Scene): Promise<void> {
  await shim.dispose();
  await lab.delete();
}

let flows = 0;

/** A flow of its own: its number, and its ends. */
function newFlow({ lip, rip }: Family, port: number) {
  flows++;
  const source: End = [lip, 40_000 + flows];
  const destination: End = [rip, port];
  return { flow: flows, source, destination };
}

const text = ([address, port]: End) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** How an application's tally names a flow whose client is known. */
function keyOf(flow: number, { client, clientPort }: Family, destination: End): string {
  return `${flow} from ${text([client, clientPort])} to ${text(destination)}`;
}

interface DeviceCounts {
  in: number;
  out: number;
}

/** Packets that the kernel gave to the shim's TUN, and took from it. */
async function countsOf({ lab }: Scene): Promise<DeviceCounts> {
  const [{ stats64 }] = JSON.parse(await lab.rs.ip('-s -j link show uoa0'));
  return { in: stats64.rx.packets, out: stats64.tx.packets };
}

/** Sends a marked datagram and then others, all of one flow, and looks at what the application got. */
async function exchange(scene: Scene, family: Family, port: number, count: number, segments = 50) {
  const { client, apps } = scene;
  const { flow, source, destination } = newFlow(family, port);
  const app = apps[`${family.rip} ${port}`];
  const before = await app.tally();
  await client.send(source, destination, { flow, count: 1 }, family.mark);
  await client.send(source, destination, { flow, first: 1, count: count - 1, last: 77, segments });
  const key = keyOf(flow, family, destination);
  const total = totalOf(before);
  const after = await app.until(total + count);
  expect(after.faults).toEqual([]);
  expect(after.flows[key]).toEqual({ count, next: count });
  expect(Object.keys(after.flows).filter(name => name.startsWith(`${flow} `))).toEqual([key]);
  return { flow, source, destination, app, calls: after.calls - before.calls, longest: after.longest };
}

const LOTS = 1001;

/** While the shim stands still, so that what is sent meanwhile comes to it at once, in full batches. */
async function halted({ shim }: Scene, act: () => Promise<void>): Promise<void> {
  shim.program?.signal('SIGSTOP');
  try {
    const tasks = `/proc/${shim.program?.pid}/task`;
    const isHalted = (thread: string) => / T /.test(readFileSync(`${tasks}/${thread}/stat`, 'utf8'));
    await eventually('all of its threads stand still', () => readdirSync(tasks).every(isHalted) || undefined);
    await act();
  } finally {
    shim.program?.signal('SIGCONT');
  }
}

describe.skipIf(missing() !== undefined)('super-packets', () => {
  describe.each(STEERINGS)('by %s', steering => {
    let scene: Scene;
    beforeAll(async () => {
      scene = await setUp({ routing: { steering } });
    });
    afterAll(() => tearDown(scene));

    describe.each([IPV4, IPV6])('$name', family => {
      it('a plain socket gets the datagrams of a super-packet one by one', async () => {
        const before = await countsOf(scene);
        const { calls, longest } = await exchange(scene, family, 7000, LOTS);
        expect([calls, longest]).toEqual([LOTS, 1200]);
        const after = await countsOf(scene);
        // They pass the TUN as few: 20 sends, one marked packet, and what else the host has to say.
        expect(after.out - before.out).toBeLessThan(LOTS / 10);
        expect(after.in - before.in).toBeLessThan(LOTS / 10);
      });

      it('a socket with UDP_GRO gets super-packets whole', async () => {
        const { calls, longest } = await exchange(scene, family, 7001, LOTS);
        expect(calls).toBeLessThan(LOTS / 10);
        expect(longest).toBeGreaterThan(10_000);
      });

      it('the counters count the datagrams of a super-packet', async () => {
        const counted = await scene.shim.counted(async () => {
          await exchange(scene, family, 7000, 301);
        });
        expect(counted).toMatchObject({ uoa_got: 1, uoa_none: 300, packets_delivered: 301, uoa_saved: 1 });
        expect(counted.dropped_io).toBeUndefined();
      });

      it('super-packets of an application leave as datagrams', async () => {
        const { flow, source, destination, app } = await exchange(scene, family, 7000, 3);
        const { sniffer, shim } = scene;
        const seen = await sniffer.tally();
        const total = totalOf(seen);
        const counted = await shim.counted(async () => {
          await app.reply([family.client, family.clientPort], { flow, count: LOTS, size: 1100, last: 33 });
          await sniffer.until(total + LOTS);
        });
        const after = await sniffer.tally();
        expect(after.faults).toEqual([]);
        expect(after.flows[`${flow} from ${text(destination)} to ${text(source)}`]).toEqual({
          count: LOTS,
          next: LOTS,
        });
        expect(after.longest).toBeLessThanOrEqual(1500);
        expect(counted.replies_translated).toBe(LOTS);
      });

      it('super-packets of several flows keep their datagrams apart', async () => {
        const { client, apps } = scene;
        const app = apps[`${family.rip} 7001`];
        const before = await app.tally();
        const total = totalOf(before);
        const all = Array.from({ length: 8 }, () => newFlow(family, 7001));
        for (const { flow, source, destination } of all)
          await client.send(source, destination, { flow, count: 1 }, family.mark);
        for (let first = 1; first < 201; first += 20)
          for (const { flow, source, destination } of all)
            await client.send(source, destination, {
              ...{ flow, first, count: 20, size: 100 + flow, last: 50 },
              segments: flow % 2 === 0 ? 20 : 1,
            });
        const after = await app.until(total + 8 * 201);
        expect(after.faults).toEqual([]);
        for (const { flow, destination } of all)
          expect(after.flows[keyOf(flow, family, destination)]).toEqual({ count: 201, next: 201 });
      });

      it('neighbours of one flow that come as single datagrams are merged', async () => {
        const { client } = scene;
        const { flow, source, destination, app } = await exchange(scene, family, 7001, 2);
        const total = totalOf(await app.tally());
        const before = await countsOf(scene);
        await halted(scene, () =>
          client.send(source, destination, { flow, first: 2, count: 320, last: 70, segments: 1 }),
        );
        const tally = await app.until(total + 320);
        const after = await countsOf(scene);
        expect(tally.faults).toEqual([]);
        expect(after.out - before.out).toBeGreaterThanOrEqual(320);
        expect(after.in - before.in).toBeLessThan(320 / 10);
      });

      it('a datagram with a wrong checksum is dropped, and no other', async () => {
        const { client, apps } = scene;
        const { flow, source, destination } = await exchange(scene, family, 7000, 2);
        const app = apps[`${family.rip} 7000`];
        const before = await app.tally();
        const total = totalOf(before);
        await halted(scene, async () => {
          for (let first = 2; first < 102; first += 10) {
            await client.send(source, destination, { flow, first, count: 5, segments: 1 });
            await client.corrupt(source, destination, flow, [first + 5, first + 6]);
            await client.send(source, destination, { flow, first: first + 7, count: 3, segments: 1 });
          }
        });
        await client.send(source, destination, { flow, first: 102, count: 1 });
        const after = await app.until(total + 81);
        expect(after.faults).toEqual([]);
        const key = keyOf(flow, family, destination);
        expect(after.flows[key]).toEqual({ count: 2 + 81, next: 103 });
      });
    });

    // In IPv4: Linux sends nothing by UDP_SEGMENT that has extension headers.
    it('every datagram of a marked super-packet is counted and acknowledged', async () => {
      const { client, apps, shim } = scene;
      const { flow, source, destination } = newFlow(IPV4, 7000);
      const app = apps[`${RIP} 7000`];
      const before = await app.tally();
      const total = totalOf(before);
      const counted = await shim.counted(async () => {
        await client.send(source, destination, { flow, count: 60, segments: 20 }, IPV4.mark);
        await client.send(source, destination, { flow, first: 60, count: 60, segments: 20 });
        await app.until(total + 120);
      });
      const after = await app.tally();
      expect(after.faults).toEqual([]);
      const key = keyOf(flow, IPV4, destination);
      expect(after.flows[key]).toEqual({ count: 120, next: 120 });
      expect(counted).toMatchObject({ uoa_got: 60, uoa_none: 60, uoa_saved: 1, packets_delivered: 120 });
      expect(counted.uoa_ack_sent).toBe(3);
    });
  });

  describe.each([
    ['without offload', { offload: 'off' }, false],
    ['without merging', { merge: false }, true],
  ])('%s', (_, tun, hasOffload) => {
    let scene: Scene;
    beforeAll(async () => {
      scene = await setUp({ tun });
    });
    afterAll(() => tearDown(scene));

    it.each([IPV4, IPV6])('all datagrams arrive, $name', async family => {
      const before = await countsOf(scene);
      const { client } = scene;
      const { flow, source, destination, app } = await exchange(scene, family, 7000, LOTS);
      const total = totalOf(await app.tally());
      const after = await countsOf(scene);
      if (hasOffload) expect(after.out - before.out).toBeLessThan(LOTS / 10);
      else expect(after.out - before.out).toBeGreaterThanOrEqual(LOTS);
      await halted(scene, () =>
        client.send(source, destination, { flow, first: LOTS, count: 320, segments: 1 }),
      );
      const { faults: none, flows: got } = await app.until(total + 320);
      expect(none).toEqual([]);
      expect(got[keyOf(flow, family, destination)]).toEqual({ count: LOTS + 320, next: LOTS + 320 });
      const last = await countsOf(scene);
      expect(last.in - after.in).toBeGreaterThanOrEqual(320);

      const { sniffer } = scene;
      const seen = await sniffer.tally();
      await app.reply([family.client, family.clientPort], { flow, count: 200 });
      const { faults, flows: byFlow } = await sniffer.until(totalOf(seen) + 200);
      expect(faults).toEqual([]);
      expect(byFlow[`${flow} from ${text(destination)} to ${text(source)}`]).toEqual({
        count: 200,
        next: 200,
      });
    });
  });
});
