/**
 * A look at a whole batch before its packets are handled one by one: it has the flow table's memory fetched for all of
 * them at once, so that their cache misses overlap, and remembers which records they probably have.
 */
import { ADDRESS_WORDS, readAddress4, readAddress6 } from '../codec/addresses.js';
import { DESTINATION, SOURCE } from '../codec/ip-header.js';
import * as ipv4 from '../codec/ipv4.js';
import * as ipv6 from '../codec/ipv6.js';
import type { FlowTable } from '../flow/table.js';
import type { ServiceList } from './services.js';

/** Fewer flows than these are in the cache anyway. */
const FORESIGHT_FROM = 20_000;
const LARGEST_BATCH = 64;

export class Foresight {
  private readonly hashes = new Int32Array(LARGEST_BATCH);
  private readonly areReplies = new Uint8Array(LARGEST_BATCH);
  private readonly likely = new Int32Array(LARGEST_BATCH);
  private readonly ends = new Int32Array(2 * ADDRESS_WORDS);
  /** Where the packets are that were looked at, how many, and the first that nothing was asked of yet. */
  private offsets: Int32Array = this.likely;
  private count = 0;
  private next = 0;

  constructor(private readonly flows: FlowTable) {}

  /** Looks at `count` packets, unparsed, at these offsets in `view`. */
  look(view: DataView, offsets: Int32Array, count: number, services: ServiceList): void {
    const { flows, hashes, areReplies, likely } = this;
    this.next = 0;
    this.count = flows.count < FORESIGHT_FROM ? 0 : count;
    if (this.count === 0) return;
    this.offsets = offsets;
    for (let i = 0; i < count; i++) this.lookAt(view, offsets[i], i, services);
    flows.fetch(hashes, areReplies, count, likely);
  }

  /** The record that the packet at `offset` probably has, or -1. To be asked in the order of the batch. */
  recall(offset: number): number {
    const { offsets, count } = this;
    for (let i = this.next; i < count; i++) {
      if (offsets[i] !== offset) continue;
      this.next = i + 1;
      return this.likely[i];
    }
    return -1;
  }

  /** What has extension headers, options or no UDP in it is taken for something else: a look at the wrong place. */
  private lookAt(view: DataView, offset: number, i: number, services: ServiceList): void {
    const { flows, ends } = this;
    const isV6 = view.getUint8(offset) >>> 4 === 6;
    const ports = view.getInt32(offset + (isV6 ? ipv6.HEADER : ipv4.MIN_HEADER));
    if (isV6) {
      readAddress6(view, offset + ipv6.SOURCE, ends, SOURCE);
      readAddress6(view, offset + ipv6.DESTINATION, ends, DESTINATION);
    } else {
      readAddress4(view, offset + ipv4.SOURCE, ends, SOURCE);
      readAddress4(view, offset + ipv4.DESTINATION, ends, DESTINATION);
    }
    const isReply = services.hasAddress(ends, SOURCE);
    this.areReplies[i] = isReply ? 1 : 0;
    this.hashes[i] = isReply
      ? flows.replyHash(ends, SOURCE, DESTINATION, (ports << 16) | (ports >>> 16))
      : flows.flowHash(ends, SOURCE, DESTINATION, ports);
  }
}
