/**
 * What joins a pipeline to the world: packets come in batches from the host's stack and go out by either of two
 * ways. All packets of a batch live in one arena, which the device makes and the pipeline works in.
 */

/** Packets in an arena: offsets and lengths in bytes, `count` of them valid. */
export class PacketList {
  readonly offsets: Int32Array;
  readonly lengths: Int32Array;
  count = 0;

  constructor(readonly capacity: number) {
    this.offsets = new Int32Array(capacity);
    this.lengths = new Int32Array(capacity);
  }

  add(offset: number, length: number): void {
    this.offsets[this.count] = offset;
    this.lengths[this.count] = length;
    this.count++;
  }
}

/** Packets of a batch at most: more gains nothing (measured), and keeps the batch inside the second-level cache. */
export const BATCH = 16;

/** Room in front of every packet, in bytes: a virtio header, a mark, and the packet still on a cache line. */
export const HEADROOM = 128;

const LARGEST_PACKET = 65535;
/** Odd number of cache lines per slot, so that packets don't all fall into the same set of the cache. */
const SLOT = HEADROOM + LARGEST_PACKET + 1 + 64;
/** Room for a packet of the role's own beside each packet. */
const EXTRA_SLOT = 128;

/** The memory of one batch: BATCH slots with headroom, and a small one beside each for the role's own packet. */
export class Arena {
  readonly buffer = new ArrayBuffer(BATCH * (SLOT + EXTRA_SLOT));
  readonly bytes = new Uint8Array(this.buffer);

  /** Where the packet in slot `i` begins. */
  packetOffset(i: number): number {
    return i * SLOT + HEADROOM;
  }

  /** Where the role's own packet beside slot `i` begins. */
  extraOffset(i: number): number {
    return BATCH * SLOT + i * EXTRA_SLOT;
  }

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
