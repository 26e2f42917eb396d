/** Programs that the benchmark starts. They end when it ends, in whatever way. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

/** The command that is measured. */
export const SHIM = [process.execPath, fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))];
/** `run` in a namespace, with a run directory of its own: what it leaves there goes with it. */
export const SHIM_RUN = [
  ...['sh', '-ec', 'mkdir -p /run/uoa-shim; mount -t tmpfs none /run/uoa-shim; exec "$@"', 'sh'],
  ...[...SHIM, 'run'],
];

const GUARD_MS = 10_000;

const running = new Set<Program>();

export class Program {
  readonly pid: number;
  readonly ended: Promise<number>;
  /** What it wrote to stdout and stderr. */
  output = '';
  private readonly child: ChildProcess;
  private isOver = false;

  /** Starts `command`, pinned to cores. */
  constructor(command: readonly string[], cores: readonly number[]) {
    // The kernel ends it when this process ends.
    const [file, ...args] = ['setpriv', '--pdeathsig', 'TERM', 'taskset', '-c', cores.join(), ...command];
    this.child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.pid = this.child.pid ?? 0;
    running.add(this);
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject);
      this.child.once('close', code => {
        this.isOver = true;
        running.delete(this);
        resolve(code ?? -1);
      });
    });
    this.ended.catch(() => {});
  }

  /** Waits until it has written `text`. */
  async says(text: string): Promise<void> {
    for (const deadline = Date.now() + GUARD_MS; !this.output.includes(text); await sleep(5))
      if (this.isOver || Date.now() > deadline)
        throw new Error(`${this.child.spawnargs.join(' ')}: no "${text}" in: ${this.output}`);
  }

  /** Waits for its end, and gives the last line of what it wrote, which is JSON. */
  async result<T>(): Promise<T> {
    const code = await this.ended;
    const line = this.output.trimEnd().split('\n').at(-1) ?? '';
    if (code === 0 && line.startsWith('{')) return JSON.parse(line) as T;
    throw new Error(`${this.child.spawnargs.join(' ')}: exit ${code}: ${this.output}`);
  }

  /** Ends it: SIGTERM, then SIGKILL if that does not help. */
  async end(): Promise<void> {
    this.kill('SIGTERM');
    const insist = setTimeout(() => this.kill('SIGKILL'), GUARD_MS);
    await this.ended.catch(() => -1);
    clearTimeout(insist);
  }

  kill(signal: NodeJS.Signals): void {
    if (!this.isOver) this.child.kill(signal);
  }
}

/** For exit handlers: ends the programs that still run, after half a second with SIGKILL. */
export function endAllNow(): void {
  if (running.size === 0) return;
  for (const program of running) program.kill('SIGTERM');
  spawnSync('sleep', ['0.5']);
  for (const program of running) program.kill('SIGKILL');
}

/** Runs a command to its end. Throws what it said if it fails. */
export function must(command: readonly string[], input = ''): string {
  const [file, ...args] = command;
  const { status, stdout, stderr, error } = spawnSync(file, args, { input, encoding: 'utf8' });
  if (status === 0) return stdout;
  throw new Error(`${command.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
