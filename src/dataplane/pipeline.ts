/**
 * Joins a device and a role: a batch comes in, each packet gets its verdict, and the batch goes out as three lists. First
 * what the role added, then what goes to the host's stack, then what goes to the network. Order holds within each list,
 * not between them. Nothing is allocated per packet or per batch.
 */
import { BATCH } from '../codec/batch.js';
import { Packet } from '../codec/packet.js';
import type { ByteOffset, Ticks } from '../codec/units.js';
import type { Device } from '../io/device.js';
import { PacketList, PieceList } from '../io/lists.js';
import { type Outbox, type Role, Verdict } from '../role/role.js';

/** Between two looks at the time when no packets come. */
const IDLE_WAIT_MS = 100;
/** Between two ticks of the role under load. */
const TICK_INTERVAL_MS = 10;

/** What the role adds to a batch: up to one packet beside each of its packets. */
class BatchOutbox implements Outbox {
  readonly packets = new PieceList(BATCH);
  offset: ByteOffset = 0;

  add(length: number): void {
    this.packets.add(this.offset, length);
  }
}

export class Pipeline {
  /** The packets of a batch, reused for each. */
  private readonly packets: readonly Packet[];
  private readonly toStack = new PacketList();
  private readonly toNetwork = new PacketList();
  private readonly outbox = new BatchOutbox();
  private lastTick: Ticks = 0;
  private hasBacklog = false;

  constructor(
    private readonly device: Device,
    private readonly role: Role,
  ) {
    const { buffer, bytes, view } = device.arena;
    this.packets = Array.from({ length: BATCH }, () => new Packet(buffer, bytes, view));
  }

  /** Waits for one batch or a wake-up, handles the batch, and says how many packets it had. */
  turn(waitMs = IDLE_WAIT_MS): number {
    const { device } = this;
    const count = device.receive(this.packets, this.hasBacklog ? 0 : waitMs);
    const now = device.clock[0];
    if (count > 0) this.handle(count, now);
    if (count > 0) this.handleHeld(now);
    if (this.hasBacklog || (now - this.lastTick) >>> 0 >= TICK_INTERVAL_MS) {
      this.lastTick = now;
      this.hasBacklog = this.role.tick(now);
    }
    return count;
  }

  /** Handles what the role had held, a batch at a time, after the batch that let it go. */
  private handleHeld(now: Ticks): void {
    for (let count = this.takeHeld(); count > 0; count = this.takeHeld()) this.handle(count, now);
  }

  private takeHeld(): number {
    const { packets, role } = this;
    const { arena } = this.device;
    let count = 0;
    while (count < BATCH) {
      const offset = arena.packetOffset(count);
      const length = role.takeHeld(arena.bytes, offset);
      if (length === 0) break;
      packets[count++].parse(offset, offset + length);
    }
    return count;
  }

  private handle(count: number, now: Ticks): void {
    this.role.prefetch(this.packets, count, now);
    this.decide(count, now);
    this.send();
  }

  private decide(count: number, now: Ticks): void {
    const { role, packets, toStack, toNetwork, outbox } = this;
    const { arena } = this.device;
    toStack.count = 0;
    toNetwork.count = 0;
    outbox.packets.count = 0;
    for (let i = 0; i < count; i++) {
      const packet = packets[i];
      outbox.offset = arena.extraOffset(i);
      const verdict = role.process(packet, now, outbox);
      if (verdict === Verdict.deliver) toStack.add(packet);
      else if (verdict === Verdict.emit) toNetwork.add(packet);
    }
  }

  private send(): void {
    const { device, role, toStack, toNetwork } = this;
    const added = this.outbox.packets;
    // A standalone mark must arrive before the packet that it describes.
    const addedRefused = added.count > 0 ? device.emitAdded(added) : 0;
    let refused = 0;
    if (toStack.count > 0) refused += device.deliver(toStack);
    if (toNetwork.count > 0) refused += device.emit(toNetwork);
    role.account(added.count - addedRefused, addedRefused, refused);
  }
}
