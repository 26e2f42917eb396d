/** Sends packets to where only whole datagrams are taken: cuts super-packets, and completes checksums. */
import { Checksum, type Packet } from '../codec/packet.js';
import type { ByteOffset } from '../codec/units.js';
import type { Arena } from './arena.js';
import { completeChecksum, datagramCount, datagramLength, writeDatagram } from './cut.js';
import { MAX_BATCH } from './linux.js';
import { type PacketList, PieceList } from './lists.js';

/** Sends datagrams that are complete; how many were refused. */
export type Send = (datagrams: PieceList) => number;

export class Finisher {
  private readonly datagrams = new PieceList(MAX_BATCH);
  /** Where the next datagram of a super-packet is written. */
  private scratch: ByteOffset;

  /** Each datagram has `headerLength` zero bytes in front: an empty virtio header, or none. */
  constructor(
    private readonly arena: Arena,
    private readonly headerLength: number,
    private readonly send: Send,
  ) {
    this.scratch = arena.scratch;
  }

  /** Sends all of `packets` in their order; how many datagrams were refused. */
  finish({ items, count }: PacketList): number {
    let refused = 0;
    for (let i = 0; i < count; i++) {
      const packet = items[i];
      if (packet.segment > 0) refused += this.cut(packet);
      else {
        const { view, v6, start, udp, end, checksum } = packet;
        if (checksum === Checksum.partial) completeChecksum(view, v6, start, udp, end);
        refused += this.add(start, end - start);
      }
    }
    return refused + this.flush();
  }

  private cut(packet: Packet): number {
    const { arena, headerLength } = this;
    const count = datagramCount(packet);
    let refused = 0;
    for (let i = 0; i < count; i++) {
      if (this.scratch + headerLength + datagramLength(packet, i) > arena.buffer.byteLength)
        refused += this.flush();
      const start = this.scratch + headerLength;
      const length = writeDatagram(packet, i, start);
      this.scratch = (start + length + 3) & ~3;
      refused += this.add(start, length);
    }
    return refused;
  }

  private add(start: ByteOffset, length: number): number {
    const { headerLength, datagrams } = this;
    this.arena.bytes.fill(0, start - headerLength, start);
    datagrams.add(start - headerLength, length + headerLength);
    return datagrams.count === datagrams.capacity ? this.flush() : 0;
  }

  private flush(): number {
    const refused = this.datagrams.count === 0 ? 0 : this.send(this.datagrams);
    this.datagrams.count = 0;
    this.scratch = this.arena.scratch;
    return refused;
  }
}
