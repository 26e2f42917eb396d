/**
 * A TUN and raw sockets as a pipeline's device.
 *
 * Each packet of the TUN has a virtio-net header. With offloads, a packet that comes from the TUN may be a super-packet
 * of many datagrams, or lack its checksum. The stack takes such a packet back as it is. A raw socket does not, so it is
 * finished before (finisher.ts). Neighbours of one flow that go to the stack are merged (merge.ts).
 */
import { constants } from 'node:os';
import { BATCH } from '../codec/batch.js';
import { MAX_PACKET } from '../codec/ip-header.js';
import type { Packet } from '../codec/packet.js';
import type { Ticks } from '../codec/units.js';
import { VIRTIO_HEADER } from '../codec/virtio.js';
import { Arena } from './arena.js';
import type { Device } from './device.js';
import { Finisher } from './finisher.js';
import { checkBatch, checkTunHeader } from './limits.js';
import { WAIT_BROKEN, WAIT_DATA } from './linux.js';
import { type PacketList, PieceList } from './lists.js';
import { Merger } from './merge.js';
import { Moderation } from './moderation.js';
import { check, type Native } from './native.js';
import { parseWithHeader, writeHeader } from './offload.js';
import { RawSockets } from './raw.js';

/** How late a pause may end. Linux's default is 50 us, as long as the longest pause. */
const TIMER_SLACK_NS = 1000;

export interface TunDeviceOptions {
  tunFd: number;
  /** An eventfd that ends a wait. */
  wakeFd: number;
  /** SO_MARK of what is emitted. */
  fwmark: number;
  /** Whether neighbours of one flow are merged on their way to the stack. */
  merges: boolean;
  /** How long a packet may wait under load for others to be merged with, in microseconds. 0: not at all. */
  coalesceUs: number;
}

export class TunDevice implements Device {
  readonly arena = new Arena();
  readonly clock = new Int32Array(1);
  private readonly raw: RawSockets;
  private readonly toNetwork: Finisher;
  private readonly toStack: Finisher;
  private readonly merger = new Merger(this.arena);
  private readonly moderation: Moderation;
  /** Where packets are read to, and how many bytes each may have; headers included. */
  private readonly slots = new PieceList(BATCH);
  /** The last packets that were written, headers included. */
  private readonly written = new PieceList(BATCH);
  /** Set once the kernel has refused a super-packet: from then on it gets datagrams. */
  private wantsDatagrams = false;

  /** The TUN's descriptor stays the caller's. Throws a SystemCallError, or an Error if the addon's limits do not fit. */
  constructor(
    private readonly native: Native,
    private readonly options: TunDeviceOptions,
  ) {
    checkTunHeader();
    checkBatch(BATCH);
    this.raw = new RawSockets(native, options.fwmark);
    this.moderation = new Moderation(options.coalesceUs);
    // If that fails, pauses are longer and nothing else changes.
    if (options.coalesceUs > 0) native.setTimerSlack(TIMER_SLACK_NS);
    this.toNetwork = new Finisher(this.arena, 0, datagrams => this.emitAdded(datagrams));
    this.toStack = new Finisher(this.arena, VIRTIO_HEADER, datagrams => this.write(datagrams));
    for (let i = 0; i < BATCH; i++)
      this.slots.add(this.arena.packetOffset(i) - VIRTIO_HEADER, VIRTIO_HEADER + MAX_PACKET);
  }

  /** The time now, in ticks. */
  now(): Ticks {
    this.clock[0] = this.native.clock();
    return this.clock[0];
  }

  receive(packets: readonly Packet[], timeoutMs: number): number {
    const { tunFd, wakeFd } = this.options;
    this.pause(timeoutMs);
    const ready = check('poll', this.native.wait(tunFd, wakeFd, timeoutMs));
    this.clock[0] = this.native.clock();
    if ((ready & WAIT_BROKEN) !== 0) throw new Error('the TUN device is gone');
    const count = (ready & WAIT_DATA) === 0 ? 0 : this.read(packets);
    this.moderation.note(count, this.clock[0]);
    return count;
  }

  /** Lets more packets come, unless the role has work to do meanwhile (`timeoutMs` is 0). */
  private pause(timeoutMs: number): void {
    const { pauseUs } = this.moderation;
    if (pauseUs > 0 && timeoutMs > 0) this.native.sleep(pauseUs);
  }

  private read(packets: readonly Packet[]): number {
    const { offsets, lengths, results } = this.slots;
    const { tunFd } = this.options;
    const read = this.native.readBatch(tunFd, this.arena.bytes, offsets, lengths, results, BATCH);
    const count = check('read TUN', read);
    for (let i = 0; i < count; i++) parseWithHeader(packets[i], offsets[i], results[i]);
    return count;
  }

  deliver(packets: PacketList): number {
    if (this.wantsDatagrams) return this.toStack.finish(packets);
    if (this.options.merges) this.merger.merge(packets);
    const { items, count } = packets;
    const { written } = this;
    written.count = 0;
    for (let i = 0; i < count; i++) {
      const start = writeHeader(items[i]);
      written.add(start, items[i].end - start);
    }
    const refused = this.write(written);
    return refused === 0 ? 0 : this.deliverRefused(packets, refused);
  }

  /** Cuts the super-packets that the kernel did not take, and all from now on. */
  private deliverRefused(packets: PacketList, refused: number): number {
    const { items, count } = packets;
    packets.count = 0;
    for (let i = 0; i < count; i++)
      if (items[i].segment > 0 && this.written.results[i] === -constants.errno.EINVAL) packets.add(items[i]);
    if (packets.count === 0) return refused;
    this.wantsDatagrams = true;
    return refused - packets.count + this.toStack.finish(packets);
  }

  private write({ offsets, lengths, results, count }: PieceList): number {
    return this.native.writeBatch(this.options.tunFd, this.arena.bytes, offsets, lengths, results, count);
  }

  emit(packets: PacketList): number {
    return this.toNetwork.finish(packets);
  }

  emitAdded(packets: PieceList): number {
    return this.raw.send(this.arena.bytes, packets);
  }

  close(): void {
    this.raw.close();
  }
}
