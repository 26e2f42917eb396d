/**
 * The memory of one batch, and how much of it each packet has. Sizes are derived from what the carriers and the
 * translation between families need (codec/carriers.ts, codec/translate.ts).
 */
import { BATCH } from '../codec/batch.js';
import { MAX_GROWTH, MAX_STANDALONE } from '../codec/carriers.js';
import { MAX_PACKET } from '../codec/ip-header.js';
import { GROWTH } from '../codec/translate.js';
import type { ByteOffset } from '../codec/units.js';
import { VIRTIO_HEADER } from '../codec/virtio.js';

const CACHE_LINE = 64;

/** In whole cache lines, so that packets begin on one. */
function inLines(bytes: number): number {
  return Math.ceil(bytes / CACHE_LINE) * CACHE_LINE;
}

/** Bytes free in front of every packet: for its virtio header, and for a mark or what another family's header has more. */
export const HEADROOM = inLines(VIRTIO_HEADER + Math.max(MAX_GROWTH, GROWTH));

/** An odd number of cache lines, so that packets don't all fall into the same set of the cache. */
const SLOT = inLines(HEADROOM + MAX_PACKET) | CACHE_LINE;

/** For a packet of the role's own beside each packet. */
const STANDALONE_SLOT = inLines(MAX_STANDALONE);

/** For a super-packet that is cut into datagrams: each has headers of its own. */
const SCRATCH = 2 * MAX_PACKET;

/** BATCH slots with headroom, a small one beside each for the role's own packet, and one to cut a super-packet in. */
export class Arena {
  readonly buffer = new ArrayBuffer(BATCH * (SLOT + STANDALONE_SLOT) + SCRATCH);
  readonly bytes = new Uint8Array(this.buffer);
  readonly view = new DataView(this.buffer);

  /** Where the packet in slot `i` begins. */
  packetOffset(i: number): ByteOffset {
    return i * SLOT + HEADROOM;
  }

  /** Where the memory of the packet at `offset` ends. */
  slotEnd(offset: ByteOffset): ByteOffset {
    return (Math.floor(offset / SLOT) + 1) * SLOT;
  }

  /** Where the role's own packet beside slot `i` begins. */
  extraOffset(i: number): ByteOffset {
    return BATCH * SLOT + i * STANDALONE_SLOT;
  }

  /** Where datagrams may be written that a super-packet is cut into: up to the end of the buffer. */
  readonly scratch: ByteOffset = BATCH * (SLOT + STANDALONE_SLOT);
}
