/** A device without a kernel, for tests: what is put in comes out of `receive`, and what goes out is kept. */
import { BATCH } from '../../../src/codec/batch.js';
import { Arena, type Device, type PacketList } from '../../../src/io/device.js';

export class MemoryDevice implements Device {
  readonly arena = new Arena();
  readonly clock = new Int32Array(1);
  readonly delivered: Uint8Array[] = [];
  readonly emitted: Uint8Array[] = [];
  /** Refuses everything that goes out, as a host whose network is down does. */
  refusing = false;
  private readonly queue: Uint8Array[] = [];

  constructor() {
    // An unwritten byte shows.
    this.arena.bytes.fill(0xa5);
  }

  put(packet: Uint8Array): void {
    this.queue.push(packet);
  }

  receive(packets: PacketList): void {
    packets.count = 0;
    while (packets.count < BATCH) {
      const packet = this.queue.shift();
      if (packet === undefined) return;
      const offset = this.arena.packetOffset(packets.count);
      this.arena.bytes.set(packet, offset);
      packets.add(offset, packet.length);
    }
  }

  deliver(packets: PacketList): number {
    return this.take(packets, this.delivered);
  }

  emit(packets: PacketList): number {
    return this.take(packets, this.emitted);
  }

  close(): void {
    this.queue.length = 0;
  }

  private take(packets: PacketList, into: Uint8Array[]): number {
    if (this.refusing) return packets.count;
    for (let i = 0; i < packets.count; i++) {
      const offset = packets.offsets[i];
      into.push(this.arena.bytes.slice(offset, offset + packets.lengths[i]));
    }
    return 0;
  }
}
