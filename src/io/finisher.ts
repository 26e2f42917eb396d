/** Sends packets that something is left to be done to, to where nobody does it: as whole datagrams. */
import { Checksum } from '../codec/packet.js';
import { Cutter, completeChecksum } from './cut.js';
import { type Arena, PacketList } from './device.js';

/** Packets in one go: what a batch of the addon's holds. */
const CAPACITY = 64;

/** Sends packets that are all there; how many were refused. */
export type Send = (packets: PacketList) => number;

export class Finisher {
  private readonly view: DataView;
  private readonly cutter: Cutter;
  private readonly list = new PacketList(CAPACITY);
  private scratch: number;

  /** `room` is how many bytes in front of each datagram have to be free, and zero. */
  constructor(
    private readonly arena: Arena,
    private readonly room: number,
    private readonly send: Send,
  ) {
    this.view = new DataView(arena.buffer);
    this.cutter = new Cutter(arena.bytes, this.view);
    this.scratch = arena.scratch;
  }

  /** Sends all of `packets` in their order; how many datagrams were refused. */
  finish(packets: PacketList): number {
    let refused = 0;
    for (let i = 0; i < packets.count; i++) {
      if (packets.segments[i] > 0) refused += this.cut(packets, i);
      else {
        const start = packets.offsets[i];
        const end = start + packets.lengths[i];
        if (packets.checksums[i] === Checksum.partial)
          completeChecksum(this.view, start, start + packets.transports[i], end);
        refused += this.add(start, end - start);
      }
    }
    return refused + this.flush();
  }

  private cut(packets: PacketList, i: number): number {
    const { cutter, arena, room } = this;
    let refused = 0;
    cutter.begin(packets.offsets[i], packets.lengths[i], packets.transports[i], packets.segments[i]);
    while (cutter.left > 0) {
      if (this.scratch + room + cutter.nextLength > arena.buffer.byteLength) refused += this.flush();
      const start = this.scratch + room;
      const length = cutter.next(start);
      this.scratch = (start + length + 3) & ~3;
      refused += this.add(start, length);
    }
    return refused;
  }

  private add(start: number, length: number): number {
    const { room, list } = this;
    this.arena.bytes.fill(0, start - room, start);
    list.add(start - room, length + room);
    return list.count === CAPACITY ? this.flush() : 0;
  }

  private flush(): number {
    const refused = this.list.count === 0 ? 0 : this.send(this.list);
    this.list.count = 0;
    this.scratch = this.arena.scratch;
    return refused;
  }
}
