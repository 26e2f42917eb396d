/**
 * Flows survive the shim: whoever ends it, however, the next one knows each flow's client.
 *
 *   LB namespace                                     RS namespace
 *     10.99.1.1 LIP, fd00:99:1::1  eth0 ---- eth0    10.99.1.2 RIP, fd00:99:1::2
 *     steady.py: datagrams without a pause                 port 7001: applications that push to whomever they know
 *     wire.py: sees what comes back                        uoa-shim
 */
import { existsSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { App } from '../../support/apps.js';
import { LIP, LIP6, missing, RIP, RIP6 } from '../../support/netns.js';
import { eventually, JsonProgram } from '../../support/process.js';
import type { Shim, ShimOptions } from '../../support/shim.js';
import { STEERINGS, Stage, type Steering } from '../../support/stage.js';
import { endpoint, mark } from '../../support/wire.js';

const PORT = 7001;

/** By "LIP:lport" who it is. */
const CLIENTS: Readonly<Record<string, string>> = {
  [`${LIP}:41001`]: '198.51.100.7:5555',
  [`${LIP}:41002`]: '198.51.100.7:5556',
  [`${LIP}:41003`]: '203.0.113.9:53',
  [`[${LIP6}]:41001`]: '[2001:db8::7]:5555',
  [`[${LIP6}]:41002`]: '[2001:db8::9]:5555',
};
const flowOf = (client: string) => Object.keys(CLIENTS).find(flow => CLIENTS[flow] === client);

const options = (steering: Steering): ShimOptions => ({
  routing: { steering },
  loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP6}/128` }],
  services: [
    { address: RIP, port: PORT },
    { address: RIP6, port: PORT },
  ],
});

/** Counts datagrams from their client, from the load balancer, and from anyone else; since it was asked last. */
async function tally(apps: readonly App[]): Promise<{ right: Set<string>; lb: number; wrong: string[] }> {
  const result = { right: new Set<string>(), lb: 0, wrong: [] as string[] };
  for (const app of apps)
    for (const [seen, count] of Object.entries(await app.tally())) {
      const [source, client] = seen.split(' ');
      if (source === client) result.right.add(client);
      else if (source === flowOf(client)) result.lb += count;
      else result.wrong.push(seen);
    }
  return result;
}

/** The pushes to clients that came since `from`: those that came by their flow, and all others. */
function pushes(stage: Stage, from: number): { right: Set<string>; wrong: string[] } {
  const result = { right: new Set<string>(), wrong: [] as string[] };
  for (const { destination, destinationPort = 0, payload = '' } of stage.wire.since(from)) {
    const [word, peer] = Buffer.from(payload, 'hex').toString().split(' ');
    if (word !== 'push' || peer in CLIENTS) continue;
    const to = endpoint(destination, destinationPort);
    if (to === flowOf(peer)) result.right.add(peer);
    else result.wrong.push(`${peer} by ${to}`);
  }
  return result;
}

/** All clients are seen as who they are, all pushes go by their flows, and nothing else is to be seen. */
async function isRight(stage: Stage, apps: readonly App[]): Promise<void> {
  // What was under way when the shim came up has arrived by now.
  await tally(apps);
  const from = stage.wire.now;
  const clients = new Set<string>();
  await eventually('every client is seen', async () => {
    const { right, lb, wrong } = await tally(apps);
    expect({ lb, wrong }).toEqual({ lb: 0, wrong: [] });
    for (const client of right) clients.add(client);
    return clients.size === Object.keys(CLIENTS).length || undefined;
  });
  await eventually('every client is pushed to', () => {
    const { right, wrong } = pushes(stage, from);
    expect(wrong).toEqual([]);
    return right.size === clients.size || undefined;
  });
}

/** Without a shim, clients may be seen as their load balancer, but never as one another. */
async function isNeverWrong(apps: readonly App[]): Promise<void> {
  await eventually('datagrams come from the load balancer', async () => {
    const { lb, wrong } = await tally(apps);
    expect(wrong).toEqual([]);
    return lb > 0 || undefined;
  });
}

const log = (shim: Shim): string => shim.program?.log ?? '';

describe.skipIf(missing() !== undefined)('flows survive the shim', () => {
  it.each(STEERINGS)('%s: SIGKILL or SIGTERM, and a start: steady clients and pushes to them', steering =>
    Stage.in(async stage => {
      const { lb, rs } = stage.lab;
      const shim = await stage.running(options(steering));
      const apps = [await App.start(rs, 'push', PORT), await App.start(rs, 'push', PORT, '--bind', '::')];
      const flows = Object.entries(CLIENTS).map(([flow, client]) => `${flow}=${client}`);
      const steady = new JsonProgram(lb.python('steady.py', [`${RIP},${RIP6}`, String(PORT), ...flows]));
      lb.start(steady);
      await steady.event('all marks are out', () => true);
      await isRight(stage, apps);

      for (const signal of ['SIGKILL', 'SIGTERM', 'SIGKILL'] as const) {
        await shim.stop(signal);
        await isNeverWrong(apps);
        await shim.start();
        await isRight(stage, apps);
        expect(log(shim)).toContain(`flows of the run before: ${flows.length} kept`);
      }
      expect(await shim.flows()).toHaveLength(flows.length);
      expect(statSync(rs.flowsOf('uoa0')).mode & 0o777).toBe(0o600);
    }),
  );

  describe('between two runs, a file of saved flows', () => {
    const stage = Stage.use();
    const client = '198.51.100.7:5555';

    /** A run that learns a flow from port `sourcePort`, and is killed. */
    const killed = async (sourcePort: number): Promise<Shim> => {
      const shim = await stage.running();
      await stage.exchange({ sourcePort, mark: mark(client) });
      await shim.stop('SIGKILL');
      return shim;
    };
    const file = (): string => stage.lab.rs.flowsOf('uoa0');

    it.each<[string, string, boolean, () => void]>([
      ['that is as it was', '1 kept', true, () => {}],
      ['that is gone', 'serving', false, () => rmSync(file())],
      ['with a bit changed in its header', 'the file is damaged', false, () => flip(file(), 16)],
      ['cut off behind its first flow', 'the file is cut off', true, () => truncateSync(file(), 1001)],
      ['with a bit changed in a client', '1 damaged', false, () => flip(file(), 48 + 32 + 15)],
    ])('%s: the next run says `%s`, and knows the flow: %s', async (_, words, isKnown, change) => {
      const sourcePort = 42_000;
      const shim = await killed(sourcePort);
      change();
      await shim.start();
      const seen = await stage.exchange({ sourcePort });
      expect(seen.client).toBe(isKnown ? client : `${LIP}:${sourcePort}`);
      expect(log(shim)).toContain(words);
      await stage.exchange({ sourcePort, mark: mark(client) });
      expect((await stage.exchange({ sourcePort })).client).toBe(client);
    });

    it('is removed by `cleanup`', async () => {
      const shim = await killed(42_001);
      expect(await shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
      expect(existsSync(file())).toBe(false);
    });

    it('serves a run with another time-out and another size', async () => {
      const shim = await killed(42_002);
      shim.configure({ realServer: { maxFlows: 10, flowTimeout: 100 } });
      await shim.start();
      expect((await stage.exchange({ sourcePort: 42_002 })).client).toBe(client);
    });

    it('that cannot be made is said, and the shim serves without', async () => {
      const shim = stage.shim();
      const small = 'mount -t tmpfs -o size=200k none /run/uoa-shim && exec "$@"';
      await shim.start('unshare', '--mount', 'sh', '-c', small, 'sh');
      await stage.serves();
      expect(log(shim)).toMatch(/flows will not survive a restart: .*ENOSPC/);
      expect(await shim.stop()).toBe(0);
    });
  });
});

/** Changes a bit of the byte at `offset`. */
function flip(path: string, offset: number): void {
  const bytes = readFileSync(path);
  bytes[offset] ^= 4;
  writeFileSync(path, bytes);
}
