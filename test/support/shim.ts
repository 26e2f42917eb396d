/** The real binary in a namespace: `uoa-shim run` with a configuration of the test's, and its other commands. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'yaml';
import type { FlowAnswer, StatusAnswer } from '#shim/daemon/control/answers.js';
import { request } from '#shim/daemon/control/client.js';
import type { FlowFilters } from '#shim/daemon/control/filters.js';
import type { ControlRequest } from '#shim/daemon/control/protocol.js';
import { LIP, type Namespace, RIP } from './netns.js';
import { caughtUp, eventually, type Outcome, Program } from './process.js';

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

export type Stats = Record<string, number>;

const directories = new Set<string>();
process.on('exit', () => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

function threadsOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).map(Number);
}

/** Whether a thread sleeps in poll(2); one that has just ended does not. */
function isPolling(thread: number): boolean {
  try {
    return /^(?!.*epoll).*poll/.test(readFileSync(`/proc/${thread}/wchan`, 'utf8'));
  } catch {
    return false;
  }
}

/** A configuration file of its own, and the commands that read it; `start` runs it. */
export class Shim {
  readonly main = MAIN;
  readonly directory = mkdtempSync(join(tmpdir(), 'uoa-shim-test-'));
  readonly config = join(this.directory, 'config.yaml');
  readonly socket = join(this.directory, 'control.sock');
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
      control: { socket: this.socket },
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

  /** Starts `run` without waiting for anything; by way of another command line (`env PATH=...`), if there is one. */
  launch(...by: string[]): Program {
    const run = [...by, process.execPath, MAIN, 'run', '--config', this.config];
    this.program = this.namespace.start(new Program(this.namespace.command(run)));
    return this.program;
  }

  /** Starts `run` and waits until it says that it is running. */
  async start(...by: string[]): Promise<void> {
    const program = this.launch(...by);
    await eventually('the shim runs', async () => {
      if (!program.running) throw new Error(`run ended with ${await program.ended}:\n${program.log}`);
      if (!existsSync(this.socket)) return undefined;
      const status = await this.answers<StatusAnswer>({ command: 'status' }).catch(() => undefined);
      return status?.[0].state === 'running' || undefined;
    }).catch((error: Error) => {
      throw new Error(`${error.message}\n${program.log}`);
    });
  }

  /** Gives it another configuration, which is in force when this returns. */
  async reload(options: ShimOptions): Promise<void> {
    const { program } = this;
    if (program === undefined) throw new Error('not running');
    const count = () => program.log.split('configuration re-read').length;
    const before = count();
    this.configure(options);
    program.signal('SIGHUP');
    await eventually('the configuration is re-read', () => count() > before || undefined);
    await this.idle();
  }

  /** Ends it with a signal and gives the exit status, -1 for SIGKILL. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    if (this.program === undefined) throw new Error('not running');
    const code = await this.program.end(signal);
    return code;
  }

  /** Ends it, if it runs, and undoes what it has left if it was killed. */
  async clear(): Promise<void> {
    const { program } = this;
    if (program?.running) await program.end('SIGTERM').catch(() => undefined);
    if ((await program?.ended) !== -1) return;
    const { code, stderr } = await this.cli('cleanup');
    if (code !== 0) throw new Error(`cleanup: exit ${code}: ${stderr}`);
  }

  /** After a test, however it went: nothing runs, nothing is left behind. */
  async dispose(): Promise<void> {
    await this.clear();
    this.namespace.forgetFlows();
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

  /** What a command that knows `--json` prints. */
  async printed<T>(command: string, ...args: string[]): Promise<T> {
    const outcome = await this.cli(command, '--json', ...args);
    if (outcome.code !== 0) throw new Error(`${command}: exit ${outcome.code}: ${outcome.stderr}`);
    return JSON.parse(outcome.stdout) as T;
  }

  // ---- what the commands ask, without the cost of one --------------------------------------------------------

  status(): Promise<StatusAnswer> {
    return this.one<StatusAnswer>({ command: 'status' });
  }

  /** The counters, once what came before has been seen to. */
  async stats(): Promise<Stats> {
    await this.idle();
    return this.one<Stats>({ command: 'stats' });
  }

  /** The flows, once what came before has been seen to. */
  async flows(filters: FlowFilters = {}): Promise<FlowAnswer[]> {
    await this.idle();
    return this.all<FlowAnswer>({ command: 'flows', filters });
  }

  /** The client of a flow; null if the flow is unknown. */
  async lookup(source: string, destination: string): Promise<string | null> {
    const question = { command: 'lookup', source, destination } as const;
    return (await this.one<{ client: string | null }>(question)).client;
  }

  /** What the counters grew by while `act` went on, those that didn't left out. */
  async counted(act: () => Promise<unknown>): Promise<Stats> {
    const before = await this.stats();
    await act();
    const after = await this.stats();
    const grown = Object.entries(after).map(([name, value]) => [name, value - before[name]] as const);
    return Object.fromEntries(grown.filter(([name, value]) => value !== 0 && name !== 'flows'));
  }

  /** The thread of the data plane, once it waits for packets. */
  async idle(): Promise<number> {
    const { program } = this;
    return eventually('the data plane waits for packets', () => {
      if (!program?.running) throw new Error(`not running:\n${program?.log}`);
      return threadsOf(program.pid).find(thread => thread !== program.pid && isPolling(thread));
    });
  }

  private async one<T>(question: ControlRequest): Promise<T> {
    const [item] = await this.all<T>(question);
    return item;
  }

  private async all<T>(question: ControlRequest): Promise<T[]> {
    const items = await this.answers<T>(question);
    if (items === undefined) throw new Error(`nobody answers ${question.command}:\n${this.program?.log}`);
    return items;
  }

  /** From the control socket, and what any program said before has been read; undefined if nobody answers. */
  private async answers<T>(question: ControlRequest): Promise<T[] | undefined> {
    const answer = await request(this.socket, question);
    if (answer === undefined) return undefined;
    const items: T[] = [];
    for await (const item of answer) items.push(item as T);
    await caughtUp();
    return items;
  }
}
