/**
 * What joins a pipeline to the world: packets come in batches from the host's stack and go out by either of two
 * ways. All packets of a batch live in one arena, which the device makes and the pipeline works in.
 */

import { BATCH } from '../codec/batch.js';
import { Checksum, type Packet } from '../codec/packet.js';

export { BATCH };

/** Packets in an arena, `count` of them valid. */
export class PacketList {
  /** In bytes. */
  readonly offsets: Int32Array;
  readonly lengths: Int32Array;
  /** What a batch call of the addon says of each (native.ts). */
  readonly results: Int32Array;
  /** Of each packet's UDP header from its start, in bytes; of no meaning where `checksums` is `full`. */
  readonly transports: Int32Array;
  readonly checksums: Uint8Array;
  /** Of super-packets, bytes of payload per datagram; else 0. */
  readonly segments: Int32Array;
  count = 0;

  constructor(readonly capacity: number) {
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
    this.results = new Int32Array(capacity);
    this.transports = new Int32Array(capacity);
    this.checksums = new Uint8Array(capacity);
    this.segments = new Int32Array(capacity);
  }

  /** Adds a packet that is all there: nothing is left to be done to it. */
  add(offset: number, length: number): void {
    const i = this.count++;
    this.offsets[i] = offset;
    this.lengths[i] = length;
    this.checksums[i] = Checksum.full;
    this.segments[i] = 0;
  }

  /** Overwrites the packet at `to` by the one at `from`. */
  move(from: number, to: number): void {
    this.offsets[to] = this.offsets[from];
    this.lengths[to] = this.lengths[from];
    this.transports[to] = this.transports[from];
    this.checksums[to] = this.checksums[from];
    this.segments[to] = this.segments[from];
  }

  addPacket(packet: Packet): void {
    const i = this.count++;
    this.offsets[i] = packet.start;
    this.lengths[i] = packet.end - packet.start;
    this.transports[i] = packet.udp - packet.start;
    this.checksums[i] = packet.checksum;
    this.segments[i] = packet.segment;
  }
}

/** Room in front of every packet, in bytes: a virtio header, a mark, and the packet still on a cache line. */
export const HEADROOM = 128;

const LARGEST_PACKET = 65535;
/** Odd number of cache lines per slot, so that packets don't all fall into the same set of the cache. */
const SLOT = HEADROOM + LARGEST_PACKET + 1 + 64;
/** Room for a packet of the role's own beside each packet. */
const EXTRA_SLOT = 128;

/** A super-packet cut into datagrams: each has headers of its own. */
const SCRATCH = 2 * LARGEST_PACKET;

/**
 * The memory of one batch: BATCH slots with headroom, a small one beside each for the role's own packet, and one in
 * which a super-packet is cut.
 */
export class Arena {
  readonly buffer = new ArrayBuffer(BATCH * (SLOT + EXTRA_SLOT) + SCRATCH);
  readonly bytes = new Uint8Array(this.buffer);

  /** Where the packet in slot `i` begins. */
  packetOffset(i: number): number {
    return i * SLOT + HEADROOM;
  }

  /** Where the memory of the packet at `offset` ends. */
  slotEnd(offset: number): number {
    return (Math.floor(offset / SLOT) + 1) * SLOT;
  }

  /** Where the role's own packet beside slot `i` begins. */
  extraOffset(i: number): number {
    return BATCH * SLOT + i * EXTRA_SLOT;
  }

  /** Where datagrams may be written that a super-packet is cut into: up to the end of the buffer. */
  readonly scratch = BATCH * (SLOT + EXTRA_SLOT);

  /** Bytes a packet may have. */
  readonly room = LARGEST_PACKET;
}

export interface Device {
  readonly arena: Arena;
  /** The time of the last `receive`: ticks (monotonic milliseconds, low 32 bits) in element 0. */
  readonly clock: Int32Array;
  /**
   * Waits up to `timeoutMs` for packets or a wake-up, and lists up to BATCH of them in `packets`. The list is
   * empty after a wake-up or the time-out. Throws when the device is gone.
   */
  receive(packets: PacketList, timeoutMs: number): void;
  /** Gives packets to the host's stack as if the network had brought them; how many were refused. */
  deliver(packets: PacketList): number;
  /** Sends packets to the network; how many were refused. */
  emit(packets: PacketList): number;
  /** Safe to call twice. */
  close(): void;
}
