/**
 * The commands and their exit statuses, as scripts rely on them.
 *
 *   RS namespace: eth0 10.99.1.2 RIP, uoa-shim now and then          LB namespace: only its addresses
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { App } from '../../support/apps.js';
import { Lab, LIP, missing, RIP } from '../../support/netns.js';
import type { Outcome } from '../../support/process.js';
import { Shim, type ShimOptions, type Stats } from '../../support/shim.js';
import { mark, text, Wire } from '../../support/wire.js';

const COMMANDS = ['run', 'check', 'plan', 'cleanup', 'status', 'stats', 'flows', 'lookup'];
const STATUS = {
  ok: 0,
  failed: 1,
  notRunning: 3,
  usage: 64,
  unavailable: 69,
  notPermitted: 77,
  configuration: 78,
};

const lines = (output: string) => output.split('\n').filter(line => line !== '');

/** One line on stderr, which `says` something, and nothing on stdout. */
function expectOneLine(outcome: Outcome, code: number, says: RegExp): void {
  expect(outcome).toMatchObject({ code, stdout: '' });
  expect(lines(outcome.stderr)).toEqual([expect.stringMatching(says)]);
}

describe.skipIf(missing() !== undefined)('command line', () => {
  let lab: Lab;
  let shim: Shim;
  let untouched: string[];

  beforeAll(async () => {
    lab = await Lab.create();
    shim = new Shim(lab.rs);
    untouched = await lab.rs.snapshot();
  });
  afterAll(async () => {
    await shim?.dispose();
    await lab?.delete();
  });

  /** Another configuration for one test; never running at its end. */
  async function withShim(options: ShimOptions, act: (other: Shim) => Promise<void>): Promise<void> {
    const other = new Shim(lab.rs, options);
    try {
      await act(other);
    } finally {
      await other.dispose();
    }
    expect(await lab.rs.snapshot()).toEqual(untouched);
  }

  // ---- usage -------------------------------------------------------------------------------------------------

  it('--help lists the commands that work, and no others', async () => {
    const help = await shim.bare('--help');
    expect(help).toMatchObject({ code: STATUS.ok, stderr: '' });
    for (const command of COMMANDS) expect(help.stdout).toMatch(new RegExp(`^ +${command} `, 'm'));
    for (const command of ['top', 'doctor', 'decode'])
      expect(help.stdout).not.toMatch(new RegExp(`^ +${command} `, 'm'));
  });

  it('--version prints the version of package.json', async () => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
    ) as {
      version: string;
    };
    expect(await shim.bare('--version')).toMatchObject({ code: STATUS.ok, stdout: `${version}\n` });
  });

  it.each(COMMANDS)('%s --help says what it takes', async command => {
    const help = await shim.bare(command, '--help');
    expect(help).toMatchObject({ code: STATUS.ok, stderr: '' });
    expect(help.stdout).toContain('--config');
  });

  it.each<[string, string[]]>([
    ['nothing', []],
    ['an unknown command', ['frobnicate']],
    ['an unknown option', ['run', '--frobnicate']],
    ['an option without its value', ['check', '--config']],
    ['too many arguments', ['check', 'surplus']],
    ['lookup without its options', ['lookup']],
    ['lookup without a destination', ['lookup', '--source', `${LIP}:40000`]],
  ])('%s is a wrong command line', async (_, args) => {
    expectOneLine(await shim.bare(...args), STATUS.usage, /^uoa-shim: ./);
  });

  // ---- configuration -------------------------------------------------------------------------------------------

  it('check finds nothing wrong with a right configuration', async () => {
    expect(await shim.cli('check')).toMatchObject({ code: STATUS.ok, stderr: '' });
    expect(await lab.rs.snapshot()).toEqual(untouched);
  });

  it('check lists every fault at once, by its key', () =>
    withShim(
      {
        tun: { name: 'a-name-that-is-too-long' },
        routing: { table: -1, frobnicate: true },
        loadBalancers: [{ prefix: '10.99.1.300/24' }, { prefix: `${LIP}/32`, ack: 'perhaps' }],
        services: [{ address: RIP, port: 70000 }],
      },
      async faulty => {
        const checked = await faulty.cli('check');
        expect(checked).toMatchObject({ code: STATUS.configuration, stdout: '' });
        const keys = [
          ...['tun.name', 'routing.table', 'routing.frobnicate'],
          ...[
            'realServer.loadBalancers[0].prefix',
            'realServer.loadBalancers[1].ack',
            'realServer.services[0].port',
          ],
        ];
        for (const key of keys) expect(checked.stderr, key).toContain(key);
        expect(lines(checked.stderr)).toHaveLength(keys.length);
        // Its value, and what is allowed.
        expect(checked.stderr).toMatch(/10\.99\.1\.300.*allowed/);
        for (const command of ['run', 'plan'])
          expect((await faulty.cli(command)).code, command).toBe(STATUS.configuration);
      },
    ));

  it.each<[string, ShimOptions]>([
    ['realServer.datapath: conntrack', { realServer: { datapath: 'conntrack' } }],
    ['metrics.listen', { more: { metrics: { listen: '127.0.0.1:9248' } } }],
  ])('check refuses %s, because it is not built yet', (_, options) =>
    withShim(options, async other => {
      expectOneLine(await other.cli('check'), STATUS.configuration, /not built yet/);
    }),
  );

  it('check says which steering suits the host, and why', async () => {
    const nft = (script: string) => lab.rs.must(['nft', '-f', '-'], script);
    const advice = async (steering: string): Promise<string> => {
      let said = '';
      await withShim({ routing: { steering } }, async other => {
        await nft('table inet host { chain f { type filter hook forward priority 0; policy drop; }\n}\n');
        said = (await other.cli('check')).stdout;
        await nft('delete table inet host');
      });
      return said;
    };
    expect((await shim.cli('check')).stdout).toContain('policy-routing suits this host');
    expect(await advice('nft-ingress')).toContain('nft-ingress suits this host');
    expect(await advice('policy-routing')).toMatch(
      /nft-ingress would suit this host better than policy-routing: the chain inet host f /,
    );
  });

  it('check finds nothing wrong with IPv6 beside IPv4', () =>
    withShim(
      {
        loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: 'fd00:1::/64' }],
        services: [
          { address: RIP, port: 7000 },
          { address: 'fd00:1::2', port: 7000 },
        ],
        realServer: { nat64: 'deliver' },
        more: { loadBalancer: { carrier: 'dstopt' } },
      },
      async other => {
        expect(await other.cli('check')).toMatchObject({ code: STATUS.ok, stderr: '' });
      },
    ));

  it.each<[string, ShimOptions, RegExp]>([
    [
      'nat64: deliver without an IPv6 service',
      { realServer: { nat64: 'deliver' } },
      /realServer\.nat64: "deliver"/,
    ],
    ['a link-local prefix', { loadBalancers: [{ prefix: 'fe80::/64' }] }, /"fe80::\/64" is link-local/],
    ['an IPv6 address for the TUN', { tun: { address: 'fd00::1/128' } }, /tun\.address: .* allowed: an IPv4/],
  ])('check refuses %s', (_, options, says) =>
    withShim(options, async other => {
      expectOneLine(await other.cli('check'), STATUS.configuration, says);
    }),
  );

  it('a configuration that is missing or broken gives one line and status 78', async () => {
    const file = join(shim.directory, 'other.yaml');
    expectOneLine(await shim.bare('check', '--config', file), STATUS.configuration, /other\.yaml/);
    writeFileSync(file, 'role: [real-server\n');
    expectOneLine(await shim.bare('run', '--config', file), STATUS.configuration, /other\.yaml/);
  });

  it('a flag wins over the environment, the environment over the file', async () => {
    const check = async (environment: string[], flags: string[]) => {
      const command = ['env', ...environment, process.execPath];
      const main = shim.main;
      return (await lab.rs.run([...command, main, 'check', '--config', shim.config, ...flags])).code;
    };
    expect(await check(['UOA_SHIM_LOG_LEVEL=loud'], [])).toBe(STATUS.configuration);
    expect(await check(['UOA_SHIM_LOG_LEVEL=loud'], ['--log-level', 'info'])).toBe(STATUS.ok);
    expect(await check(['UOA_SHIM_LOG_LEVEL=info'], ['--log-level', 'loud'])).toBe(STATUS.configuration);
  });

  // ---- run, where it can't ---------------------------------------------------------------------------------------

  it('run refuses a service that is not an address of this host', () =>
    withShim({ log: { level: 'error' }, services: [{ address: '10.99.1.99', port: 7000 }] }, async other => {
      expectOneLine(await other.cli('run'), STATUS.configuration, /10\.99\.1\.99/);
    }));

  const hasTools = ['setpriv', 'unshare'].every(
    tool => spawnSync('sh', ['-c', `command -v ${tool}`]).status === 0,
  );
  if (!hasTools)
    console.warn('\n*** SKIPPED: run without permissions or devices; apt-get install util-linux ***\n');

  it.skipIf(!hasTools)('run without CAP_NET_ADMIN is not permitted', () =>
    withShim({ log: { level: 'error' } }, async other => {
      const unprivileged = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
      const outcome = await lab.rs.run([
        ...unprivileged,
        process.execPath,
        other.main,
        'run',
        '--config',
        other.config,
      ]);
      expectOneLine(outcome, STATUS.notPermitted, /CAP_NET_ADMIN/);
    }),
  );

  it.skipIf(!hasTools)('run without /dev/net/tun says how to get it', () =>
    withShim({ log: { level: 'error' } }, async other => {
      const hide = 'mount -t tmpfs none /dev/net && exec "$0" "$@"';
      const command = ['unshare', '--mount', 'sh', '-c', hide, process.execPath, other.main];
      const outcome = await lab.rs.run([...command, 'run', '--config', other.config]);
      expectOneLine(outcome, STATUS.unavailable, /modprobe tun/);
    }),
  );

  it('run without the program `ip` names its package', () =>
    withShim({ log: { level: 'error' } }, async other => {
      const command = [
        'env',
        'PATH=/nonexistent',
        process.execPath,
        other.main,
        'run',
        '--config',
        other.config,
      ];
      expectOneLine(await lab.rs.run(command), STATUS.unavailable, /iproute2/);
    }));

  // ---- not running -------------------------------------------------------------------------------------------

  it.each([
    ['status'],
    ['stats'],
    ['flows'],
    ['lookup', '--source', `${LIP}:1`, '--destination', `${RIP}:7000`],
  ])('%s says that no shim is running', async (command, ...args) => {
    expectOneLine(await shim.cli(command, ...args), STATUS.notRunning, /not running/);
    expect(await shim.cli(command, ...args, '--json')).toMatchObject({ code: STATUS.notRunning, stdout: '' });
  });

  // ---- running -----------------------------------------------------------------------------------------------

  it('status, stats, flows and lookup answer from a running shim', () =>
    withShim({}, async other => {
      const app = await App.start(lab.rs, 'echo', 7000);
      const wire = await Wire.besideLab(lab);
      await other.start();
      await wire.send({ payload: text('hello'), mark: mark('198.51.100.7:5555') });
      await wire.answer(text('hello'), 0);

      expect(await other.printed('status')).toEqual({
        ...{ state: 'running', role: 'real-server', version: expect.any(String), pid: other.program?.pid },
        ...{ uptimeSeconds: expect.any(Number), tun: 'uoa0', datapath: 'tun', steering: 'policy-routing' },
        ...{ healthy: true, warnings: [] },
      });
      expect(statSync(join(other.directory, 'control.sock')).mode & 0o777).toBe(0o600);

      const stats = await other.printed<Stats>('stats');
      expect(Object.keys(stats)).toEqual(
        expect.arrayContaining([
          ...['uoa_got', 'uoa_none', 'uoa_saved', 'uoa_ack_sent', 'uoa_ack_fail', 'uoa_miss', 'uoa_invalid'],
          ...[
            'uoa_standalone',
            'packets_delivered',
            'replies_translated',
            'replies_passed',
            'icmp_translated',
          ],
          ...['dropped_malformed', 'dropped_io', 'flows', 'flows_expired', 'flows_evicted', 'lookup_success'],
          ...['lookup_miss', 'fragments_held', 'fragments_dropped'],
        ]),
      );
      for (const value of Object.values(stats)) expect(Number.isInteger(value)).toBe(true);
      expect((await other.cli('stats')).stdout).toMatch(/^uoa_got\s+1$/m);

      expect(await other.printed('flows')).toEqual([
        {
          ...{ lb: `${LIP}:40000`, server: `${RIP}:7000`, client: '198.51.100.7:5555', carrier: 'ipo' },
          ...{ packets: 1, replies: 1, idleSeconds: expect.any(Number), datapath: 'tun' },
        },
      ]);
      expect(lines((await other.cli('flows')).stdout)).toEqual([
        expect.stringContaining('198.51.100.7:5555'),
      ]);

      const ask = (source: string, ...more: string[]) =>
        other.cli('lookup', '--source', source, '--destination', `${RIP}:7000`, ...more);
      expect(await ask(`${LIP}:40000`)).toEqual({
        code: STATUS.ok,
        stdout: '198.51.100.7:5555\n',
        stderr: '',
      });
      expectOneLine(await ask(`${LIP}:40001`), STATUS.failed, new RegExp(LIP));
      expectOneLine(await ask('nonsense'), STATUS.usage, /nonsense/);
      expectOneLine(await other.cli('flows', '--client', 'nonsense'), STATUS.usage, /nonsense/);

      expect(await other.stop()).toBe(STATUS.ok);
      expect(other.program?.stderr).toEqual([]);
      await app.end();
      await wire.end();
    }));

  it('a flow is forgotten after flowTimeout without packets', () =>
    withShim({ realServer: { flowTimeout: 1 } }, async other => {
      const app = await App.start(lab.rs, 'echo', 7000);
      const wire = await Wire.besideLab(lab);
      await other.start();
      await wire.send({ payload: text('first'), mark: mark('198.51.100.7:5555') });
      expect((await app.got(text('first'))).client).toBe('198.51.100.7:5555');
      await expect.poll(() => other.flows(), { timeout: 10_000 }).toEqual([]);
      expect(await other.stats()).toMatchObject({ flows: 0, flows_expired: 1 });
      await wire.send({ payload: text('second') });
      expect((await app.got(text('second'))).client).toBe(`${LIP}:40000`);
      expect(await other.stop()).toBe(STATUS.ok);
      await app.end();
      await wire.end();
    }));
});
