/** Programs that tests start: short ones to their end, long ones with their lines as they come. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';

/** How long a test waits for what has to happen anyway, in milliseconds: a guard against hanging, no measure. */
export const GUARD_MS = 20_000;

export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end, whatever its exit status. */
export function run(command: readonly string[], input = ''): Promise<Outcome> {
  const [program, ...args] = command;
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number')
        reject(new Error(`${command.join(' ')}: ${error.message}`));
      else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
    child.stdin?.on('error', () => undefined); // a program need not read it
    child.stdin?.end(input);
  });
}

/** Runs a program that has to succeed, and gives what it printed. */
export async function must(command: readonly string[], input = ''): Promise<string> {
  const outcome = await run(command, input);
  if (outcome.code !== 0) throw new Error(`${command.join(' ')}: exit ${outcome.code}: ${outcome.stderr}`);
  return outcome.stdout;
}

/** The shortest pause between two questions, in milliseconds. */
const PAUSE_MS = 2;

/**
 * Asks again and again until `ask` gives something, and fails with `what` if that never happens. It pauses for as long
 * as the question took, so that a dear one (a process started) takes no more than half of a core.
 */
export async function eventually<T>(
  what: string,
  ask: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + GUARD_MS;
  for (;;) {
    const asked = performance.now();
    const answer = await ask();
    if (answer !== undefined) return answer;
    const now = performance.now();
    if (now > deadline) throw new Error(`waited in vain: ${what}`);
    await sleep(Math.max(PAUSE_MS, now - asked));
  }
}

/**
 * Reads whatever was there to read: two turns of the event loop, as what came while one turn read is for the next.
 * What one program says in answer to another (a packet seen, to a datagram reported) can be read before that, as each
 * has its own pipe; who has waited for the answer may look at both afterwards.
 */
export async function caughtUp(): Promise<void> {
  await nextTurn();
  await nextTurn();
}

// A signal ends the process without its 'exit' hooks, and those clean up.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

const started = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of started) child.kill('SIGKILL');
});

/** A program that goes on running: its lines are kept as they come. */
export class Program {
  readonly stdout: string[] = [];
  readonly stderr: string[] = [];
  /** Exit status; -1 after a signal. */
  readonly ended: Promise<number>;
  private readonly child: ChildProcess;

  constructor(private readonly command: readonly string[]) {
    const [program, ...args] = command;
    this.child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    started.add(this.child);
    // Lines may still come after the end; 'close' is when they all have.
    this.ended = once(this.child, 'close').then(([code]) => {
      started.delete(this.child);
      return typeof code === 'number' ? code : -1;
    });
    this.child.stdin?.on('error', () => undefined);
    this.collect(this.child.stdout, this.stdout);
    this.collect(this.child.stderr, this.stderr);
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get running(): boolean {
    return started.has(this.child) && this.child.exitCode === null && this.child.signalCode === null;
  }

  write(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** Called for every further line on stdout. */
  onLine(listener: (line: string) => void): void {
    this.listeners.push(listener);
  }

  private readonly listeners: ((line: string) => void)[] = [];

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Reads no more of what it says: its next words meet a closed pipe. */
  hangUp(): void {
    this.child.stdout?.destroy();
    this.child.stderr?.destroy();
  }

  /** The exit status after `signal`; fails if the program doesn't end. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<number> {
    if (this.running) this.signal(signal);
    let timer: NodeJS.Timeout | undefined;
    const guard = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.signal('SIGKILL');
        reject(new Error(`${this.command.join(' ')} did not end after ${signal}\n${this.log}`));
      }, GUARD_MS);
    });
    return Promise.race([this.ended, guard]).finally(() => clearTimeout(timer));
  }

  /** Everything it said, for messages. */
  get log(): string {
    return [...this.stdout, ...this.stderr].join('\n');
  }

  private collect(stream: NodeJS.ReadableStream | null, into: string[]): void {
    if (stream === null) return;
    createInterface({ input: stream }).on('line', line => {
      into.push(line);
      if (into === this.stdout) for (const listener of this.listeners) listener(line);
    });
  }
}

interface Waiting {
  resolve: (answer: Record<string, unknown>) => void;
  reject: (error: Error) => void;
}

/** A program that speaks JSON lines: events of one shape, one after the other, and answers to requests. */
export class JsonProgram<Event extends { event: string }> extends Program {
  readonly events: Event[] = [];
  private readonly waiting = new Map<number, Waiting>();
  /** Emits 'news' at every event, and at the end. */
  private readonly news = new EventEmitter().setMaxListeners(0);
  private nextId = 1;
  private hasEnded = false;

  constructor(command: readonly string[]) {
    super(command);
    this.onLine(line => this.take(JSON.parse(line) as Record<string, unknown>));
    void this.ended.then(() => {
      this.hasEnded = true;
      for (const { reject } of this.waiting.values()) reject(this.silence());
      this.waiting.clear();
      this.news.emit('news');
    });
  }

  /** Sends a request and gives the answer with its id; what other programs said before that has been read then. */
  async ask(request: Record<string, unknown>): Promise<Record<string, unknown>> {
    const id = this.nextId++;
    if (this.hasEnded) throw this.silence();
    const answer = await new Promise<Record<string, unknown>>((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.write(JSON.stringify({ id, ...request }));
    });
    await caughtUp();
    return answer;
  }

  /**
   * The first event at or after `from` that `is` likes, waiting for it if need be. What any program said before that
   * one has been read by then.
   */
  async event(what: string, is: (event: Event) => boolean, from = 0): Promise<Event> {
    const signal = AbortSignal.timeout(GUARD_MS);
    for (let next = from; ; ) {
      while (next < this.events.length) {
        const event = this.events[next++];
        if (!is(event)) continue;
        await caughtUp();
        return event;
      }
      if (this.hasEnded) throw this.inVain(what, from);
      await once(this.news, 'news', { signal }).catch(() => {
        throw this.inVain(what, from);
      });
    }
  }

  private take(message: Record<string, unknown>): void {
    if (typeof message.id !== 'number') {
      this.events.push(message as Event);
      this.news.emit('news');
      return;
    }
    this.waiting.get(message.id)?.resolve(message);
    this.waiting.delete(message.id);
  }

  private inVain(what: string, from: number): Error {
    const seen = this.events.slice(Math.max(from, this.events.length - 20));
    const lines = seen.map(event => JSON.stringify(event).slice(0, 400));
    const why = this.hasEnded ? 'the program ended' : 'waited in vain';
    return new Error([`${why}: ${what}; seen since:`, ...lines, ...this.stderr].join('\n'));
  }

  private silence(): Error {
    return new Error(`ended without an answer: ${this.stderr.join('\n')}`);
  }
}
