/** A device without a kernel, for tests: what is put in comes out of `receive`, and what goes out is kept. */
import { BATCH } from '../../../src/codec/batch.js';
import { Checksum, type Packet } from '../../../src/codec/packet.js';
import { Arena } from '../../../src/io/arena.js';
import type { Device } from '../../../src/io/device.js';
import type { PacketList, PieceList } from '../../../src/io/lists.js';
import { datagramsOf, type Unfinished } from './super-packets.js';

export class MemoryDevice implements Device {
  readonly arena = new Arena();
  readonly clock = new Int32Array(1);
  /** What went out, as datagrams: what is left to be done to a packet is done, as by the kernel. */
  readonly delivered: Uint8Array[] = [];
  readonly emitted: Uint8Array[] = [];
  /** Refuses everything that goes out, as a host whose network is down does. */
  refusing = false;
  private readonly queue: Unfinished[] = [];

  constructor() {
    // An unwritten byte shows.
    this.arena.bytes.fill(0xa5);
  }

  put(bytes: Uint8Array, checksum: Checksum = Checksum.full, segment = 0): void {
    this.queue.push({ bytes, checksum, segment });
  }

  receive(packets: readonly Packet[]): number {
    const batch = this.queue.splice(0, BATCH);
    batch.forEach(({ bytes, checksum, segment }, i) => {
      const start = this.arena.packetOffset(i);
      this.arena.bytes.set(bytes, start);
      packets[i].parse(start, start + bytes.length, checksum, segment);
    });
    return batch.length;
  }

  deliver(packets: PacketList): number {
    if (this.refusing) return packets.count;
    this.delivered.push(...this.datagrams(packets));
    return 0;
  }

  emit(packets: PacketList): number {
    const datagrams = this.datagrams(packets);
    if (this.refusing) return datagrams.length;
    this.emitted.push(...datagrams);
    return 0;
  }

  emitAdded({ offsets, lengths, count }: PieceList): number {
    if (this.refusing) return count;
    for (let i = 0; i < count; i++)
      this.emitted.push(this.arena.bytes.slice(offsets[i], offsets[i] + lengths[i]));
    return 0;
  }

  close(): void {
    this.queue.length = 0;
  }

  private datagrams({ items, count }: PacketList): Uint8Array[] {
    return items.slice(0, count).flatMap(({ start, end, checksum, segment }) => {
      const bytes = this.arena.bytes.slice(start, end);
      return datagramsOf({ bytes, checksum, segment });
    });
  }
}
