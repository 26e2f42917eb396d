/** The real binary in a namespace: `uoa-shim run` with a configuration of the test's, and its other commands. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import { LIP, type Namespace, RIP } from './netns.js';
import { eventually, type Outcome, Program } from './process.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

type Json = Record<string, unknown>;

export interface ShimOptions {
  tun?: Json;
  log?: Json;
  routing?: Json;
  loadBalancers?: Json[];
  services?: Json[];
  /** More keys under realServer. */
  realServer?: Json;
  /** More keys at the top. */
  more?: Json;
}

export interface Flow {
  lb: string;
  server: string;
  client: string;
  carrier: string;
  packets: number;
  replies: number;
  idleSeconds: number;
  datapath: string;
}

export interface Status {
  state: string;
  role: string;
  version: string;
  pid: number;
  uptimeSeconds: number;
  tun: string;
  datapath: string;
  steering: string;
  healthy: boolean;
  warnings: string[];
}

export type Stats = Record<string, number>;

const directories = new Set<string>();
process.on('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** A configuration file of its own, and the commands that read it; `start` runs it. */
export class Shim {
  readonly main = MAIN;
  readonly directory = mkdtempSync(join(tmpdir(), 'uoa-shim-test-'));
  readonly config = join(this.directory, 'config.yaml');
  program: Program | undefined;

  constructor(
    private readonly namespace: Namespace,
    options: ShimOptions = {},
  ) {
    if (!existsSync(MAIN)) throw new Error(`${MAIN} is missing: npm run build`);
    directories.add(this.directory);
    this.configure(options);
  }

  static async start(namespace: Namespace, options: ShimOptions = {}): Promise<Shim> {
    const shim = new Shim(namespace, options);
    await shim.start();
    return shim;
  }

  /** Writes the configuration anew; a running shim learns of it by SIGHUP. */
  configure(options: ShimOptions): void {
    const document = {
      role: 'real-server',
      log: { level: 'debug', ...options.log },
      control: { socket: join(this.directory, 'control.sock') },
      ...(options.tun && { tun: options.tun }),
      ...(options.routing && { routing: options.routing }),
      realServer: {
        loadBalancers: options.loadBalancers ?? [{ prefix: `${LIP}/32` }],
        services: options.services ?? [{ address: RIP, port: 7000 }],
        ...options.realServer,
      },
      ...options.more,
    };
    writeFileSync(this.config, stringify(document));
  }

  // ---- running -------------------------------------------------------------------------------------------

  /** Starts `run` without waiting for anything. */
  launch(): Program {
    this.program = this.namespace.start(
      new Program(this.namespace.command([process.execPath, MAIN, 'run', '--config', this.config])),
    );
    return this.program;
  }

  /** Starts `run` and waits until it says that it is running. */
  async start(): Promise<void> {
    const program = this.launch();
    await eventually('the shim runs', async () => {
      if (!program.running) throw new Error(`run ended with ${await program.ended}:\n${program.log}`);
      return (await this.cli('status')).code === 0 || undefined;
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${program.log}`);
    });
  }

  /** Ends it with a signal and gives the exit status, -1 for SIGKILL. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    if (this.program === undefined) throw new Error('not running');
    const code = await this.program.end(signal);
    return code;
  }

  /** After a test, however it went: nothing runs, nothing is left behind. */
  async dispose(): Promise<void> {
    if (this.program?.running) await this.program.end('SIGTERM').catch(() => undefined);
    await this.cli('cleanup');
    rmSync(this.directory, { recursive: true, force: true });
    directories.delete(this.directory);
  }

  // ---- commands ------------------------------------------------------------------------------------------

  /** Any command line, in the namespace. */
  bare(...args: string[]): Promise<Outcome> {
    return this.namespace.run([process.execPath, MAIN, ...args]);
  }

  /** A command with this shim's configuration. */
  cli(command: string, ...args: string[]): Promise<Outcome> {
    return this.bare(command, '--config', this.config, ...args);
  }

  async stats(): Promise<Stats> {
    return this.json<Stats>('stats');
  }

  flows(...filters: string[]): Promise<Flow[]> {
    return this.json<Flow[]>('flows', ...filters);
  }

  status(): Promise<Status> {
    return this.json<Status>('status');
  }

  async lookup(source: string, destination: string): Promise<{ code: number; client?: string }> {
    const outcome = await this.cli('lookup', '--source', source, '--destination', destination, '--json');
    if (outcome.code !== 0) return { code: outcome.code };
    return { code: 0, client: (JSON.parse(outcome.stdout) as { client: string }).client };
  }

  /** What the counters grew by while `act` went on, those that didn't left out. */
  async counted(act: () => Promise<unknown>): Promise<Stats> {
    const before = await this.stats();
    await act();
    const after = await this.stats();
    const grown = Object.entries(after).map(([name, value]) => [name, value - before[name]] as const);
    return Object.fromEntries(grown.filter(([name, value]) => value !== 0 && name !== 'flows'));
  }

  private async json<T>(command: string, ...args: string[]): Promise<T> {
    const outcome = await this.cli(command, '--json', ...args);
    if (outcome.code !== 0) throw new Error(`${command}: exit ${outcome.code}: ${outcome.stderr}`);
    return JSON.parse(outcome.stdout) as T;
  }
}
