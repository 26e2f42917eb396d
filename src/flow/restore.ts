/**
 * Fills a new table with the flows that a process before this one has saved. Nothing is trusted: each record is checked,
 * and what a kill has torn, a fault has changed, or nobody could have written, is left out.
 */
import { ADDRESS_WORDS, copyAddress, isMapped } from '../codec/addresses.js';
import { type FlowId, NONE, type Ticks, type WordIndex } from '../codec/units.js';
import {
  CLIENT,
  CLIENT_PORT,
  LIP,
  LIVE,
  PORTS,
  ROLE_FLAGS,
  ROUTES_REPLIES,
  SERVER,
  TABLE_FLAGS,
} from './records.js';
import {
  HEADER_WORDS,
  isWhole,
  REPLY_STAMP,
  SAVED_WORDS,
  STAMP,
  seedOf,
  TAG,
  tickOf,
} from './saved-flows.js';
import type { FlowTable } from './table.js';

/** How many flows were kept, and how many were not, by the reason. */
export interface Restored {
  kept: number;
  /** Without a packet for too long. */
  expired: number;
  /** Torn, changed or impossible. */
  damaged: number;
  /** Too many for this table. */
  superfluous: number;
  /** They may be learned no longer: the configuration has changed. */
  unwanted: number;
}

/** What the role could have learned. */
export interface Plausibility {
  /** The role's flags that have a meaning. */
  knownFlags: number;
  /** Whether the role would learn the flow of the record at `at`, laid out as in records.ts, today. */
  isWanted(words: Int32Array, at: WordIndex): boolean;
}

/** Fills `table`, which is empty, from a file's `words`, whose header is in order. */
export function restoreFlows(
  table: FlowTable,
  words: Int32Array,
  { knownFlags, isWanted }: Plausibility,
  now: Ticks,
): Restored {
  const restored = { kept: 0, expired: 0, damaged: 0, superfluous: 0, unwanted: 0 };
  const seed = seedOf(words);
  const client = { words: new Int32Array(ADDRESS_WORDS), port: 0 };
  /** Of each flow, whether replies went by it. */
  const routed: boolean[] = [];

  const restore = (at: WordIndex): keyof Restored | undefined => {
    const last = words[at + CLIENT_PORT];
    if (last === 0) return undefined;
    const lastInbound = tickOf(words[at + STAMP]);
    const lastReply = tickOf(words[at + REPLY_STAMP]);
    if (lastInbound === undefined || lastReply === undefined) return 'damaged';
    if (!isWhole(words, at, seed) || !isPossible(words, at, knownFlags)) return 'damaged';
    const silentMs = (now - lastInbound) >>> 0;
    const unansweredMs = (now - lastReply) >>> 0;
    if (Math.max(silentMs, unansweredMs) >= 2 ** 31) return 'damaged';
    if (Math.min(silentMs, unansweredMs) >= table.timeoutMs) return 'expired';
    if (!isWanted(words, at)) return 'unwanted';
    if (table.count === table.maxFlows) return 'superfluous';
    const other = table.findFlow(words, at + LIP, at + SERVER, words[at + PORTS]);
    if (other !== NONE) {
      // Only a fault makes two of one flow. Which of them is right, nobody knows.
      table.forget(other);
      restored.kept--;
      restored.damaged++;
      return 'damaged';
    }
    copyAddress(words, at + CLIENT, client.words, 0);
    client.port = last >>> 16;
    const flow = table.restore(
      words,
      at + LIP,
      at + SERVER,
      words[at + PORTS],
      client,
      last & ROLE_FLAGS,
      lastInbound,
    );
    if (words[at + TAG] !== 0) table.records.setTag(flow, words[at + TAG]);
    table.restoreState(flow, last, lastReply, now);
    routed[flow] = (last & ROUTES_REPLIES) !== 0;
    return 'kept';
  };

  table.beginRestore(now);
  for (let at = HEADER_WORDS; at + SAVED_WORDS <= words.length; at += SAVED_WORDS) {
    const outcome = restore(at);
    if (outcome !== undefined) restored[outcome]++;
  }
  if (table.replyIndex !== undefined) routeReplies(table, routed, now);
  return restored;
}

/** How many records of a file's `words` may hold a flow. */
export function countSaved(words: Int32Array): number {
  let count = 0;
  for (let at = HEADER_WORDS; at + SAVED_WORDS <= words.length; at += SAVED_WORDS)
    if (words[at + CLIENT_PORT] !== 0) count++;
  return count;
}

/** Whether a record could have been written, whatever its check says. */
function isPossible(words: Int32Array, at: WordIndex, knownFlags: number): boolean {
  const ports = words[at + PORTS];
  const last = words[at + CLIENT_PORT];
  return (
    (last & LIVE) !== 0 &&
    (last & 0xffff & ~(TABLE_FLAGS | knownFlags)) === 0 &&
    ports >>> 16 !== 0 &&
    (ports & 0xffff) !== 0 &&
    last >>> 16 !== 0 &&
    isMapped(words, at + LIP) === isMapped(words, at + SERVER)
  );
}

/**
 * Lets replies go by the flows by which they went. Where a kill has left none of a client's flows with that sign, they go
 * by the one that was used last.
 */
function routeReplies(table: FlowTable, routed: readonly boolean[], now: Ticks): void {
  const { records } = table;
  for (const sign of [false, true])
    for (let flow: FlowId = 0; flow < table.extent; flow++) {
      if (!records.isLive(flow) || routed[flow] !== sign) continue;
      const at = records.addressAt(flow, SERVER);
      const other = table.findReply(
        records.words,
        at,
        records.addressAt(flow, CLIENT),
        records.replyPorts(flow),
      );
      const isBehind = other !== NONE && routed[other] === sign;
      if (!isBehind || records.idleMs(other, now) > records.idleMs(flow, now)) table.routeReplies(flow);
    }
}
