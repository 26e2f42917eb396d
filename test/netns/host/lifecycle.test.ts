/**
 * Coming and going: the host is afterwards as it was before, however the shim ended, and never worse in between.
 *
 *   LB namespace (wire.py)                 RS namespace                          behind it, where a test asks for it
 *     10.99.1.1 LIP, .3 LIP_2    eth0 ---- eth0 10.99.1.2 RIP:7000 echo
 *     10.99.1.7 DIRECT                     eth1 10.99.2.1 ---------------------- eth0 10.99.2.2 (wire.py)
 *     anything else, as a router
 *
 * Tests that need another host have namespaces of their own.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { App, pattern } from '../../support/apps.js';
import { useBench } from '../../support/bench.js';
import { freshPort, freshText } from '../../support/fresh.js';
import { DIRECT, LIP, LIP_2, missing, planned, RIP } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { Shim, type ShimOptions } from '../../support/shim.js';
import { BEHIND, CLIENT, FAR, Stage } from '../../support/stage.js';
import { mark, text, type Wire } from '../../support/wire.js';

const read = (file: string) => readFileSync(file, 'utf8');

/** Of a thread: proc_pid_stat(5), field 19. */
const niceness = (thread: number) =>
  Number(
    read(`/proc/${thread}/stat`)
      .replace(/^.*\) /, '')
      .split(' ')[16],
  );

describe.skipIf(missing() !== undefined)('the lifecycle of a real server', () => {
  const stage = Stage.use();

  // ---- the end -----------------------------------------------------------------------------------------------

  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends it with status 0, and the host is as it was',
    async signal => {
      const { lab } = stage;
      const before = await lab.rs.snapshot();
      const shim = stage.shim();
      await shim.start();
      expect(await lab.rs.snapshot()).not.toEqual(before);
      await stage.serves();
      expect(await shim.stop(signal)).toBe(0);
      expect(await lab.rs.snapshot()).toEqual(before);
      expect(existsSync(join(shim.directory, 'control.sock'))).toBe(false);
      expect((await stage.exchange({ sourcePort: 1234 })).client).toBe(`${LIP}:1234`);
    },
  );

  it('a signal during the start ends it, and leaves nothing behind', async () => {
    const before = await stage.lab.rs.snapshot();
    const shim = stage.shim();
    const program = shim.launch();
    await eventually('a first line', () => program.log !== '' || undefined);
    expect(await shim.stop()).toBe(0);
    expect(await stage.lab.rs.snapshot()).toEqual(before);
  });

  it('the host is as it was after three starts and stops', async () => {
    const before = await stage.lab.rs.snapshot();
    const shim = stage.shim();
    for (let i = 0; i < 3; i++) {
      await shim.start();
      await stage.serves();
      expect(await shim.stop()).toBe(0);
    }
    expect(await stage.lab.rs.snapshot()).toEqual(before);
  });

  it('the loss of its TUN ends it with status 1, and the host is as it was', async () => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    const shim = stage.shim();
    await shim.start();
    await lab.rs.ip('link del uoa0');
    expect(await shim.program?.ended).toBe(1);
    expect(await lab.rs.snapshot()).toEqual(before);
    expect((await stage.exchange({ sourcePort: 1234 })).client).toBe(`${LIP}:1234`);
  });

  it('the main thread is nicer than the data plane’s thread by 10', async () => {
    const shim = stage.shim();
    await shim.start();
    const { pid } = await shim.status();
    const usual = niceness(process.pid);
    await eventually('the main thread is nicer', () => niceness(pid) === usual + 10 || undefined);
    expect(niceness(await shim.idle())).toBe(usual);
  });

  it('it serves on and ends with status 0 when nobody reads its log any more', async () => {
    const before = await stage.lab.rs.snapshot();
    const shim = stage.shim();
    await shim.start();
    shim.program?.hangUp();
    // Something to say: other services, each with rules of its own.
    shim.configure({ services: [{ address: RIP, port: '7000-7001' }] });
    shim.program?.signal('SIGHUP');
    await eventually('it has taken the other configuration', async () => {
      const rules = await stage.lab.rs.ip('rule show');
      return rules.includes('7000-7001') || undefined;
    });
    await stage.serves();
    expect(await shim.stop()).toBe(0);
    expect(await stage.lab.rs.snapshot()).toEqual(before);
  });

  // ---- killed ------------------------------------------------------------------------------------------------

  /** Kills it while datagrams keep coming. */
  async function killInTraffic(shim: Shim): Promise<void> {
    const { wire, app } = stage;
    const sourcePort = freshPort();
    let killed = false;
    const from = app.now;
    const traffic = (async () => {
      for (let i = 0; !killed; i++) {
        const marked = i % 4 === 0 ? { mark: mark(CLIENT) } : {};
        await wire.send(
          ...Array.from({ length: 8 }, () => ({ sourcePort, payload: text('traffic'), ...marked })),
        );
      }
    })();
    await eventually('traffic flows', () => app.clients(from).length > 100 || undefined);
    expect(await shim.stop('SIGKILL')).toBe(-1);
    const fromNow = app.now;
    await eventually('datagrams keep arriving', () => app.clients(fromNow).length > 100 || undefined);
    killed = true;
    await traffic;
  }

  it('after SIGKILL datagrams keep arriving, and `cleanup` restores the host', async () => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    const shim = stage.shim();
    await shim.start();
    await stage.serves();
    await killInTraffic(shim);

    // Nobody takes marks off any more; with ipo that does no harm.
    for (const spec of [{}, { mark: mark(CLIENT) }]) {
      const sourcePort = freshPort();
      const { client, answer } = await stage.exchange({ sourcePort, ...spec });
      expect(client).toBe(`${LIP}:${sourcePort}`);
      expect(answer).toMatchObject({ source: RIP, destination: LIP, destinationPort: sourcePort });
    }
    await stage.servesDirectly([DIRECT, FAR]);
    expect((await shim.cli('status')).code).toBe(3);

    expect(await shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
    expect(await lab.rs.snapshot()).toEqual(before);
    expect(await shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
    expect(await lab.rs.snapshot()).toEqual(before);
  });

  it('after SIGKILL a new run serves, and its end restores the host as it was before the first', async () => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    const shim = stage.shim();
    for (let i = 0; i < 2; i++) {
      await shim.start();
      await stage.serves();
      expect(await shim.stop('SIGKILL')).toBe(-1);
    }
    await shim.start();
    await stage.serves();
    await stage.servesDirectly([DIRECT, FAR]);
    expect(await shim.stop()).toBe(0);
    expect(await lab.rs.snapshot()).toEqual(before);
  });

  it('`cleanup` changes nothing where nothing was left behind, nor under a running shim', async () => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    const shim = stage.shim();
    expect((await shim.cli('cleanup')).code).toBe(0);
    expect(await lab.rs.snapshot()).toEqual(before);
    await shim.start();
    const running = await lab.rs.snapshot();
    expect((await shim.cli('cleanup')).code).toBe(0);
    expect(await lab.rs.snapshot()).toEqual(running);
    await stage.serves();
  });

  // ---- a second one ------------------------------------------------------------------------------------------

  describe('a second run', () => {
    let app: App;
    let before: string[];
    let running: string[];
    const bench = useBench({
      prepare: async ({ lab }) => {
        app = await App.start(lab.rs, 'echo', 7000);
        before = await lab.rs.snapshot();
      },
    });
    beforeAll(async () => {
      running = await bench.lab.rs.snapshot();
    });

    it.each<[string, ShimOptions]>([
      ['the same TUN', {}],
      ['the same TUN, another table', { routing: { table: 300 } }],
      ['the same table, another TUN', { tun: { name: 'uoa1' } }],
      ['half the same tables, another TUN', { tun: { name: 'uoa1' }, routing: { table: 249 } }],
    ])('on %s is refused, and the first goes on', async (_, options) => {
      const { lab, wire } = bench;
      const second = new Shim(lab.rs, { log: { level: 'error' }, ...options });
      const program = second.launch();
      expect(await program.ended).toBe(1);
      await second.dispose();
      expect(program.stdout).toEqual([]);
      expect(program.stderr).toEqual([expect.stringMatching(/^uoa-shim: .*in use/)]);
      expect(await lab.rs.snapshot()).toEqual(running);

      const payload = freshText();
      await wire.send({ sourcePort: freshPort(), payload, mark: mark(CLIENT) });
      expect((await app.got(payload)).client).toBe(CLIENT);
    });

    it('leaves nothing behind when the first has ended', async () => {
      expect(await bench.shim.stop()).toBe(0);
      expect(await bench.lab.rs.snapshot()).toEqual(before);
    });
  });

  it('a run is refused where its routing table has routes', () =>
    Stage.in(async stage => {
      await stage.lab.rs.ip(`route add 198.18.0.0/15 via ${LIP} table 249`);
      const before = await stage.lab.rs.snapshot();
      const program = stage.shim({ log: { level: 'error' } }).launch();
      expect(await program.ended).toBe(1);
      expect(program.stderr).toEqual([expect.stringContaining('249')]);
      expect(await stage.lab.rs.snapshot()).toEqual(before);
    }));

  // ---- hosts of all kinds ------------------------------------------------------------------------------------

  it.each([true, false])('datagrams in fragments show the client (default route: %s)', defaultRoute =>
    Stage.in(
      async stage => {
        const before = await stage.lab.rs.snapshot();
        const shim = stage.shim();
        await shim.start();
        await stage.serves();
        const sourcePort = freshPort();
        for (const [i, spec] of [{ mark: mark(CLIENT) }, {}].entries()) {
          const fragments = { payload: pattern(5000 + i), fragmentAt: 1472, identification: 100 + i };
          const { client, answer } = await stage.exchange({ sourcePort, ...fragments, ...spec });
          expect(client).toBe(CLIENT);
          expect(answer).toMatchObject({ event: 'datagram', destination: LIP, udpChecksum: 'good' });
        }
        await stage.servesDirectly(defaultRoute ? [DIRECT, FAR] : [DIRECT]);
        expect(await shim.stop()).toBe(0);
        expect(await stage.lab.rs.snapshot()).toEqual(before);
      },
      { defaultRoute },
    ),
  );

  it.each<[string, Record<string, number>, boolean]>([
    ['on eth0', { eth0: 1 }, true],
    ['on all', { all: 1 }, true],
    ['on eth0 and all', { eth0: 1, all: 1, default: 1 }, true],
    ['on eth0 and all, without a default route', { eth0: 1, all: 1, default: 1 }, false],
    ['on eth0, loose on all', { eth0: 1, all: 2 }, true],
  ])('marked and direct clients are served with strict rp_filter %s', (_, filters, defaultRoute) =>
    Stage.in(
      async stage => {
        const { lab } = stage;
        for (const [name, value] of Object.entries(filters))
          await lab.rs.sysctl(`net.ipv4.conf.${name}.rp_filter`, value);
        const direct = defaultRoute ? [DIRECT, FAR] : [DIRECT];
        await stage.servesDirectly(direct);
        const before = await lab.rs.snapshot();
        const shim = stage.shim();
        await shim.start();
        await stage.serves();
        await stage.servesDirectly(direct);
        expect(await shim.stop()).toBe(0);
        expect(await lab.rs.snapshot()).toEqual(before);
      },
      { defaultRoute },
    ),
  );

  it('rules, routes, tables and settings that were there before stay', () =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      await rs.sysctl('net.ipv4.conf.eth0.forwarding', 1);
      await rs.sysctl('net.ipv4.udp_early_demux', 0);
      await rs.ip('rule add pref 50 from 10.99.9.0/24 lookup 777');
      await rs.ip('rule add pref 1000 fwmark 0x77 lookup 777');
      await rs.ip(`route add default via ${LIP} table 777`);
      await rs.must(['nft', 'add table ip admins']);
      const before = await rs.snapshot();
      const shim = stage.shim();
      await shim.start();
      const running = await rs.snapshot();
      expect(running).toEqual(
        expect.arrayContaining(before.filter(line => /777|admins|eth0.forwarding/.test(line))),
      );
      await stage.serves();
      expect(await shim.stop()).toBe(0);
      expect(await rs.snapshot()).toEqual(before);
    }));

  it('rules and routes that an administrator adds meanwhile stay', () =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      const shim = stage.shim();
      await shim.start();
      await rs.ip('rule add pref 1000 fwmark 0x77 lookup 777');
      await rs.ip(`route add 198.18.0.0/15 via ${LIP}`);
      expect(await shim.stop()).toBe(0);
      expect(await rs.ip('rule show')).toContain('fwmark 0x77 lookup 777');
      expect(await rs.ip('route show')).toContain('198.18.0.0/15');
    }));

  it('clients are served where the administrator has moved the local rule', () =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      await rs.ip('rule add pref 100 lookup local');
      await rs.ip('rule del pref 0');
      const before = await rs.snapshot();
      const shim = stage.shim();
      await shim.start();
      await stage.serves();
      await stage.servesDirectly([DIRECT, FAR]);
      expect(await shim.stop()).toBe(0);
      expect(await rs.snapshot()).toEqual(before);
    }));

  it('a FORWARD chain that drops what goes to the TUN brings a warning', () =>
    Stage.in(async stage => {
      const policy = 'table ip host { chain f { type filter hook forward priority 0; policy drop; }\n}\n';
      await stage.lab.rs.must(['nft', '-f', '-'], policy);
      const shim = stage.shim();
      await shim.start();
      expect((await shim.status()).warnings).toEqual([expect.stringContaining('ip host f')]);
    }));

  // ---- no router -----------------------------------------------------------------------------------------------

  /** Everything that may want to pass through the RS, and what of it arrived behind. */
  async function passesThrough(stage: Stage, behind: Wire): Promise<string[]> {
    const { lab, wire } = stage;
    const from = behind.now;
    const payload = text('through');
    for (const source of [LIP, DIRECT, FAR]) {
      const packet = { source, destination: BEHIND, destinationPort: 7000, payload };
      await wire.send(packet, { ...packet, mark: mark(CLIENT) }, { ...packet, mark: mark(CLIENT, 'opp') });
      await wire.send({ source, destination: BEHIND, protocol: 1, body: '0800f7ff00000000' });
      await wire.send({
        source,
        destination: BEHIND,
        protocol: 6,
        body: `9c401b58${'00'.repeat(8)}50020400${'00'.repeat(4)}`,
      });
    }
    // The RS has seen to all that, and its own packet comes after whatever it let through.
    await stage.exchange();
    const asking = App.query(lab.rs, BEHIND, 53, '--payload', text('fence'));
    const fence = await behind.event('the RS’s own packet', seen => seen.payload === text('fence'), from);
    await behind.send({
      ...{
        source: BEHIND,
        sourcePort: 53,
        destination: fence.source,
        destinationPort: fence.sourcePort ?? 0,
      },
      payload: text('seen'),
    });
    expect(await asking).toMatchObject({ event: 'answer' });
    return behind.events
      .slice(from)
      .filter(
        seen => seen !== fence && [1, 6, 17, 248].includes(seen.protocol) && seen.source !== '10.99.2.1',
      )
      .map(({ source, protocol }) => `${source} ${protocol}`);
  }

  it('a host that forwards nothing does not become a router', () =>
    Stage.in(async stage => {
      const behind = await stage.behind('--all');
      const before = await stage.lab.rs.snapshot();
      expect(await passesThrough(stage, behind)).toEqual([]);
      const shim = stage.shim();
      await shim.start();
      await stage.serves();
      expect(await passesThrough(stage, behind)).toEqual([]);
      expect(await shim.stop('SIGKILL')).toBe(-1);
      expect(await passesThrough(stage, behind)).toEqual([]);
      expect((await shim.cli('cleanup')).code).toBe(0);
      expect(await stage.lab.rs.snapshot()).toEqual(before);
    }));

  it('a router forwards as before', () =>
    Stage.in(async stage => {
      const behind = await stage.behind('--all');
      for (const name of ['eth0', 'eth1']) await stage.lab.rs.sysctl(`net.ipv4.conf.${name}.forwarding`, 1);
      const passing = await passesThrough(stage, behind);
      expect(passing).toHaveLength(15);
      const shim = stage.shim();
      await shim.start();
      expect(await passesThrough(stage, behind)).toEqual(passing);
      await stage.serves();
    }));

  it('clients behind another interface are answered, and strict rp_filter there brings a warning', () =>
    Stage.in(async stage => {
      const behind = await stage.behind('--all');
      const shim = stage.shim();
      await shim.start();
      const payload = freshText();
      await behind.send({ source: BEHIND, sourcePort: 9, payload });
      expect((await stage.app.got(payload)).client).toBe(`${BEHIND}:9`);
      expect(await behind.answer(payload, 0)).toMatchObject({
        // As without the shim: a socket without an address answers from the route's, whichever was asked.
        source: '10.99.2.1',
        destination: BEHIND,
        udpChecksum: 'good',
      });
      expect((await shim.status()).warnings).toEqual([]);
      await shim.stop();

      await stage.lab.rs.sysctl('net.ipv4.conf.eth1.rp_filter', 1);
      await shim.start();
      expect((await shim.status()).warnings).toEqual([expect.stringContaining('eth1')]);
    }));

  // ---- SIGHUP ------------------------------------------------------------------------------------------------

  it('SIGHUP takes other prefixes and services into use, and flows stay', async () => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    const shim = stage.shim();
    await shim.start();
    const { pid } = await shim.status();
    const known = freshPort();
    await stage.exchange({ sourcePort: known, mark: mark(CLIENT) });
    const learns = async (source: string) => {
      const { client } = await stage.exchange({ source, mark: mark('198.51.100.99:99') });
      return client === '198.51.100.99:99';
    };
    expect(await learns(LIP_2)).toBe(false);

    shim.configure({ loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP_2}/32` }] });
    shim.program?.signal('SIGHUP');
    await eventually('the other load balancer counts', async () => (await learns(LIP_2)) || undefined);
    expect((await stage.exchange({ sourcePort: known })).client).toBe(CLIENT);
    expect(await shim.flows({ client: CLIENT })).toMatchObject([{ packets: 2, replies: 2 }]);

    shim.configure({
      loadBalancers: [{ prefix: `${LIP_2}/32` }],
      services: [{ address: RIP, port: '7000-7001' }],
    });
    shim.program?.signal('SIGHUP');
    await eventually('the first load balancer counts no more', async () => !(await learns(LIP)) || undefined);
    expect((await stage.exchange({ sourcePort: known })).client).toBe(`${LIP}:${known}`);
    expect(await shim.flows({ client: CLIENT })).toHaveLength(1);
    await stage.serves({ source: LIP_2 });

    // One with a fault changes nothing.
    shim.configure({ loadBalancers: [] });
    shim.program?.signal('SIGHUP');
    await eventually('the fault is named', () => shim.program?.log.includes('loadBalancers') || undefined);
    await stage.serves({ source: LIP_2 });
    expect(await shim.status()).toMatchObject({ pid, healthy: true });

    expect(await shim.stop()).toBe(0);
    expect(await lab.rs.snapshot()).toEqual(before);
  });

  // ---- plan --------------------------------------------------------------------------------------------------

  it('`plan` prints the commands that do what `run` does, and those that undo it', () =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      await rs.sysctl('net.ipv4.conf.eth0.rp_filter', 1);
      const before = await rs.snapshot();
      const shim = stage.shim({
        loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: '198.18.0.0/15' }],
        services: [
          { address: RIP, port: 7000 },
          { address: RIP, port: '8000-8999' },
        ],
      });
      const up = await shim.cli('plan', '--up');
      const down = await shim.cli('plan', '--down');
      expect([up.code, down.code]).toEqual([0, 0]);
      expect(await rs.snapshot()).toEqual(before);
      expect((await shim.cli('plan')).stdout).toContain('ip -4 rule add');

      await shim.start();
      const running = await rs.snapshot();
      expect((await shim.cli('plan', '--up')).stdout).toBe(up.stdout);
      await shim.stop();

      await rs.must(['sh', '-e'], up.stdout);
      expect(planned(await rs.snapshot())).toEqual(planned(running));
      await rs.must(['sh', '-e'], down.stdout);
      expect(await rs.snapshot()).toEqual(before);
    }));
});
