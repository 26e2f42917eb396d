/**
 * Which flows have been idle longest, and which of them goes when the table is full. Flows that were only ever marked stand
 * in one wheel, established ones in the other: a flood of marks is to push out its own, and no flow in use.
 *
 *     header    how many flows are established, and the record that is sorted next: 64 bytes
 *     links     of the records, shared by both wheels
 *     wheels    marked, established (idle-wheel.ts)
 */
import { type FlowId, NONE, type Ticks } from '../codec/units.js';
import { IdleLinks, IdleWheel } from './idle-wheel.js';
import type { FlowRecords } from './records.js';

/** Header words. */
const ESTABLISHED_COUNT = 0;
const SORTED = 1;
const HEADER_BYTES = 64;

/** How many records of each wheel one eviction looks at before it takes the longest idle of those. */
const EVICTION_SEARCH = 64;
/** Sorting begins when this part of the records is left, so all have been sorted twice before the first eviction. */
const SORTING_FROM = 16;
/** An established flow is not evicted for a flow that was only ever marked before it has been idle for so long, */
const IDLE_MS = 10_000;
/** nor when those take more than this part of the table. */
const MARKED_PART = 8;

export class IdleFlows {
  private readonly header: Int32Array;
  private readonly marked: IdleWheel;
  private readonly established: IdleWheel;

  /** Bytes that it takes for a table of `maxFlows` records. */
  static byteLength(maxFlows: number, timeoutMs: number): number {
    return HEADER_BYTES + IdleLinks.byteLength(maxFlows) + 2 * IdleWheel.byteLength(timeoutMs);
  }

  /** Over memory that holds the same for a table of the same size, or that `clear` makes an empty one. */
  constructor(
    buffer: ArrayBufferLike,
    byteOffset: number,
    private readonly maxFlows: number,
    private readonly timeoutMs: number,
    private readonly records: FlowRecords,
  ) {
    this.header = new Int32Array(buffer, byteOffset, HEADER_BYTES / 4);
    const links = new IdleLinks(buffer, byteOffset + HEADER_BYTES, maxFlows);
    const wheels = byteOffset + HEADER_BYTES + IdleLinks.byteLength(maxFlows);
    this.marked = new IdleWheel(buffer, wheels, links, timeoutMs);
    this.established = new IdleWheel(buffer, wheels + IdleWheel.byteLength(timeoutMs), links, timeoutMs);
  }

  /** Makes it empty, for flows that were last used at `now` or later. */
  clear(now: Ticks): void {
    this.marked.clear(now);
    this.established.clear(now);
    this.header[ESTABLISHED_COUNT] = 0;
  }

  // ---- flows come, change and go -------------------------------------------------------------------------

  /** Adds a flow, which is not established. */
  add(flow: FlowId, now: Ticks): void {
    this.marked.append(flow, now);
  }

  /** Moves a flow to where its last packet belongs. */
  place(flow: FlowId, now: Ticks): void {
    this.wheelOf(flow).move(flow, this.records.lastUsed(flow, now));
  }

  /** Counts a flow as established, and has its record say so; it is not yet. */
  establish(flow: FlowId, now: Ticks): void {
    const { records } = this;
    this.marked.remove(flow);
    records.setEstablished(flow);
    this.established.append(flow, records.lastUsed(flow, now));
    this.header[ESTABLISHED_COUNT]++;
  }

  /** Removes a flow whose record is still there. */
  remove(flow: FlowId): void {
    this.wheelOf(flow).remove(flow);
    if (this.records.isEstablished(flow)) this.header[ESTABLISHED_COUNT]--;
  }

  private wheelOf(flow: FlowId): IdleWheel {
    return this.records.isEstablished(flow) ? this.established : this.marked;
  }

  // ---- expiry --------------------------------------------------------------------------------------------

  /** Whether there is something to look at. A flow may outlive its timeout by a bucket of the wheel, 1.024 s. */
  isDue(now: Ticks): boolean {
    return this.marked.isDue(now) || this.established.isDue(now);
  }

  /**
   * Looks at one record or empty bucket, which is there (`isDue`). The flow if it has been idle for too long: it is still
   * to be removed. Else NONE, and the record has been moved to where its last packet belongs.
   */
  examine(now: Ticks): FlowId {
    const { records, timeoutMs } = this;
    const wheel = this.marked.isDue(now) ? this.marked : this.established;
    const flow = wheel.head(wheel.hand);
    if (flow === NONE) wheel.advance();
    else if (records.idleMs(flow, now) >= timeoutMs) return flow;
    else wheel.move(flow, records.lastUsed(flow, now));
    return NONE;
  }

  /** Goes on from a pause longer than the wheels. To be called ahead of `isDue` and `examine`. */
  catchUp(now: Ticks): void {
    this.marked.catchUp(now);
    this.established.catchUp(now);
  }

  // ---- eviction ------------------------------------------------------------------------------------------

  /**
   * The flow to forget in a full table: the one that has been idle longest. One that was only ever marked goes before an
   * established one that was used in the last IDLE_MS, and before any if such flows take more than their part of the
   * table. A part of the table is left to them, so that a new flow has time to be answered.
   */
  victim(now: Ticks): FlowId {
    const { records, header, maxFlows } = this;
    const establishedCount = header[ESTABLISHED_COUNT];
    const markedCount = maxFlows - establishedCount;
    if (markedCount > maxFlows / MARKED_PART || establishedCount === 0)
      return this.longestIdle(this.marked, now);
    const established = this.longestIdle(this.established, now);
    if (markedCount === 0) return established;
    const marked = this.longestIdle(this.marked, now);
    const idleMs = records.idleMs(established, now);
    return idleMs < IDLE_MS || idleMs < records.idleMs(marked, now) ? marked : established;
  }

  /**
   * The longest idle record of a wheel that is not empty. Exact where the oldest bucket holds up to EVICTION_SEARCH
   * records; beyond that the longest idle of as many, so that an eviction never takes long. As records are sorted, none of
   * them has been used much later than the bucket's time.
   */
  private longestIdle(wheel: IdleWheel, now: Ticks): FlowId {
    const { records } = this;
    wheel.catchUp(now);
    let longest: FlowId = NONE;
    let left = EVICTION_SEARCH;
    do {
      while (wheel.head(wheel.hand) === NONE) wheel.advance();
      for (let flow = wheel.head(wheel.hand); flow !== NONE && left > 0; left--) {
        const following = wheel.after(flow);
        if (longest === NONE || records.idleMs(flow, now) > records.idleMs(longest, now)) longest = flow;
        wheel.moveOn(flow, records.lastUsed(flow, now));
        flow = following;
      }
    } while (left > 0 && wheel.isAhead(records.lastUsed(longest, now)));
    return longest;
  }

  /**
   * Sorts the next `budget` of `extent` records if a table of `count` flows is nearly full: moves them to where their last
   * packets belong. They are taken in the order of memory, which costs far less than following links.
   */
  sort(now: Ticks, budget: number, count: number, extent: number): void {
    const { records, header, maxFlows } = this;
    if (count < maxFlows - maxFlows / SORTING_FROM) return;
    for (let left = Math.min(budget, maxFlows); left > 0; left--) {
      const flow = header[SORTED] < extent ? header[SORTED] : 0;
      header[SORTED] = flow + 1;
      if (records.isLive(flow)) this.wheelOf(flow).moveOn(flow, records.lastUsed(flow, now));
    }
  }
}
