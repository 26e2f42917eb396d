/**
 * A conversation with one `nft -i`. The tables that it makes with `flags owner` are its own: nobody else can change
 * them, and they go when it ends. It ends when its stdin closes, that is with us at the latest, however we end.
 *
 * To nft one line is one transaction. It says nothing when all went well, so a question follows each line: once
 * that is answered, the line is through, and what is on stderr was said against it.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Outcome, PLAIN_ENVIRONMENT } from '../command.js';
import { oneLine } from '../plan/nft.js';

const QUESTION = 'describe udp dport';
/** A whole line; builds of nft's that echo what they read put a prompt before that. */
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
      // Its own session: a Ctrl-C is for us alone, and we end it when its turn has come.
      detached: true,
      // It keeps a history in its home, and would complain about a terminal that it doesn't know.
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
    // It goes with us, and doesn't keep us.
    child.unref();
    for (const stream of child.stdio) if (stream instanceof Socket) stream.unref();
  }

  /** Runs a script as one transaction; one script at a time. */
  async run(script: string): Promise<Outcome> {
    const line = oneLine(script);
    // nft's line editor would drop these without a word.
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
    // Not the rest: it repeats the line, which may be very long.
    const errors = this.stderr.split('\n').filter(text => /\berror\b/i.test(text));
    if (end !== undefined) errors.push(`nft ended: ${end}`);
    return errors.length > 0 ? failure(errors.join('\n')) : SUCCESS;
  }

  /** Ends it; its tables are gone then. */
  async close(): Promise<void> {
    this.child.kill('SIGKILL'); // not by an end of stdin: it might be stopped
    await this.ended;
  }
}

const SUCCESS: Outcome = { status: 0, stdout: '', stderr: '' };

function failure(stderr: string): Outcome {
  return { status: 1, stdout: '', stderr };
}
