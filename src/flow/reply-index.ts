/** Finds the flow that a reply, RIP:rport -> client:cport, goes back by: of several the one whose packet arrived last. */

import { sameAddress } from '../codec/addresses.js';
import { type FlowId, NONE, type WordIndex } from '../codec/units.js';
import { hashEnds } from './hash.js';
import { HashIndex } from './hash-index.js';
import {
  CLIENT,
  CLIENT_PORT,
  type FlowRecords,
  PORTS,
  RECORD_WORDS,
  type ReplyPorts,
  ROUTES_REPLIES,
  SERVER,
} from './records.js';

export class ReplyIndex {
  readonly slots: HashIndex;
  private readonly words: Int32Array;

  /** Over `HashIndex.byteLength(count)` bytes at `byteOffset`, for `count` records. */
  constructor(
    buffer: ArrayBufferLike,
    byteOffset: number,
    count: number,
    private readonly records: FlowRecords,
    private readonly seed: number,
  ) {
    this.slots = new HashIndex(buffer, byteOffset, count);
    this.words = records.words;
  }

  hash(words: Int32Array, serverAt: WordIndex, clientAt: WordIndex, ports: ReplyPorts): number {
    return hashEnds(words, clientAt, serverAt, ports, this.seed);
  }

  /** The flow by which replies between the addresses at `serverAt` and `clientAt` in `words` go back, or NONE. */
  find(words: Int32Array, serverAt: WordIndex, clientAt: WordIndex, ports: ReplyPorts): FlowId {
    const { slots } = this;
    const hash = this.hash(words, serverAt, clientAt, ports);
    for (let at = slots.first(hash); ; at = slots.next(at)) {
      const flow = slots.record(at);
      if (flow < 0) return NONE;
      if (slots.hash(at) === hash && this.matches(flow, words, serverAt, clientAt, ports)) return flow;
    }
  }

  /** Whether a record, which may be a free one, routes these replies. */
  matches(
    flow: FlowId,
    words: Int32Array,
    serverAt: WordIndex,
    clientAt: WordIndex,
    ports: ReplyPorts,
  ): boolean {
    const records = this.words;
    const base = flow * RECORD_WORDS;
    return (
      ((records[base + CLIENT_PORT] & ~0xffff) | (records[base + PORTS] & 0xffff)) === ports &&
      (records[base + CLIENT_PORT] & ROUTES_REPLIES) !== 0 &&
      sameAddress(records, base + CLIENT, words, clientAt) &&
      sameAddress(records, base + SERVER, words, serverAt)
    );
  }

  /** Makes a flow route the replies to its client, in the place of the one that did. */
  route(flow: FlowId): void {
    const { records, slots, words } = this;
    const serverAt = records.addressAt(flow, SERVER);
    const clientAt = records.addressAt(flow, CLIENT);
    const ports = records.replyPorts(flow);
    const hash = this.hash(words, serverAt, clientAt, ports);
    const before = this.find(words, serverAt, clientAt, ports);
    if (before === NONE) slots.insert(hash, flow);
    else {
      slots.replace(hash, before, flow);
      records.setRoutesReplies(before, false);
    }
    records.setRoutesReplies(flow, true);
  }

  /** Makes a flow, if it routes replies, do so no longer: they go by none until one of their flows has a packet. */
  unroute(flow: FlowId): void {
    const { records, slots, words } = this;
    if (!records.routesReplies(flow)) return;
    const serverAt = records.addressAt(flow, SERVER);
    const clientAt = records.addressAt(flow, CLIENT);
    slots.remove(this.hash(words, serverAt, clientAt, records.replyPorts(flow)), flow);
    records.setRoutesReplies(flow, false);
  }
}
