/**
 * Brings the flow table's memory to the cache for a whole batch of look-ups at once, so that their cache misses overlap.
 * Each look-up needs two lines, one of an index and one of a record. The record found on the way is a hint to the look-up.
 */

import { BATCH } from '../codec/batch.js';
import { type FlowId, NONE, type WordIndex } from '../codec/units.js';
import type { HashIndex } from './hash-index.js';
import { type FlowPorts, PORTS, RECORD_WORDS, type ReplyPorts } from './records.js';
import type { FlowTable } from './table.js';

export class FlowPrefetch {
  private readonly hashes = new Int32Array(BATCH);
  private readonly areReplies = new Uint8Array(BATCH);
  private readonly hints = new Int32Array(BATCH);
  private readonly flowSlots: HashIndex;
  private readonly replySlots: HashIndex;
  /** Prefetched words are combined here. Without a use, V8 could remove the loads as dead code. */
  protected used = 0;

  constructor(private readonly flows: FlowTable) {
    this.flowSlots = flows.flowIndex.slots;
    this.replySlots = flows.replyIndex?.slots ?? this.flowSlots;
  }

  /** Look-up `i` of the batch will be `findFlow` with these arguments. */
  setFlow(i: number, words: Int32Array, lipAt: WordIndex, serverAt: WordIndex, ports: FlowPorts): void {
    this.hashes[i] = this.flows.flowIndex.hash(words, lipAt, serverAt, ports);
    this.areReplies[i] = 0;
  }

  /** Look-up `i` of the batch will be `findReply` with these arguments. */
  setReply(i: number, words: Int32Array, serverAt: WordIndex, clientAt: WordIndex, ports: ReplyPorts): void {
    const { replyIndex } = this.flows;
    this.hashes[i] = replyIndex === undefined ? 0 : replyIndex.hash(words, serverAt, clientAt, ports);
    this.areReplies[i] = 1;
  }

  /** There is no look-up `i`. */
  setNone(i: number): void {
    this.hashes[i] = 0;
    this.areReplies[i] = 0;
  }

  /** Prefetches for the first `count` look-ups. */
  run(count: number): void {
    const { flowSlots, replySlots, hashes, areReplies, hints } = this;
    const { words } = this.flows.records;
    let used = 0;
    // A loop for each step. Nothing in the first one depends on what it loads: at a branch guessed wrong the processor
    // would wait for this packet's line before it asks for the next one's.
    for (let i = 0; i < count; i++) {
      const slots = areReplies[i] === 0 ? flowSlots : replySlots;
      used ^= slots.hash(slots.first(hashes[i]));
    }
    for (let i = 0; i < count; i++) {
      const slots = areReplies[i] === 0 ? flowSlots : replySlots;
      const record = slots.firstWith(hashes[i]);
      hints[i] = record;
      if (record !== NONE) used ^= words[record * RECORD_WORDS + PORTS];
    }
    this.used = used;
  }

  /** The record that look-up `i` probably finds, or NONE. */
  hint(i: number): FlowId {
    return this.hints[i];
  }
}
