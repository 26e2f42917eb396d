/** Lists that are made once and filled batch after batch. */
import type { Packet } from '../codec/packet.js';
import type { ByteOffset } from '../codec/units.js';

/** Packets on their way out, the first `count` of `items`. */
export class PacketList {
  readonly items: Packet[] = [];
  count = 0;

  add(packet: Packet): void {
    this.items[this.count++] = packet;
  }
}

/** Pieces of a buffer as the addon's batch calls take them (native.ts), the first `count` of each array. */
export class PieceList {
  readonly offsets: Int32Array;
  /** In bytes. */
  readonly lengths: Int32Array;
  /** What the call said of each piece. */
  readonly results: Int32Array;
  count = 0;

  constructor(readonly capacity: number) {
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.results = new Int32Array(capacity);
  }

  add(offset: ByteOffset, length: number): void {
    const i = this.count++;
    this.offsets[i] = offset;
    this.lengths[i] = length;
  }
}
