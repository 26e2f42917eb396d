/**
 * What of the flows outlives the process: a copy of each record in the memory of a file (dataplane/flow-file.ts). It is
 * written when a flow changes, and read once, by the next process (restore.ts).
 *
 *     header    whose flows these are, and the seed of the records' checks: HEADER_WORDS
 *     records   SAVED_WORDS each, by the number of the flow
 *
 * The table itself is not in the file. Its memory has pages of 2 MB, which files have on few hosts, and a packet that
 * changes nothing writes nothing here, but for a stamp every few seconds.
 *
 * A kill may come between any two stores, and nobody vouches for a file. So each record has a check over what it says,
 * and what does not fit is not believed: no client is better than a wrong one.
 */
import type { FlowId, Ticks, WordIndex } from '../codec/units.js';
import { hash3, hash9 } from './hash.js';
import {
  CLIENT,
  CLIENT_PORT,
  ESTABLISHED,
  type FlowKeeper,
  LASTING,
  LIP,
  LIVE,
  PORTS,
  RECORD_WORDS,
  ROUTES_REPLIES,
  SERVER,
} from './records.js';

/** Word offsets in a saved record. It begins like a record. */
export const TAG = CLIENT_PORT + 1;
/** When the last packet came from the load balancer, and when the last reply went (`stampOf`). Stamps have checks of their own. */
export const STAMP = TAG + 1;
export const REPLY_STAMP = STAMP + 1;
/** A hash of the flow's ends and of most of its client, which change together. */
const ENDS_CHECK = REPLY_STAMP + 1;
/** A hash of all that is left, and of that one. */
const CHECK = ENDS_CHECK + 1;
export const SAVED_WORDS = CHECK + 1;

/** To be changed whenever the meaning of a saved word changes, other than by these constants. */
const MEANING = 1;

/** Tells this layout from every other one. */
export const FORMAT = [
  ...[
    MEANING,
    SAVED_WORDS,
    LIP,
    SERVER,
    CLIENT,
    PORTS,
    CLIENT_PORT,
    TAG,
    STAMP,
    REPLY_STAMP,
    ENDS_CHECK,
    CHECK,
  ],
  ...[LIVE, ROUTES_REPLIES, ESTABLISHED, LASTING, RECORD_WORDS],
].reduce((hash, constant) => hash3(constant, 0, 0, hash), 0);

// ---- header ------------------------------------------------------------------------------------------------

/** "uoa-flow" */
const MAGIC = [0x756f612d, 0x666c6f77];
const OWNER = 2;
/** Words that say whose flows these are. */
export const OWNER_WORDS = 8;
const SEED = OWNER + OWNER_WORDS;
const HEADER_CHECK = 11;
export const HEADER_WORDS = 12;

/** Writes a header. `owner` has OWNER_WORDS words, and its first is FORMAT. */
export function writeHeader(words: Int32Array, owner: readonly number[], seed: number): void {
  words.set([...MAGIC, ...owner, seed], 0);
  words[HEADER_CHECK] = headerCheck(words);
}

/** Whether `words` begin with a header that nothing has happened to. */
export function hasHeader(words: Int32Array): boolean {
  if (words.length < HEADER_WORDS || words[HEADER_CHECK] !== headerCheck(words)) return false;
  return MAGIC.every((word, i) => words[i] === word);
}

/** The seed of the records' checks, of a header. */
export function seedOf(words: Int32Array): number {
  return words[SEED];
}

/** The place of the first word of `owner` that differs from the header's; undefined: these flows are that owner's. */
export function differenceOf(words: Int32Array, owner: readonly number[]): number | undefined {
  const at = owner.findIndex((word, i) => words[OWNER + i] !== (word | 0));
  return at < 0 ? undefined : at;
}

function headerCheck(words: Int32Array): number {
  return hash3(words[9], words[10], 0, hash9(words, 0, 4, words[8], 0));
}

// ---- records -----------------------------------------------------------------------------------------------

/** Where a saved record begins. */
export function savedAt(flow: FlowId): WordIndex {
  return HEADER_WORDS + flow * SAVED_WORDS;
}

/** Bytes of a file for so many records. */
export function savedBytes(records: number): number {
  return savedAt(records) * 4;
}

function endsCheck(words: Int32Array, at: WordIndex, seed: number): number {
  const ends = hash9(words, at + LIP, at + SERVER, words[at + PORTS], seed);
  return hash3(words[at + CLIENT], words[at + CLIENT + 1], words[at + CLIENT + 2], ends);
}

function fullCheck(words: Int32Array, at: WordIndex): number {
  return hash3(words[at + CLIENT + 3], words[at + CLIENT_PORT], words[at + TAG], words[at + ENDS_CHECK]);
}

/** Whether the record at `at` is as it was saved; stamps apart. */
export function isWhole(words: Int32Array, at: WordIndex, seed: number): boolean {
  return words[at + ENDS_CHECK] === endsCheck(words, at, seed) && words[at + CHECK] === fullCheck(words, at);
}

/** A stamp is a tick in units of 1.024 s, rounded down, with a check in the ten bits below. */
const STAMP_BITS = 10;

export function stampOf(tick: Ticks): number {
  const unit = tick >>> STAMP_BITS;
  return (unit << STAMP_BITS) | (Math.imul(unit, 0x9e3779b1) >>> (32 - STAMP_BITS));
}

/** The tick of a stamp, or undefined if it is none. */
export function tickOf(stamp: number): Ticks | undefined {
  const tick = stamp & -(1 << STAMP_BITS);
  return stampOf(tick) === stamp ? tick : undefined;
}

/** How many stamps a flow in use has while it could time out: more are more exact, and cost more. */
const STAMPS_PER_TIMEOUT = 64;

export class SavedFlows implements FlowKeeper {
  /** For how many records there is room so far. The flows behind them are not saved. */
  room = 0;
  /** The bits of the time that a flow gets a new stamp with: the highest ones, so that it is a matter of seconds. */
  readonly stampMask: number;
  private readonly words: Int32Array;

  constructor(
    buffer: ArrayBufferLike,
    private readonly seed: number,
    timeoutMs: number,
  ) {
    this.words = new Int32Array(buffer);
    const bits = Math.floor(Math.log2(timeoutMs / STAMPS_PER_TIMEOUT));
    this.stampMask = -(2 ** Math.max(bits, STAMP_BITS));
  }

  save(
    flow: FlowId,
    records: Int32Array,
    from: WordIndex,
    tag: number,
    lastInbound: Ticks,
    lastReply: Ticks,
  ): void {
    if (flow >= this.room) return;
    const { words } = this;
    const at = savedAt(flow);
    // Not live until it is whole. Should a kill come in between, or the stores go another way round: there are the checks.
    words[at + CLIENT_PORT] = 0;
    for (let i = 0; i < CLIENT_PORT; i++) words[at + i] = records[from + i];
    words[at + STAMP] = stampOf(lastInbound);
    words[at + REPLY_STAMP] = stampOf(lastReply);
    words[at + ENDS_CHECK] = endsCheck(words, at, this.seed);
    this.update(flow, records[from + CLIENT_PORT], tag);
  }

  update(flow: FlowId, portAndFlags: number, tag: number): void {
    if (flow >= this.room) return;
    const { words } = this;
    const at = savedAt(flow);
    words[at + CLIENT_PORT] = portAndFlags;
    words[at + TAG] = tag;
    words[at + CHECK] = fullCheck(words, at);
  }

  stampInbound(flow: FlowId, now: Ticks): void {
    if (flow < this.room) this.words[savedAt(flow) + STAMP] = stampOf(now);
  }

  stampReply(flow: FlowId, now: Ticks): void {
    if (flow < this.room) this.words[savedAt(flow) + REPLY_STAMP] = stampOf(now);
  }

  erase(flow: FlowId): void {
    if (flow < this.room) this.words[savedAt(flow) + CLIENT_PORT] = 0;
  }
}
