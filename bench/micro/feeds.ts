/** Devices without a kernel: packets of many flows come in a random order, and what goes out is discarded. */
import { BATCH } from '#shim/codec/batch.js';
import { applyChange, applyUdpChange, longChange } from '#shim/codec/checksum.js';
import * as ipv4 from '#shim/codec/ipv4.js';
import * as ipv6 from '#shim/codec/ipv6.js';
import type { Packet } from '#shim/codec/packet.js';
import * as udp from '#shim/codec/udp.js';
import { Arena } from '#shim/io/arena.js';
import type { Device } from '#shim/io/device.js';
import { type Ends, type Family, makePacket, makePacket6 } from './packets.js';

/** At 320,000 packets a second, a tick (1 ms) passes every so many batches. */
const BATCHES_PER_TICK = 20;
/** Offsets of the UDP header and of the addresses' last words. The words before those are the same for all flows. */
const OFFSETS = {
  4: { udp: ipv4.MIN_HEADER, source: ipv4.SOURCE, destination: ipv4.DESTINATION },
  6: { udp: ipv6.HEADER, source: ipv6.SOURCE + 12, destination: ipv6.DESTINATION + 12 },
} as const;
/** Packets made at a time. So many fit into a cache. */
const PREPARED = 4096;

abstract class Feed implements Device {
  readonly arena = new Arena();
  readonly clock = new Int32Array(1);
  private batches = 0;
  protected next = 0;

  /** Puts the next batch into the arena, and returns the number of its packets. */
  abstract lay(): number;

  protected abstract lengthOf(i: number): number;

  receive(packets: readonly Packet[]): number {
    const count = this.lay();
    for (let i = 0; i < count; i++) {
      const offset = this.arena.packetOffset(i);
      packets[i].parse(offset, offset + this.lengthOf(i));
    }
    return count;
  }

  protected passTime(): void {
    if (++this.batches % BATCHES_PER_TICK === 0) this.clock[0]++;
  }

  deliver(): number {
    return 0;
  }

  emit(): number {
    return 0;
  }

  emitAdded(): number {
    return 0;
  }

  close(): void {}
}

/**
 * Packets without a mark, at the place of the ones before. Only what the role changed in those is written again: an
 * address, a port, the checksums. So making a packet costs little. Marks would move headers, so there are none.
 */
export class PlainFeed extends Feed {
  private readonly template: DataView;
  private readonly length: number;
  private readonly headerChecksums: Uint16Array;
  private readonly udpChecksums: Uint16Array;
  private readonly isV4: boolean;
  private readonly udpOffset: number;
  private readonly addressOffset: number;
  private readonly portOffset: number;
  private readonly first: number;

  /** `side` is the end that differs from flow to flow, and that the role replaces. */
  constructor(
    private readonly order: Uint32Array,
    ends: (flow: number) => Ends,
    side: 'source' | 'destination',
    payloadBytes: number,
    family: Family,
  ) {
    super();
    this.isV4 = family === 4;
    const template = this.isV4 ? makePacket(ends(0), payloadBytes) : makePacket6(ends(0), payloadBytes);
    this.template = new DataView(template.buffer);
    this.length = template.length;
    this.first = ends(0)[side];
    this.udpOffset = OFFSETS[family].udp;
    this.addressOffset = OFFSETS[family][side];
    this.portOffset = this.udpOffset + (side === 'source' ? udp.SOURCE_PORT : udp.DESTINATION_PORT);
    this.headerChecksums = new Uint16Array(order.length);
    this.udpChecksums = new Uint16Array(order.length);
    for (let i = 0; i < order.length; i++) this.writeChecksums(i);
    for (let i = 0; i < BATCH; i++) this.arena.bytes.set(template, this.arena.packetOffset(i));
  }

  private writeChecksums(i: number): void {
    const { template } = this;
    const change = longChange(this.first, this.first + this.order[i]);
    this.headerChecksums[i] = applyChange(template.getUint16(ipv4.CHECKSUM), change);
    this.udpChecksums[i] = applyUdpChange(template.getUint16(this.udpOffset + udp.CHECKSUM), change);
  }

  protected lengthOf(): number {
    return this.length;
  }

  lay(): number {
    const { arena, order, addressOffset, portOffset, headerChecksums, udpChecksums, first } = this;
    const { isV4, udpOffset } = this;
    const { view } = arena;
    const port = this.template.getUint16(portOffset);
    for (let i = 0; i < BATCH; i++) {
      const k = this.next;
      const offset = arena.packetOffset(i);
      view.setInt32(offset + addressOffset, first + order[k]);
      if (isV4) view.setUint16(offset + ipv4.CHECKSUM, headerChecksums[k]);
      view.setUint16(offset + portOffset, port);
      view.setUint16(offset + udpOffset + udp.CHECKSUM, udpChecksums[k]);
      this.next = k + 1 === order.length ? 0 : k + 1;
    }
    this.passTime();
    return BATCH;
  }
}

/** Packets that are made beforehand, some at a time, and copied into the arena. */
export class CopyFeed extends Feed {
  private packets: Uint8Array[] = [];
  private made = 0;
  /** How many of the packets before `next` are in the arena. */
  private laid = 0;

  constructor(
    private readonly count: number,
    private readonly make: (i: number) => Uint8Array,
  ) {
    super();
  }

  /** Makes some packets. False if all were made already. */
  prepare(): boolean {
    const some = Math.min(PREPARED, this.count - this.made);
    this.packets = Array.from({ length: some }, (_, i) => this.make(this.made + i));
    this.made += some;
    this.next = 0;
    return some > 0;
  }

  /** At most a batch of the prepared packets. */
  lay(): number {
    const { arena, packets, next } = this;
    const count = Math.min(BATCH, packets.length - next);
    for (let i = 0; i < count; i++) arena.bytes.set(packets[next + i], arena.packetOffset(i));
    this.next = next + count;
    this.laid = count;
    this.passTime();
    return count;
  }

  protected lengthOf(i: number): number {
    return this.packets[this.next - this.laid + i].length;
  }
}
