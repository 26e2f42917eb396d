/** Finds flows by LIP:lport -> RIP:rport. */

import { sameAddress } from '../codec/addresses.js';
import { type FlowId, NONE, type WordIndex } from '../codec/units.js';
import { hashEnds } from './hash.js';
import { HashIndex } from './hash-index.js';
import {
  CLIENT_PORT,
  type FlowPorts,
  type FlowRecords,
  LIP,
  LIVE,
  PORTS,
  RECORD_WORDS,
  SERVER,
} from './records.js';

export class FlowIndex {
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

  hash(words: Int32Array, lipAt: WordIndex, serverAt: WordIndex, ports: FlowPorts): number {
    return hashEnds(words, lipAt, serverAt, ports, this.seed);
  }

  /** The flow between the addresses at `lipAt` and `serverAt` in `words`, or NONE. */
  find(words: Int32Array, lipAt: WordIndex, serverAt: WordIndex, ports: FlowPorts): FlowId {
    const { slots } = this;
    const hash = this.hash(words, lipAt, serverAt, ports);
    for (let at = slots.first(hash); ; at = slots.next(at)) {
      const flow = slots.record(at);
      if (flow < 0) return NONE;
      if (slots.hash(at) === hash && this.matches(flow, words, lipAt, serverAt, ports)) return flow;
    }
  }

  /** Whether a record, which may be a free one, is that of this flow. */
  matches(flow: FlowId, words: Int32Array, lipAt: WordIndex, serverAt: WordIndex, ports: FlowPorts): boolean {
    const records = this.words;
    const base = flow * RECORD_WORDS;
    return (
      records[base + PORTS] === ports &&
      (records[base + CLIENT_PORT] & LIVE) !== 0 &&
      sameAddress(records, base + LIP, words, lipAt) &&
      sameAddress(records, base + SERVER, words, serverAt)
    );
  }

  /** Makes a record found. */
  add(flow: FlowId): void {
    this.slots.insert(this.hashOf(flow), flow);
  }

  remove(flow: FlowId): void {
    this.slots.remove(this.hashOf(flow), flow);
  }

  private hashOf(flow: FlowId): number {
    const { records, words } = this;
    const lipAt = records.addressAt(flow, LIP);
    return this.hash(words, lipAt, records.addressAt(flow, SERVER), records.flowPorts(flow));
  }
}
