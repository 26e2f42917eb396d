/**
 * A TUN device and raw sockets as a pipeline's device.
 *
 * The TUN speaks virtio-net headers, with no offload asked for: the kernel completes checksums and cuts
 * super-packets before we see them, so every header that is read says "nothing special", and so does every
 * one that is written.
 */
import * as ipv4 from '../codec/ipv4.js';
import * as ipv6 from '../codec/ipv6.js';
import { Arena, BATCH, type Device, type PacketList } from './device.js';
import { check, native, SystemCallError, WAIT_BROKEN, WAIT_DATA } from './native.js';
import { RawSockets } from './raw.js';

const VIRTIO_HEADER = 12;
const BUSY_RETRIES = 20;
const BUSY_PAUSE_MS = 50;

/**
 * Attaches to the TUN `name`, making it if need be: its descriptor. A predecessor's exit can keep it busy for a
 * moment, so EBUSY is tried again for a second.
 */
export function openTun(name: string): number {
  for (let attempt = 0; ; attempt++) {
    const fd = native.openTun(name);
    if (fd >= 0) return fd;
    const error = new SystemCallError(`open TUN ${name}`, -fd);
    if (error.code !== 'EBUSY' || attempt === BUSY_RETRIES) throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PAUSE_MS);
  }
}

export interface TunDeviceOptions {
  tunFd: number;
  /** An eventfd that ends a wait. */
  wakeFd: number;
  /** SO_MARK of what is emitted. */
  mark: number;
}

export class TunDevice implements Device {
  readonly arena = new Arena();
  readonly clock = new Int32Array(1);
  private readonly raw: RawSockets;
  private readonly slots = new Int32Array(BATCH);

  constructor(private readonly options: TunDeviceOptions) {
    this.raw = new RawSockets(options.mark);
    for (let i = 0; i < BATCH; i++) this.slots[i] = this.arena.packetOffset(i) - VIRTIO_HEADER;
  }

  /** The time now, in ticks. */
  now(): number {
    check('poll', native.wait(-1, -1, 0, this.clock));
    return this.clock[0];
  }

  receive(packets: PacketList, timeoutMs: number): void {
    const { tunFd, wakeFd } = this.options;
    packets.count = 0;
    const ready = check('poll', native.wait(tunFd, wakeFd, timeoutMs, this.clock));
    if ((ready & WAIT_BROKEN) !== 0) throw new Error('the TUN device is gone');
    if ((ready & WAIT_DATA) === 0) return;

    packets.lengths.fill(this.arena.room + VIRTIO_HEADER);
    packets.offsets.set(this.slots);
    packets.count = check(
      'read TUN',
      native.readBatch(tunFd, this.arena.bytes, packets.offsets, packets.lengths, BATCH),
    );
    for (let i = 0; i < packets.count; i++) {
      packets.offsets[i] += VIRTIO_HEADER;
      packets.lengths[i] -= VIRTIO_HEADER;
    }
  }

  deliver(packets: PacketList): number {
    const { bytes } = this.arena;
    for (let i = 0; i < packets.count; i++) {
      giveHopBack(bytes, packets.offsets[i]);
      packets.offsets[i] -= VIRTIO_HEADER;
      packets.lengths[i] += VIRTIO_HEADER;
      bytes.fill(0, packets.offsets[i], packets.offsets[i] + VIRTIO_HEADER);
    }
    return native.writeBatch(this.options.tunFd, bytes, packets.offsets, packets.lengths, packets.count);
  }

  emit(packets: PacketList): number {
    return this.raw.send(this.arena.bytes, packets);
  }

  close(): void {
    this.raw.close();
  }
}

/**
 * Adds one to the hops of the packet at `offset`: forwarding it to the TUN took one off, so there is room. IPv4's TTL is
 * the high byte of its word, and a header checksum is never 0xffff (RFC 1624, 3).
 */
function giveHopBack(bytes: Uint8Array, offset: number): void {
  if (bytes[offset] >>> 4 === 6) {
    bytes[offset + ipv6.HOP_LIMIT]++;
    return;
  }
  bytes[offset + ipv4.TTL]++;
  const at = offset + ipv4.CHECKSUM;
  const checksum = ((bytes[at] << 8) | bytes[at + 1]) - 0x0100;
  const folded = checksum < 0 ? checksum + 0xffff : checksum;
  bytes[at] = folded >>> 8;
  bytes[at + 1] = folded & 0xff;
}
