/**
 * Tables that go when this process does, SIGKILL included: an `nft -i` of ours owns them. Should somebody kill
 * that, it is started again, and they are made again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode, OperatorError } from '../../errors.js';
import { type Outcome, said } from '../command.js';
import type { HostLog } from '../log.js';
import type { OwnedTables } from '../plan/nft.js';
import { NftSession } from './nft-session.js';

/** Before the first attempt to make it again, doubled for each further one. Whoever kills nft may mean us as well. */
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
/** How long the nft of a predecessor that was killed just now may take to end. */
const TAKEOVER_MS = 2000;
const TAKEOVER_STEP_MS = 50;
const OWNED_BY_ANOTHER = /Operation not permitted/;

export class HeldTable {
  /** What is to be there. */
  private wanted: OwnedTables | undefined;
  /** Whether it is. */
  isThere = false;
  private session: NftSession | undefined;
  private since = 0;
  private pause = FIRST_PAUSE_MS;
  private timer: NodeJS.Timeout | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly log: HostLog) {}

  /**
   * Puts the table in the place of whatever was there under its name, in one transaction; a failure changes nothing.
   * Throws if the name is another process's.
   */
  put(table: OwnedTables): Promise<Outcome> {
    return this.inTurn(async () => {
      const outcome = await this.make(table);
      if (outcome.status === 0) this.wanted = table;
      return outcome;
    });
  }

  /** Takes it away. */
  async close(): Promise<void> {
    this.wanted = undefined;
    clearTimeout(this.timer);
    // Now, and again what the turn before ours may have begun.
    await this.drop();
    await this.inTurn(() => this.drop());
  }

  private async make(table: OwnedTables): Promise<Outcome> {
    this.session ??= this.open();
    const { session } = this;
    try {
      const outcome = await this.replace(session, table);
      if (outcome.status !== 0) return outcome;
      if (this.session !== session) return { ...outcome, status: 1, stderr: 'nft ended' };
      if (!this.isThere) this.since = performance.now();
      this.isThere = true;
      return outcome;
    } finally {
      if (!this.isThere) await this.drop();
    }
  }

  private async replace(session: NftSession, { id, tables }: OwnedTables): Promise<Outcome> {
    // What may not be there has to be made to be deleted; but ours can't be named without its flag.
    const away = tables.map(table =>
      this.isThere ? `delete ${table.id}` : `${table.id}\ndelete ${table.id}`,
    );
    const script = [...away, ...tables.map(({ text }) => text)].join('\n');
    const deadline = performance.now() + TAKEOVER_MS;
    for (;;) {
      const outcome = await session.run(script);
      if (!OWNED_BY_ANOTHER.test(outcome.stderr)) return outcome;
      if (performance.now() > deadline)
        throw new OperatorError(`${id} belongs to another process; end that first`, ExitCode.failed);
      await sleep(TAKEOVER_STEP_MS);
    }
  }

  private open(): NftSession {
    const session = new NftSession();
    void session.ended.then(how => this.lost(session, how));
    return session;
  }

  private lost(session: NftSession, how: string): void {
    if (this.session !== session) return;
    const wasThere = this.isThere;
    this.session = undefined;
    this.isThere = false;
    if (this.wanted === undefined || !wasThere) return; // who was about to make it learns of that
    this.log.warn(`${this.wanted.id} is gone: the nft that owned it has ended (${how})`);
    if (performance.now() - this.since > LONGEST_PAUSE_MS) this.pause = FIRST_PAUSE_MS;
    this.mendLater();
  }

  private mendLater(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.inTurn(() => this.mend()), this.pause).unref();
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }

  private async mend(): Promise<void> {
    const { wanted } = this;
    if (wanted === undefined || this.isThere) return;
    const outcome = await this.make(wanted).catch(failure);
    if (this.wanted === undefined) return; // closed meanwhile
    if (outcome.status === 0) {
      this.log.info(`${wanted.id} is there again`);
      return;
    }
    this.log.warn(`${wanted.id} could not be made again: ${said(outcome)}`);
    this.mendLater();
  }

  private async drop(): Promise<void> {
    const { session } = this;
    this.session = undefined;
    this.isThere = false;
    await session?.close();
  }

  /** One after the other: nft's answers don't say what they are answers to. */
  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.turn.then(act);
    this.turn = result.catch(() => {});
    return result;
  }
}

function failure(error: Error): Outcome {
  return { status: 1, stdout: '', stderr: error.message };
}
