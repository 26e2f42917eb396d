/**
 * Joins a device and a role: a batch comes in, each packet gets its verdict, and what is to go out goes out, in
 * the order it came. Nothing is allocated per packet or per batch.
 */

import { BATCH } from '../codec/batch.js';
import { type Checksum, Packet } from '../codec/packet.js';
import { type Device, PacketList } from '../io/device.js';
import { type Role, Verdict } from '../role/verdict.js';

/** Milliseconds between two looks at the time when no packets come. */
const IDLE_WAIT = 100;
/** Milliseconds between two ticks of the role under load. */
const TICK_INTERVAL = 10;

export class Pipeline {
  /** What is decoded of each packet of a batch. */
  private readonly packets: readonly Packet[];
  private readonly received = new PacketList(BATCH);
  private readonly toStack = new PacketList(BATCH);
  private readonly toNetwork = new PacketList(BATCH);
  private readonly extras = new PacketList(BATCH);
  private lastTick = 0;
  private hasBacklog = false;

  constructor(
    private readonly device: Device,
    private readonly role: Role,
  ) {
    const { buffer, bytes } = device.arena;
    const view = new DataView(buffer);
    this.packets = Array.from({ length: BATCH }, () => new Packet(buffer, bytes, view));
  }

  /** Waits up to `wait` milliseconds for one batch (or a wake-up), sees it through, and says how many it held. */
  turn(wait = IDLE_WAIT): number {
    const { device } = this;
    device.receive(this.received, this.hasBacklog ? 0 : wait);
    const now = device.clock[0];
    const count = this.received.count;
    if (count > 0) this.handle(now);
    if (count > 0) this.handleReleased(now);
    if (this.hasBacklog || (now - this.lastTick) >>> 0 >= TICK_INTERVAL) {
      this.lastTick = now;
      this.hasBacklog = this.role.tick(now);
    }
    return count;
  }

  /** What the role had held, a batch at a time, behind the batch that made it let go. */
  private handleReleased(now: number): void {
    const { received, role } = this;
    const { arena } = this.device;
    do {
      received.count = 0;
      while (received.count < BATCH) {
        const offset = arena.packetOffset(received.count);
        const length = role.release(arena.bytes, offset);
        if (length === 0) break;
        received.add(offset, length);
      }
      if (received.count > 0) this.handle(now);
    } while (received.count > 0);
  }

  private handle(now: number): void {
    this.parse();
    this.role.foresee(this.packets, this.received.count, now);
    this.decide(now);
    this.send();
  }

  private parse(): void {
    const { packets } = this;
    const { count, offsets, lengths, checksums, segments } = this.received;
    for (let i = 0; i < count; i++)
      packets[i].parse(offsets[i], offsets[i] + lengths[i], checksums[i] as Checksum, segments[i]);
  }

  private decide(now: number): void {
    const { role, packets, toStack, toNetwork, extras } = this;
    const { arena } = this.device;
    const { count } = this.received;
    toStack.count = 0;
    toNetwork.count = 0;
    extras.count = 0;
    for (let i = 0; i < count; i++) {
      const packet = packets[i];
      const extraOffset = arena.extraOffset(i);
      const verdict = role.process(packet, now, extraOffset);
      if ((verdict & Verdict.extra) !== 0) extras.add(extraOffset, role.extraLength);
      if ((verdict & Verdict.deliver) !== 0) toStack.addPacket(packet);
      else if ((verdict & Verdict.emit) !== 0) toNetwork.addPacket(packet);
    }
  }

  private send(): void {
    const { device, role, toStack, toNetwork, extras } = this;
    const extrasRefused = extras.count > 0 ? device.emit(extras) : 0;
    let refused = 0;
    if (toStack.count > 0) refused += device.deliver(toStack);
    if (toNetwork.count > 0) refused += device.emit(toNetwork);
    role.settle(extras.count - extrasRefused, extrasRefused, refused);
  }
}
