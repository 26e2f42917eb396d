/**
 * A session with one `nft -i`. It owns the tables that it makes with `flags owner`: no other process can change them, and
 * they go when it ends. It ends when its stdin closes, so at the latest when this process ends, in whatever way.
 *
 * To nft one line is one transaction. It prints nothing if that succeeds, so a question follows each line. When the answer
 * comes, the line is done, and what is on stderr are its errors.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Outcome, PLAIN_ENVIRONMENT } from '../command.js';
import { oneLine } from '../plan/nft.js';

const QUESTION = 'describe udp dport';
/** A whole line: builds of nft that echo their input print a prompt and the question before it. */
const ANSWER = /^payload expression.*\n/m;
const TIMEOUT_MS = 10_000;

export class NftSession {
  /** How it ended, in words. */
  readonly ended: Promise<string>;
  private readonly child: ChildProcessWithoutNullStreams;
  private stdout = '';
  private stderr = '';
  private answered: () => void = () => {};

  constructor() {
    this.child = spawn('nft', ['-i'], {
      // In a session of its own it gets no Ctrl-C: this process ends it when its turn has come.
      detached: true,
      // It writes a history file in HOME, and prints an error for a terminal that it doesn't know.
      env: { ...process.env, ...PLAIN_ENVIRONMENT, HOME: '/dev/null', TERM: 'dumb' },
    });
    const { child } = this;
    this.ended = new Promise(resolve => {
      child.on('error', error => resolve(error.message));
      child.on('close', (code, signal) => resolve(signal ?? `exit status ${code}`));
    });
    child.stdin.on('error', () => {}); // `ended` tells
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      if (ANSWER.test(this.stdout)) this.answered();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    // It does not keep this process from ending.
    child.unref();
    for (const stream of child.stdio) if (stream instanceof Socket) stream.unref();
  }

  /** Runs a script as one transaction. To be called for one script at a time. */
  async run(script: string): Promise<Outcome> {
    const line = oneLine(script);
    // nft's line editor drops other characters silently.
    if (/[^\x20-\x7e]/.test(line)) return failure('nft -i takes nothing but ASCII');
    this.stdout = '';
    this.stderr = '';
    const answer = new Promise<undefined>(resolve => {
      this.answered = () => resolve(undefined);
    });
    const timeout = setTimeout(() => {
      this.stderr += `\nError: no answer in ${TIMEOUT_MS / 1000} s\n`;
      void this.close();
    }, TIMEOUT_MS);
    this.child.stdin.write(`${line}\n${QUESTION}\n`);
    const end = await Promise.race([answer, this.ended]);
    clearTimeout(timeout);
    await nextTurn(); // stderr was written first, but may be read last
    // The other lines repeat the script, which may be very long.
    const errors = this.stderr.split('\n').filter(text => /\berror\b/i.test(text));
    if (end !== undefined) errors.push(`nft ended: ${end}`);
    return errors.length > 0 ? failure(errors.join('\n')) : SUCCESS;
  }

  /** Ends it, and its tables with it. */
  async close(): Promise<void> {
    this.child.kill('SIGKILL'); // an end of stdin would not reach a stopped process
    await this.ended;
  }
}

const SUCCESS: Outcome = { status: 0, stdout: '', stderr: '' };

function failure(stderr: string): Outcome {
  return { status: 1, stdout: '', stderr };
}
