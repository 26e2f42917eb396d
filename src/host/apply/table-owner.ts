/**
 * Keeps owned tables: they go when this process does, SIGKILL included, because an `nft -i` of this process owns them.
 * If that `nft` is killed, another one is started and makes them again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ExitCode, OperatorError } from '../../errors.js';
import { complaint, type Outcome } from '../command.js';
import type { HostLog } from '../log.js';
import type { OwnedTables } from '../plan/nft.js';
import { NftSession } from './nft-session.js';

/** Before the first attempt to make them again, doubled for each further one. A kill of nft may be followed by ours. */
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
/** How long the nft of a predecessor that was killed just now may take to end. */
const TAKEOVER_TIMEOUT_MS = 2000;
const TAKEOVER_RETRY_MS = 50;
const OWNED_BY_ANOTHER = /Operation not permitted/;

export class TableOwner {
  private wanted: OwnedTables | undefined;
  /** Whether the wanted tables are on the host. */
  isThere = false;
  private session: NftSession | undefined;
  /** When they were made last, as performance.now() has it. */
  private madeAtMs = 0;
  private pauseMs = FIRST_PAUSE_MS;
  private timer: NodeJS.Timeout | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  constructor(private readonly log: HostLog) {}

  /**
   * Puts the tables in the place of whatever was there under their names, in one transaction. A failure changes nothing.
   * Throws an OperatorError if another process owns a table of such a name.
   */
  put(tables: OwnedTables): Promise<Outcome> {
    return this.inTurn(async () => {
      const outcome = await this.make(tables);
      if (outcome.status === 0) this.wanted = tables;
      return outcome;
    });
  }

  /** Takes the tables away. */
  async close(): Promise<void> {
    this.wanted = undefined;
    clearTimeout(this.timer);
    // At once, and again in turn: an attempt to make them may be under way, and open another session.
    await this.drop();
    await this.inTurn(() => this.drop());
  }

  private async make(tables: OwnedTables): Promise<Outcome> {
    this.session ??= this.open();
    const { session } = this;
    try {
      const outcome = await this.replace(session, tables);
      if (outcome.status !== 0) return outcome;
      if (this.session !== session) return { ...outcome, status: 1, stderr: 'nft ended' };
      if (!this.isThere) this.madeAtMs = performance.now();
      this.isThere = true;
      return outcome;
    } finally {
      if (!this.isThere) await this.drop();
    }
  }

  private async replace(session: NftSession, { id, tables }: OwnedTables): Promise<Outcome> {
    // A table that may be missing has to be made before it can be deleted. One of ours can't: it has the flag.
    const away = tables.map(table =>
      this.isThere ? `delete ${table.id}` : `${table.id}\ndelete ${table.id}`,
    );
    const script = [...away, ...tables.map(({ text }) => text)].join('\n');
    const deadline = performance.now() + TAKEOVER_TIMEOUT_MS;
    for (;;) {
      const outcome = await session.run(script);
      if (!OWNED_BY_ANOTHER.test(outcome.stderr)) return outcome;
      if (performance.now() > deadline)
        throw new OperatorError(`${id} belongs to another process; end that process first`, ExitCode.failed);
      await sleep(TAKEOVER_RETRY_MS);
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
    if (this.wanted === undefined || !wasThere) return; // a `make` that is under way returns the failure
    this.log.warn(`${this.wanted.id} is gone: the nft that owned it has ended (${how})`);
    if (performance.now() - this.madeAtMs > LONGEST_PAUSE_MS) this.pauseMs = FIRST_PAUSE_MS;
    this.mendLater();
  }

  private mendLater(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.inTurn(() => this.mend()), this.pauseMs).unref();
    this.pauseMs = Math.min(2 * this.pauseMs, LONGEST_PAUSE_MS);
  }

  private async mend(): Promise<void> {
    const { wanted } = this;
    if (wanted === undefined || this.isThere) return;
    const outcome = await this.make(wanted).catch(failure);
    if (this.wanted === undefined) return; // closed meanwhile
    if (outcome.status === 0) {
      this.log.info(`${wanted.id} is made again`);
      return;
    }
    this.log.warn(`${wanted.id} could not be made again: ${complaint(outcome)}`);
    this.mendLater();
  }

  private async drop(): Promise<void> {
    const { session } = this;
    this.session = undefined;
    this.isThere = false;
    await session?.close();
  }

  /** One act after the other: nft's answers don't say which script they are for. */
  private inTurn<T>(act: () => Promise<T>): Promise<T> {
    const result = this.turn.then(act);
    this.turn = result.catch(() => {});
    return result;
  }
}

function failure(error: Error): Outcome {
  return { status: 1, stdout: '', stderr: error.message };
}
