/**
 * Queries for connections by their reply tuples. They are answered before their send() returns, so many of them cost one
 * send and one receive, without waiting.
 */
import { CtAnswer, CtRequests, type ReplyTuple } from '../codec/ctnetlink.js';
import { NONE } from '../codec/units.js';
import { checkBatch } from './limits.js';
import { PieceList } from './lists.js';
import type { Native } from './native.js';

/** An answer takes some hundred bytes. */
const ANSWER_BYTES = 4096;
/** Room for answers to earlier queries, which come first: those were sent, but not received. */
const SPARE_ANSWERS = 4;

export class CtQueries {
  private readonly requests: CtRequests;
  private readonly memory: Uint8Array;
  private readonly found: CtAnswer;
  private readonly answers: PieceList;
  /** Where in `answers` that to each query is, or NONE. */
  private readonly answerTo: Int32Array;

  /** Of up to `capacity` queries at a time, over the netlink socket `fd`. Throws if they are more than a batch. */
  constructor(
    private readonly native: Native,
    readonly fd: number,
    capacity: number,
  ) {
    const room = capacity + SPARE_ANSWERS;
    checkBatch(room);
    this.requests = new CtRequests(capacity);
    this.memory = new Uint8Array(room * ANSWER_BYTES);
    this.found = new CtAnswer(this.memory);
    this.answerTo = new Int32Array(capacity).fill(NONE);
    this.answers = new PieceList(room);
    for (let i = 0; i < room; i++) this.answers.add(i * ANSWER_BYTES, ANSWER_BYTES);
  }

  /** Puts a query for the connection whose replies are `tuple` on the list. Its number, or NONE if the list is full. */
  add(tuple: ReplyTuple): number {
    const { requests } = this;
    if (requests.count === requests.capacity) return NONE;
    requests.get(tuple);
    return requests.count - 1;
  }

  /** Sends the queries on the list and begins another one. Answers to those before them are gone. */
  send(): void {
    const { native, fd, requests, answerTo } = this;
    const { count, sequence, length } = requests;
    answerTo.fill(NONE);
    requests.clear();
    if (count === 0 || native.sendMessage(fd, requests.bytes, length) < 0) return;
    this.receive(count, sequence);
  }

  /** Receives the answers to `count` queries, the last of which has the number `last` in netlink. */
  private receive(count: number, last: number): void {
    const { native, fd, memory, found, answerTo } = this;
    const { offsets, lengths, results, capacity } = this.answers;
    const received = native.receiveBatch(fd, memory, offsets, lengths, results, capacity);
    let matched = 0;
    for (let k = 0; k < received; k++) {
      const query = count - 1 - (last - found.sequence(offsets[k]));
      if (query < 0 || query >= count) continue;
      answerTo[query] = k;
      matched++;
    }
    // More of them than that would push the last of ours out, and those the next ones', and so on.
    if (matched < received) discardMessages(native, fd);
  }

  /** The connection that a query has found, or undefined. It is one object, the next call's too. */
  answer(query: number): CtAnswer | undefined {
    const { answers, found } = this;
    const k = this.answerTo[query];
    return k !== NONE && found.read(answers.offsets[k], answers.results[k]) === 0 ? found : undefined;
  }
}

const spare = new Uint8Array(ANSWER_BYTES);

/** Takes all messages off a socket. */
export function discardMessages(native: Native, fd: number): void {
  while (native.receiveMessage(fd, spare, ANSWER_BYTES) > 0);
}
