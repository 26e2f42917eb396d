/**
 * A look at a whole batch before its packets are handled one by one: it has the flow table's memory fetched for all of
 * them at once, so that their cache misses overlap.
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
  /** Kept so that nobody finds the loads that it comes from superfluous. */
  protected fetched = 0;

  constructor(private readonly flows: FlowTable) {}

  /** Looks at `count` packets, unparsed, at these offsets in `view`. */
  look(view: DataView, offsets: Int32Array, count: number, services: ServiceList): void {
    const { flows, hashes, areReplies, likely } = this;
    if (flows.count < FORESIGHT_FROM) return;
    for (let i = 0; i < count; i++) this.lookAt(view, offsets[i], i, services);
    for (let i = 0; i < count; i++) likely[i] = flows.likelyRecord(hashes[i], areReplies[i] !== 0);
    let fetched = 0;
    for (let i = 0; i < count; i++) fetched ^= flows.fetch(likely[i]);
    this.fetched = fetched;
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
