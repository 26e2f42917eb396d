/**
 * The ingress table of steering nft-ingress goes with the process: an `nft -i` of its own owns it.
 *
 *   LB namespace (wire.py)              RS namespace
 *     10.99.1.1 LIP, .3 LIP_2  eth0 ---- eth0 10.99.1.2 RIP:7000 echo
 */
import { readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { LIP, LIP_2, missing, RIP } from '../../support/netns.js';
import { eventually, must, Program } from '../../support/process.js';
import type { Shim } from '../../support/shim.js';
import { CLIENT, Stage } from '../../support/stage.js';
import { mark } from '../../support/wire.js';

const TABLE = 'table netdev uoa_uoa0';
const INGRESS = { routing: { steering: 'nft-ingress' } };

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(missing() !== undefined)('the ingress table', () => {
  const stage = Stage.use();
  let shim: Shim;
  beforeEach(() => {
    shim = stage.shim(INGRESS);
  });

  const ruleset = (): Promise<string> => stage.lab.rs.must(['nft', 'list', 'ruleset']);

  async function untilGone(): Promise<void> {
    await eventually('the table is gone', async () => !(await ruleset()).includes(TABLE) || undefined);
  }

  /** The one nft that runs under the shim. */
  async function nftPid(): Promise<number> {
    return Number(await must(['pgrep', '-x', '-P', String(shim.program?.pid), 'nft']));
  }

  /** Starts the shim with a shell script between it and the `nft -i` that it wants; $nft is the real one. */
  async function startWith(script: string): Promise<void> {
    const nft = (await must(['sh', '-c', 'command -v nft'])).trim();
    const lines = ['#!/bin/sh', `nft=${nft}`, 'if [ "$1" = -i ]; then', script, 'fi', 'exec $nft "$@"', ''];
    writeFileSync(join(shim.directory, 'nft'), lines.join('\n'), { mode: 0o755 });
    await shim.start('env', `PATH=${shim.directory}:${process.env.PATH}`);
  }

  /** Whom the application sees; its echo has come back, too. */
  const client = async (sourcePort: number, marked = false, source = LIP): Promise<string> =>
    (await stage.exchange({ source, sourcePort, ...(marked && { mark: mark(CLIENT) }) })).client;

  it('the table is owned: neither `flush ruleset` nor `delete table` of others removes it', async () => {
    const { rs } = stage.lab;
    await shim.start();
    expect(await ruleset()).toMatch(/table netdev uoa_uoa0 \{[^}]*flags owner/);
    await rs.must(['nft', 'flush', 'ruleset']);
    expect((await rs.run(['nft', `delete ${TABLE}`])).code).not.toBe(0);
    expect(await ruleset()).toContain(TABLE);
    await stage.serves();
  });

  it('its nft inherits neither TUN nor locks, has a process group of its own, and ends with the shim', async () => {
    await shim.start();
    const pid = await nftPid();
    const open = readdirSync(`/proc/${pid}/fd`).map(fd => readlinkSync(`/proc/${pid}/fd/${fd}`));
    expect(open.filter(path => !/^(socket|pipe):/.test(path))).toEqual([]);
    const group = await must(['ps', '-o', 'pgid=', '-p', String(pid)]);
    expect(Number(group)).toBe(pid);
    expect(await shim.stop('SIGINT')).toBe(0);
    expect(isAlive(pid)).toBe(false);
  });

  it.each([false, true])(
    'the table vanishes after SIGKILL (SIGSTOP before: %s), and a new start serves',
    async stopped => {
      const { lab } = stage;
      const before = await lab.rs.snapshot();
      await shim.start();
      await stage.serves();
      const pid = await nftPid();
      if (stopped) shim.program?.signal('SIGSTOP');
      await shim.stop('SIGKILL');
      await untilGone();
      await eventually('nft has ended', () => !isAlive(pid) || undefined);
      expect(await client(40002)).toBe(`${LIP}:40002`);
      for (let i = 0; i < 2; i++) {
        await shim.start(); // at once: the nft of the one before may still be there
        await stage.serves();
        expect(await shim.stop('SIGKILL')).toBe(-1);
      }
      expect(await shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
      await untilGone();
      expect(await lab.rs.snapshot()).toEqual(before);
    },
  );

  it('SIGHUP replaces the table in one step', async () => {
    await shim.start();
    expect(await client(40001, true)).toBe(CLIENT);
    const pid = await nftPid();

    const seen: string[] = [];
    shim.configure({ ...INGRESS, loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP_2}/32` }] });
    shim.program?.signal('SIGHUP');
    await eventually('the other load balancer has its rule', async () => {
      seen.push(await ruleset());
      return seen.at(-1)?.includes(LIP_2) || undefined;
    });
    expect(seen.filter(ruleset => !ruleset.includes(`saddr ${LIP} `))).toEqual([]);
    expect(seen.at(-1)).toContain('flags owner');
    expect(await nftPid()).toBe(pid);
    expect(await client(40001)).toBe(CLIENT);
    expect(await client(40002, true, LIP_2)).toBe(CLIENT);

    expect(await shim.stop()).toBe(0);
    expect(await ruleset()).not.toContain(TABLE);
  });

  it('the table stays as it is when nft refuses another one at SIGHUP', async () => {
    await startWith('sed -u "s/192.0.2.77/nonsense!/" | $nft -i; exit');
    shim.configure({ ...INGRESS, loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: '192.0.2.77/32' }] });
    shim.program?.signal('SIGHUP');
    await eventually(
      'it says so',
      () => /kept as it was: nft -i: Error: syntax/.test(shim.program?.log ?? '') || undefined,
    );
    expect(await ruleset()).toContain('flags owner');
    expect((await shim.status()).healthy).toBe(true);
    await stage.serves();
    expect(await shim.stop()).toBe(0);
    expect(await ruleset()).not.toContain(TABLE);
  });

  it('routes that a reload had replaced are put back when nft refuses the rest of it', async () => {
    const { rs } = stage.lab;
    const replies = async () => (await rs.ip('route show table 249')).trim();
    await startWith('sed -u "s/192.0.2.77/nonsense!/" | $nft -i; exit');
    const before = await replies();
    expect(before).toContain('mtu 1500');
    await rs.ip('link set eth0 mtu 1400');
    try {
      shim.configure({ ...INGRESS, loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: '192.0.2.77/32' }] });
      shim.program?.signal('SIGHUP');
      await eventually('it says so', () => shim.program?.log.includes('kept as it was') || undefined);
      expect(shim.program?.log).toContain('mtu 1400');
      expect(await replies()).toBe(before);
    } finally {
      await rs.ip('link set eth0 mtu 1500');
    }
    expect(await shim.stop()).toBe(0);
  });

  it('the table is made again when somebody kills its nft', async () => {
    const before = await stage.lab.rs.snapshot();
    const broken = join(shim.directory, 'broken');
    await startWith(`[ ! -e ${broken} ] || exit 3`);
    await stage.serves();
    const pid = await nftPid();
    writeFileSync(broken, '');
    process.kill(pid, 'SIGKILL');
    await eventually('status says so', async () => {
      const { healthy, warnings } = await shim.status();
      return (!healthy && warnings.includes(`gone from this host: ${TABLE}`)) || undefined;
    });
    expect(await client(40001)).toBe(`${LIP}:40001`);
    await eventually('it is tried', () => shim.program?.log.includes('could not be made again') || undefined);
    rmSync(broken);
    await eventually('it is there again', async () => (await shim.status()).healthy || undefined);
    expect(await nftPid()).not.toBe(pid);
    expect(await ruleset()).toContain('flags owner');
    await stage.serves();
    expect(shim.program?.log).toMatch(/table netdev uoa_uoa0 is gone: .*SIGKILL/);
    expect(await shim.stop()).toBe(0);
    expect(await stage.lab.rs.snapshot()).toEqual(before);
  });

  it('the table replaces one that an older version left', async () => {
    const { lab } = stage;
    const left = `table netdev uoa_uoa0 { chain in_0 { type filter hook ingress device "eth0" priority 0; }\n}\n`;
    await lab.rs.must(['nft', '-f', '-'], left);
    await shim.start();
    expect(await ruleset()).toContain('flags owner');
    await stage.serves();
    expect(await shim.stop()).toBe(0);
    expect(await ruleset()).not.toContain(TABLE);
  });

  it('a start is refused where another process owns a table of that name', async () => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    const owner = lab.rs.start(new Program(lab.rs.command(['nft', '-i'])));
    owner.write(`${TABLE} { flags owner; }`);
    await eventually('it is there', async () => (await ruleset()).includes(TABLE) || undefined);
    const program = shim.launch();
    expect(await program.ended).toBe(1);
    expect(program.stderr.at(-1)).toContain(`${TABLE} belongs to another process`);
    await owner.end();
    await untilGone();
    expect(await lab.rs.snapshot()).toEqual(before);
  });

  it.each([
    ['nft takes no commands one by one', 'exit 1'],
    ['there is no flag for it', 'sed -u "s/flags owner/flags unheard-of/" | $nft -i; exit'],
  ])('the table is a lasting one, with a warning, where %s', async (_, script) => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    await startWith(script);
    expect(shim.program?.log).toContain(`${TABLE} will stay if the process is killed`);
    expect(await ruleset()).not.toContain('flags owner');
    await stage.serves();
    await shim.stop('SIGKILL');
    expect(await ruleset()).toContain(TABLE);
    expect(await shim.cli('cleanup')).toMatchObject({ code: 0, stderr: '' });
    expect(await lab.rs.snapshot()).toEqual(before);
  });

  it('`plan` prints the table without an owner, as a command can make it', async () => {
    const { lab } = stage;
    const before = await lab.rs.snapshot();
    const [up, down] = [await shim.cli('plan', '--up'), await shim.cli('plan', '--down')];
    await lab.rs.must(['sh', '-e'], up.stdout);
    expect(await ruleset()).toContain(`saddr ${LIP} ip daddr ${RIP}`);
    await lab.rs.must(['sh', '-e'], down.stdout);
    expect(await lab.rs.snapshot()).toEqual(before);
  });
});
