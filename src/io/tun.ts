/**
 * A TUN device and raw sockets as a pipeline's device.
 *
 * The TUN speaks virtio-net headers. With offloads, what comes from it may be a super-packet of many datagrams, or
 * lack its checksum; it goes back to the stack as it is, and is finished by us where it leaves by a raw socket, which
 * does not do that. Neighbours of one flow on their way into the stack are merged.
 */
import { constants } from 'node:os';
import { VIRTIO_HEADER } from '../codec/virtio.js';
import { Arena, BATCH, type Device, type PacketList } from './device.js';
import { Finisher } from './finisher.js';
import { TUN_F_CSUM, TUN_F_USO4, TUN_F_USO6, WAIT_BROKEN, WAIT_DATA } from './linux.js';
import { Merger } from './merge.js';
import { Moderation } from './moderation.js';
import { check, type Native, SystemCallError } from './native.js';
import { putHeader, takeHeader } from './offload.js';
import { RawSockets } from './raw.js';

const BUSY_RETRIES = 20;
const BUSY_PAUSE_MS = 50;

/** Nanoseconds; the default of 50 µs is as long as what is slept for. */
const TIMER_SLACK = 1000;

/**
 * Attaches to the TUN `name`, making it if need be: its descriptor. A predecessor's exit can keep it busy for a
 * moment, so EBUSY is tried again for a second.
 */
export function openTun(native: Native, name: string): number {
  for (let attempt = 0; ; attempt++) {
    const fd = native.openTun(name);
    if (fd >= 0) return fd;
    const error = new SystemCallError(`open TUN ${name}`, -fd);
    if (error.code !== 'EBUSY' || attempt === BUSY_RETRIES) throw error;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BUSY_PAUSE_MS);
  }
}

/**
 * Lets the TUN bring super-packets and leave checksums to us, or not; false if this kernel can't (before Linux 6.2).
 * All of it or nothing: the kernel takes USO only with checksums, and IPv4 only with IPv6.
 */
export function offloadTun(native: Native, fd: number, wanted: boolean): boolean {
  return native.setTunOffload(fd, wanted ? TUN_F_CSUM | TUN_F_USO4 | TUN_F_USO6 : 0) >= 0;
}

export interface TunDeviceOptions {
  tunFd: number;
  /** An eventfd that ends a wait. */
  wakeFd: number;
  /** SO_MARK of what is emitted. */
  mark: number;
  /** Whether neighbours of one flow become one write. */
  merges: boolean;
  /** Microseconds that a packet may wait for company; 0: none does. */
  coalesce: number;
}

export class TunDevice implements Device {
  readonly arena = new Arena();
  readonly clock = new Int32Array(1);
  private readonly view = new DataView(this.arena.buffer);
  private readonly raw: RawSockets;
  private readonly toNetwork: Finisher;
  private readonly toStack: Finisher;
  private readonly merger = new Merger(this.arena);
  private readonly moderation: Moderation;
  /** Where packets are read to, header and all, and how many bytes they may have. */
  private readonly slots = new Int32Array(BATCH);
  private readonly sizes = new Int32Array(BATCH);
  /** The kernel refused a super-packet once: from then on it gets datagrams. */
  private wantsDatagrams = false;

  constructor(
    private readonly native: Native,
    private readonly options: TunDeviceOptions,
  ) {
    this.raw = new RawSockets(native, options.mark);
    this.moderation = new Moderation(options.coalesce);
    // Where that is refused, pauses are longer, and nothing else.
    if (options.coalesce > 0) native.setTimerSlack(TIMER_SLACK);
    this.toNetwork = new Finisher(this.arena, 0, packets => this.raw.send(this.arena.bytes, packets));
    this.toStack = new Finisher(this.arena, VIRTIO_HEADER, packets => this.write(packets));
    for (let i = 0; i < BATCH; i++) this.slots[i] = this.arena.packetOffset(i) - VIRTIO_HEADER;
    this.sizes.fill(this.arena.room + VIRTIO_HEADER);
  }

  /** The time now, in ticks. */
  now(): number {
    this.clock[0] = this.native.clock();
    return this.clock[0];
  }

  receive(packets: PacketList, timeoutMs: number): void {
    const { tunFd, wakeFd } = this.options;
    packets.count = 0;
    this.rest(timeoutMs);
    const ready = check('poll', this.native.wait(tunFd, wakeFd, timeoutMs));
    this.clock[0] = this.native.clock();
    if ((ready & WAIT_BROKEN) !== 0) throw new Error('the TUN device is gone');
    if ((ready & WAIT_DATA) !== 0) this.read(packets);
    this.moderation.note(packets.count, this.clock[0]);
  }

  /** Lets company for the next packet come, unless somebody has something else to do meanwhile. */
  private rest(timeoutMs: number): void {
    const { pause } = this.moderation;
    if (pause > 0 && timeoutMs > 0) this.native.sleep(pause);
  }

  private read(packets: PacketList): void {
    const { slots, sizes, arena } = this;
    const read = this.native.readBatch(this.options.tunFd, arena.bytes, slots, sizes, packets.lengths, BATCH);
    packets.count = check('read TUN', read);
    packets.offsets.set(slots);
    for (let i = 0; i < packets.count; i++) takeHeader(this.view, packets, i);
  }

  deliver(packets: PacketList): number {
    if (this.wantsDatagrams) return this.toStack.finish(packets);
    if (this.options.merges) this.merger.merge(packets);
    for (let i = 0; i < packets.count; i++) putHeader(this.view, packets, i);
    const refused = this.write(packets);
    return refused === 0 ? 0 : this.deliverRefused(packets, refused);
  }

  /** Super-packets that the kernel did not take are cut, now and from now on. */
  private deliverRefused(packets: PacketList, refused: number): number {
    let left = 0;
    for (let i = 0; i < packets.count; i++) {
      if (packets.segments[i] === 0 || packets.results[i] !== -constants.errno.EINVAL) continue;
      packets.lengths[i] -= VIRTIO_HEADER;
      packets.offsets[i] += VIRTIO_HEADER;
      packets.move(i, left++);
    }
    if (left === 0) return refused;
    this.wantsDatagrams = true;
    packets.count = left;
    return refused - left + this.toStack.finish(packets);
  }

  private write({ offsets, lengths, results, count }: PacketList): number {
    return this.native.writeBatch(this.options.tunFd, this.arena.bytes, offsets, lengths, results, count);
  }

  emit(packets: PacketList): number {
    return this.toNetwork.finish(packets);
  }

  close(): void {
    this.raw.close();
  }
}
