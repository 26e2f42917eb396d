/**
 * A look at a whole batch before its packets are handled one by one: it has the flow table's memory fetched for all of
 * them at once, so that their cache misses overlap, and notes with each which record it probably has.
 */
import { DESTINATION, Kind, type Packet, SOURCE } from '../codec/packet.js';
import type { FlowTable } from '../flow/table.js';
import type { ServiceList } from './services.js';

/** Fewer flows than these are in the cache anyway. */
const FORESIGHT_FROM = 20_000;
const LARGEST_BATCH = 64;

export class Foresight {
  private readonly hashes = new Int32Array(LARGEST_BATCH);
  private readonly areReplies = new Uint8Array(LARGEST_BATCH);
  private readonly likely = new Int32Array(LARGEST_BATCH);

  constructor(private readonly flows: FlowTable) {}

  /** Looks at the first `count` packets, LARGEST_BATCH at most; `hint` then is a flow's record, or -1. */
  look(packets: readonly Packet[], count: number, services: ServiceList): void {
    const { flows, hashes, areReplies, likely } = this;
    if (flows.count < FORESIGHT_FROM) return;
    for (let i = 0; i < count; i++) {
      const { addresses, udp, view } = packets[i];
      // Of what is no UDP there is no flow, and the ports are those of an earlier packet: a look at the wrong place.
      const ports = view.getInt32(udp);
      const isReply = services.hasAddress(addresses, SOURCE);
      areReplies[i] = isReply ? 1 : 0;
      hashes[i] = isReply
        ? flows.replyHash(addresses, SOURCE, DESTINATION, (ports << 16) | (ports >>> 16))
        : flows.flowHash(addresses, SOURCE, DESTINATION, ports);
    }
    flows.fetch(hashes, areReplies, count, likely);
    for (let i = 0; i < count; i++) packets[i].hint = packets[i].kind === Kind.udp ? likely[i] : -1;
  }
}
