/**
 * The flow table: LIP:lport -> RIP:rport = client:cport, found from both sides, bounded, in one buffer.
 *
 *     header       version, count and free records: 64 bytes
 *     records      what is known of each flow (records.ts)
 *     flow index   finds a record by LIP:lport -> RIP:rport (flow-index.ts)
 *     reply index  finds it by RIP:rport -> client:cport (reply-index.ts); only where replies come through here
 *     idle flows   which records have been idle longest (idle-flows.ts)
 *
 * A SharedArrayBuffer lets another thread read the table (reader.ts). One thread writes. Readers elsewhere check
 * `version`, which is odd during a change.
 */
import { type FlowId, NONE, type Ticks, type WordIndex } from '../codec/units.js';
import { FlowIndex } from './flow-index.js';
import { HashIndex } from './hash-index.js';
import { IdleFlows } from './idle-flows.js';
import {
  ESTABLISHED,
  type FlowClient,
  type FlowKeeper,
  type FlowPorts,
  FlowRecords,
  LASTING,
  type ReplyPorts,
} from './records.js';
import { ReplyIndex } from './reply-index.js';

/** Header words. */
const VERSION = 0;
const COUNT = 1;
const EXTENT = 2;
const FREE = 3;
const HEADER_BYTES = 64;

/**
 * How many records are sorted by their last use with each new flow, when the table is nearly full. In a full table each is
 * sorted once per maxFlows / SORTED_PER_FLOW new flows. `expire` sorts as many as its budget, for tables that stay full
 * with few new flows.
 */
const SORTED_PER_FLOW = 32;

export interface TableSize {
  maxFlows: number;
  /** Milliseconds without a packet until a flow is forgotten, 2^31 at most. */
  timeoutMs: number;
}

/** What decides the table's layout in memory. All who open it must agree. */
export interface TableOptions extends TableSize {
  /** Whether flows are found by replies too. */
  routesReplies: boolean;
  /** Keeps clients, who choose half of a key, from choosing keys that collide. */
  seed: number;
}

/** What `learn` did with the flow: it was known with this client, was not known, or had another client. */
export const LearnOutcome = { refreshed: 0, added: 1, replaced: 2 } as const;
export type LearnOutcome = (typeof LearnOutcome)[keyof typeof LearnOutcome];

/** What `learn` learned. */
export interface Learned {
  readonly flow: FlowId;
  readonly outcome: LearnOutcome;
  /** Whether another flow had to go for it, because the table was full. */
  readonly evicted: boolean;
}

export class FlowTable {
  readonly records: FlowRecords;
  readonly flowIndex: FlowIndex;
  readonly replyIndex: ReplyIndex | undefined;
  private readonly header: Int32Array;
  private readonly idle: IdleFlows;
  readonly maxFlows: number;
  readonly timeoutMs: number;
  private readonly learned = { flow: NONE, outcome: LearnOutcome.refreshed as LearnOutcome, evicted: false };

  /** Bytes that a table takes. */
  static byteLength({ maxFlows, timeoutMs, routesReplies }: TableOptions): number {
    const indexes = (routesReplies ? 2 : 1) * HashIndex.byteLength(maxFlows);
    const idle = IdleFlows.byteLength(maxFlows, timeoutMs);
    return HEADER_BYTES + FlowRecords.byteLength(maxFlows) + indexes + idle;
  }

  /**
   * Makes an empty table in `buffer`, which must be zeroed, as new memory is; `now` in ticks. `keeper` hears of each
   * change.
   */
  static create(buffer: ArrayBufferLike, options: TableOptions, now: Ticks, keeper?: FlowKeeper): FlowTable {
    const table = new FlowTable(buffer, options, keeper);
    table.idle.clear(now);
    table.header[FREE] = NONE;
    return table;
  }

  /** Opens the table that was created in `buffer` with the same options: all of it, seed included. */
  static open(buffer: ArrayBufferLike, options: TableOptions, keeper?: FlowKeeper): FlowTable {
    return new FlowTable(buffer, options, keeper);
  }

  private constructor(
    buffer: ArrayBufferLike,
    { maxFlows, timeoutMs, routesReplies, seed }: TableOptions,
    keeper: FlowKeeper | undefined,
  ) {
    this.maxFlows = maxFlows;
    this.timeoutMs = timeoutMs;
    this.header = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    let offset = HEADER_BYTES;
    this.records = new FlowRecords(buffer, offset, maxFlows, keeper);
    offset += FlowRecords.byteLength(maxFlows);
    this.flowIndex = new FlowIndex(buffer, offset, maxFlows, this.records, seed | 0);
    offset += HashIndex.byteLength(maxFlows);
    if (routesReplies) {
      this.replyIndex = new ReplyIndex(buffer, offset, maxFlows, this.records, seed | 0);
      offset += HashIndex.byteLength(maxFlows);
    }
    this.idle = new IdleFlows(buffer, offset, maxFlows, timeoutMs, this.records);
  }

  get count(): number {
    return this.header[COUNT];
  }

  /** One more than the highest record number in use so far. */
  get extent(): number {
    return this.header[EXTENT];
  }

  /** Odd while a change is under way; a reader on another thread compares it before and after. */
  get version(): number {
    return Atomics.load(this.header, VERSION);
  }

  // ---- finding -------------------------------------------------------------------------------------------

  /**
   * The flow between the addresses at `lipAt` and `serverAt` in `words`, or NONE. `hint` is a record to look at first,
   * whosever it is by now, or NONE.
   */
  findFlow(
    words: Int32Array,
    lipAt: WordIndex,
    serverAt: WordIndex,
    ports: FlowPorts,
    hint: FlowId = NONE,
  ): FlowId {
    const { flowIndex } = this;
    if (hint !== NONE && flowIndex.matches(hint, words, lipAt, serverAt, ports)) return hint;
    return flowIndex.find(words, lipAt, serverAt, ports);
  }

  /** The flow by which replies between the addresses at `serverAt` and `clientAt` in `words` go back, or NONE; likewise. */
  findReply(
    words: Int32Array,
    serverAt: WordIndex,
    clientAt: WordIndex,
    ports: ReplyPorts,
    hint: FlowId = NONE,
  ): FlowId {
    const { replyIndex } = this;
    if (replyIndex === undefined) return NONE;
    if (hint !== NONE && replyIndex.matches(hint, words, serverAt, clientAt, ports)) return hint;
    return replyIndex.find(words, serverAt, clientAt, ports);
  }

  // ---- packets -------------------------------------------------------------------------------------------

  /** Counts a packet from the LB, of so many datagrams, and refreshes its flow: by that one replies go from now on. */
  recordInbound(flow: FlowId, now: Ticks, datagrams = 1): void {
    const { records, replyIndex } = this;
    records.addPackets(flow, now, datagrams);
    if (replyIndex === undefined || records.routesReplies(flow)) return;
    this.routeReplies(flow);
  }

  /** Lets replies to the flow's client go by this flow from now on. */
  routeReplies(flow: FlowId): void {
    this.beginChange();
    this.replyIndex?.route(flow);
    this.endChange();
  }

  /** Counts a packet the other way, of so many datagrams, and refreshes its flow. */
  recordReply(flow: FlowId, now: Ticks, datagrams = 1): void {
    this.records.addReplies(flow, now, datagrams);
    this.establish(flow, now);
  }

  /** Says that a flow has been more than marks: from now on others are evicted before it. */
  establish(flow: FlowId, now: Ticks): void {
    if (!this.records.isEstablished(flow)) this.idle.establish(flow, now);
  }

  // ---- changes -------------------------------------------------------------------------------------------

  /**
   * Learns the client of the flow between the addresses at `lipAt` and `serverAt` in `words`, with the role's `flags`
   * (ROLE_FLAGS). A flow that is not known yet pushes another one out if the table is full (`IdleFlows.victim`).
   *
   * This is no packet of the flow: one that is known is not refreshed, and replies go by a new flow or to a new client
   * only from `recordInbound` on. What is returned is one object, the next call's too.
   */
  learn(
    words: Int32Array,
    lipAt: WordIndex,
    serverAt: WordIndex,
    ports: FlowPorts,
    client: FlowClient,
    flags: number,
    now: Ticks,
  ): Learned {
    const { learned, idle } = this;
    const known = this.flowIndex.find(words, lipAt, serverAt, ports);
    learned.evicted = known === NONE && this.count >= this.maxFlows;
    if (known === NONE) idle.sort(now, SORTED_PER_FLOW, this.count, this.extent);
    if (learned.evicted) this.forget(idle.victim(now));
    if (known === NONE) {
      learned.flow = this.add(words, lipAt, serverAt, ports, client, flags, now);
      learned.outcome = LearnOutcome.added;
    } else {
      learned.flow = known;
      learned.outcome = this.relearn(known, client, flags);
    }
    return learned;
  }

  private add(
    words: Int32Array,
    lipAt: WordIndex,
    serverAt: WordIndex,
    ports: FlowPorts,
    client: FlowClient,
    flags: number,
    now: Ticks,
  ): FlowId {
    const { records, header } = this;
    this.beginChange();
    const flow = this.allocate();
    records.begin(flow, words, lipAt, serverAt, ports, now);
    records.setClient(flow, client, flags);
    this.flowIndex.add(flow);
    this.idle.add(flow, now);
    header[COUNT]++;
    this.endChange();
    return flow;
  }

  private relearn(flow: FlowId, client: FlowClient, flags: number): LearnOutcome {
    const { records, replyIndex } = this;
    const isSame = records.hasClient(flow, client);
    if (isSame && records.flags(flow) === flags) return LearnOutcome.refreshed;
    this.beginChange();
    if (!isSame && replyIndex !== undefined) replyIndex.unroute(flow);
    records.setClient(flow, client, flags);
    this.endChange();
    return isSame ? LearnOutcome.refreshed : LearnOutcome.replaced;
  }

  /** Forgets a flow. */
  forget(flow: FlowId): void {
    const { records, header, replyIndex } = this;
    this.beginChange();
    // In this order: the other way round it takes a quarter longer (measured), for the record is written in between.
    this.flowIndex.remove(flow);
    if (replyIndex !== undefined) replyIndex.unroute(flow);
    this.idle.remove(flow);
    records.end(flow, header[FREE]);
    header[FREE] = flow;
    header[COUNT]--;
    this.endChange();
  }

  private allocate(): FlowId {
    const { header } = this;
    const free = header[FREE];
    if (free === NONE) return header[EXTENT]++;
    header[FREE] = this.records.nextFree(free);
    return free;
  }

  private beginChange(): void {
    Atomics.add(this.header, VERSION, 1);
  }

  private endChange(): void {
    Atomics.add(this.header, VERSION, 1);
  }

  // ---- flows of a process before this one (restore.ts) -----------------------------------------------------

  /** To be called while the table is empty: flows may come that were used last up to a timeout ago. */
  beginRestore(now: Ticks): void {
    this.idle.clear((now - this.timeoutMs) | 0);
  }

  /** Adds a flow that is not in the table, which is not full. Replies go by it from `routeReplies` on. */
  restore(
    words: Int32Array,
    lipAt: WordIndex,
    serverAt: WordIndex,
    ports: FlowPorts,
    client: FlowClient,
    flags: number,
    lastInbound: Ticks,
  ): FlowId {
    return this.add(words, lipAt, serverAt, ports, client, flags, lastInbound);
  }

  /** Gives a restored flow what else a record tells: its last reply, and what `portAndFlags` (CLIENT_PORT) says of its life. */
  restoreState(flow: FlowId, portAndFlags: number, lastReply: Ticks, now: Ticks): void {
    const { records } = this;
    records.setLastReply(flow, lastReply);
    this.idle.place(flow, now);
    if ((portAndFlags & ESTABLISHED) !== 0) this.establish(flow, now);
    records.setLasting(flow, (portAndFlags & LASTING) !== 0);
  }

  /** Has the keeper keep all flows as they are now, their times included. */
  saveAll(): void {
    for (let flow = 0; flow < this.extent; flow++) if (this.records.isLive(flow)) this.records.save(flow);
  }

  // ---- time ----------------------------------------------------------------------------------------------

  /** Looks at up to `budget` records or empty buckets, forgets those idle too long, and says how many; sorts as many. */
  expire(now: Ticks, budget: number): number {
    const { idle } = this;
    idle.sort(now, budget, this.count, this.extent);
    idle.catchUp(now);
    let expired = 0;
    for (let left = budget; left > 0 && idle.isDue(now); left--) {
      const flow = idle.examine(now);
      if (flow === NONE) continue;
      this.forget(flow);
      expired++;
    }
    return expired;
  }

  /** Whether `expire` has something to look at. A flow may outlive its timeout by a bucket of the wheel, 1.024 s. */
  isExpiryDue(now: Ticks): boolean {
    return this.idle.isDue(now);
  }
}
