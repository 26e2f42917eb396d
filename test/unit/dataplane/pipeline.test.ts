import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import type { Packet } from '../../../src/codec/packet.js';
import { Pipeline } from '../../../src/dataplane/pipeline.js';
import { HEADROOM, PacketList } from '../../../src/io/device.js';
import { type Role, Verdict } from '../../../src/role/verdict.js';
import { MemoryDevice } from '../support/memory-device.js';
import { datagram, type Octets, toHex } from '../support/wire.js';

/** A role that does what the first byte of the payload says, and writes down what it is asked. */
class ScriptedRole implements Role {
  extraLength = 0;
  readonly seen: { length: number; now: number; headroom: number }[] = [];
  readonly ticks: number[] = [];
  /** Of each batch it was shown: the payloads' second bytes, how many it had handled by then, and the time. */
  readonly foreseen: { payloads: number[]; handled: number; now: number }[] = [];
  backlog = 0;

  foresee(packets: readonly Packet[], count: number, now: number): void {
    const payloads = packets.slice(0, count).map(({ bytes, end }) => bytes[end - 1]);
    this.foreseen.push({ payloads, handled: this.seen.length, now });
  }

  process(packet: Packet, now: number, extraOffset: number): number {
    const verdict = packet.bytes[packet.udp + 8];
    this.seen.push({ length: packet.end - packet.start, now, headroom: packet.start % 64 });
    if ((verdict & Verdict.extra) !== 0) {
      this.extraLength = 1 + this.seen.length;
      packet.bytes.fill(this.seen.length, extraOffset, extraOffset + this.extraLength);
    }
    return verdict;
  }

  readonly settled: number[][] = [];
  /** Packets held, the one to go first at the front. */
  readonly held: Octets[] = [];

  release(bytes: Uint8Array, offset: number): number {
    const packet = this.held.shift();
    if (packet === undefined) return 0;
    bytes.set(packet, offset);
    return packet.length;
  }

  settle(extrasSent: number, extrasRefused: number, refused: number): void {
    this.settled.push([extrasSent, extrasRefused, refused]);
  }

  tick(now: number): boolean {
    this.ticks.push(now);
    return this.backlog-- > 0;
  }
}

/** Notes how long it was asked to wait, and refuses as many packets of a list as it is told. */
class ObservedDevice extends MemoryDevice {
  readonly waits: number[] = [];
  readonly batches: number[] = [];
  refusedOnDeliver = 0;
  refusedOnEmit = 0;

  override receive(packets: PacketList, timeoutMs?: number): void {
    this.waits.push(timeoutMs ?? -1);
    super.receive(packets);
    this.batches.push(packets.count);
  }

  override deliver(packets: PacketList): number {
    return super.deliver(packets) + this.refusedOnDeliver;
  }

  override emit(packets: PacketList): number {
    return super.emit(packets) + this.refusedOnEmit;
  }
}

function make() {
  const device = new ObservedDevice();
  const role = new ScriptedRole();
  return { device, role, pipeline: new Pipeline(device, role) };
}

/** A packet that asks for a verdict; `n` tells it from others. */
function asking(verdict: number, n = 0): Uint8Array {
  return datagram({ from: '192.0.2.1:1', to: '192.0.2.2:2', payload: [verdict, n] });
}

const lastBytes = (packets: readonly Octets[]) => packets.map(packet => packet[packet.length - 1]);

describe('Pipeline', () => {
  it('does to each packet what its verdict says', () => {
    const { device, pipeline } = make();
    device.put(asking(Verdict.none, 1));
    device.put(asking(Verdict.deliver, 2));
    device.put(asking(Verdict.emit, 3));
    expect(pipeline.turn()).toBe(3);
    expect(device.delivered.map(toHex)).toEqual([toHex(asking(Verdict.deliver, 2))]);
    expect(device.emitted.map(toHex)).toEqual([toHex(asking(Verdict.emit, 3))]);
  });

  it('sends what the role added, with either or neither, before the rest', () => {
    const { device, role, pipeline } = make();
    device.put(asking(Verdict.emit, 9));
    device.put(asking(Verdict.extra, 2));
    device.put(asking(Verdict.extra | Verdict.deliver, 3));
    device.put(asking(Verdict.extra | Verdict.emit, 4));
    pipeline.turn();
    expect(device.emitted.map(toHex)).toEqual([
      '020202',
      '03030303',
      '0404040404',
      toHex(asking(Verdict.emit, 9)),
      toHex(asking(Verdict.extra | Verdict.emit, 4)),
    ]);
    expect(lastBytes(device.delivered)).toEqual([3]);
    expect(role.settled).toEqual([[3, 0, 0]]);
  });

  it('keeps the order, over batches of up to BATCH packets', () => {
    const { device, pipeline } = make();
    const count = BATCH * 3 + 5;
    for (let n = 0; n < count; n++) device.put(asking(n % 3 === 0 ? Verdict.emit : Verdict.deliver, n));
    const turns = [1, 2, 3, 4, 5].map(() => pipeline.turn());
    expect(turns).toEqual([BATCH, BATCH, BATCH, 5, 0]);
    const numbers = Array.from({ length: count }, (_, n) => n);
    expect(lastBytes(device.delivered)).toEqual(numbers.filter(n => n % 3 !== 0));
    expect(lastBytes(device.emitted)).toEqual(numbers.filter(n => n % 3 === 0));
  });

  it('keeps the role’s packets of a whole batch apart', () => {
    const { device, pipeline } = make();
    for (let n = 0; n < BATCH; n++) device.put(asking(Verdict.extra, n));
    pipeline.turn();
    expect(device.emitted.map(toHex)).toEqual(
      Array.from({ length: BATCH }, (_, i) =>
        (i + 1)
          .toString(16)
          .padStart(2, '0')
          .repeat(i + 2),
      ),
    );
  });

  it('holds the largest packets, a whole batch of them', () => {
    const { device, pipeline } = make();
    const packets = Array.from({ length: BATCH }, (_, n) =>
      datagram({
        from: '192.0.2.1:1',
        to: '192.0.2.2:2',
        payload: [Verdict.deliver, ...new Array<number>(65535 - 30).fill(n), n],
      }),
    );
    for (const packet of packets) device.put(packet);
    expect(pipeline.turn()).toBe(BATCH);
    for (let n = 0; n < BATCH; n++) expect(Buffer.compare(device.delivered[n], packets[n])).toBe(0);
  });

  it('shows the role each batch before it handles the first of its packets', () => {
    const { device, role, pipeline } = make();
    device.clock[0] = 5;
    for (let n = 0; n < BATCH + 2; n++) device.put(asking(Verdict.emit, n));
    role.held.push(asking(Verdict.deliver, 99));
    for (let turn = 0; turn < 3; turn++) pipeline.turn();
    const numbers = Array.from({ length: BATCH + 2 }, (_, n) => n);
    expect(role.foreseen).toEqual([
      { payloads: numbers.slice(0, BATCH), handled: 0, now: 5 },
      { payloads: [99], handled: BATCH, now: 5 },
      { payloads: numbers.slice(BATCH), handled: BATCH + 1, now: 5 },
    ]);
    expect(lastBytes(device.emitted)).toEqual(numbers);
  });

  it('counts what is refused, by way and kind', () => {
    const { device, role, pipeline } = make();
    device.put(asking(Verdict.deliver));
    device.put(asking(Verdict.deliver));
    device.refusedOnDeliver = 1;
    pipeline.turn();
    device.put(asking(Verdict.emit));
    device.put(asking(Verdict.extra));
    device.put(asking(Verdict.extra));
    device.refusedOnEmit = 1;
    pipeline.turn();
    expect(role.settled).toEqual([
      [0, 0, 1],
      [1, 1, 1],
    ]);
  });

  it('gives the role the device’s time, and room in front of the packet', () => {
    const { device, role, pipeline } = make();
    device.clock[0] = -77;
    device.put(asking(Verdict.none));
    pipeline.turn();
    expect(role.seen).toEqual([{ length: 30, now: -77, headroom: 0 }]);
    expect(device.arena.packetOffset(0)).toBe(HEADROOM);
  });

  it('ticks every 10 ms, with packets or without, over the end of the ticks', () => {
    const { device, role, pipeline } = make();
    const ticksAt = (now: number) => {
      device.clock[0] = now;
      role.ticks.length = 0;
      pipeline.turn();
      return role.ticks.length;
    };
    expect([5, 9, 10, 11, 19, 20, 1000, 1009, 1010].map(ticksAt)).toEqual([0, 0, 1, 0, 0, 1, 1, 0, 1]);
    expect([0x7fffffff, -0x80000000 + 8, -0x80000000 + 9].map(ticksAt)).toEqual([1, 0, 1]);
    expect([-1, 8, 9].map(ticksAt)).toEqual([1, 0, 1]);
  });

  it('does not wait while the role has work left', () => {
    const { device, role, pipeline } = make();
    role.backlog = 2;
    device.clock[0] = 1000;
    for (let turn = 0; turn < 4; turn++) pipeline.turn();
    expect(role.ticks).toEqual([1000, 1000, 1000]);
    expect(device.waits).toEqual([100, 0, 0, 100]);
  });

  it('waits no longer than it is told', () => {
    const { device, pipeline } = make();
    pipeline.turn(7);
    expect(device.waits).toEqual([7]);
  });

  it('asks neither role nor device for anything in an empty turn', () => {
    const { device, role, pipeline } = make();
    expect(pipeline.turn()).toBe(0);
    expect([role.seen, role.foreseen]).toEqual([[], []]);
    expect([device.delivered, device.emitted]).toEqual([[], []]);
  });
});

describe('PacketList', () => {
  it('lists what is added, and starts again from 0', () => {
    const list = new PacketList(2);
    list.add(10, 1);
    list.add(20, 2);
    expect([list.count, [...list.offsets], [...list.lengths]]).toEqual([2, [10, 20], [1, 2]]);
    list.count = 0;
    list.add(30, 3);
    expect([list.count, list.offsets[0], list.lengths[0]]).toEqual([1, 30, 3]);
  });
});

describe('MemoryDevice', () => {
  it('may be closed twice, and has nothing left', () => {
    const device = new MemoryDevice();
    device.put(asking(Verdict.none));
    device.close();
    device.close();
    const list = new PacketList(BATCH);
    device.receive(list);
    expect(list.count).toBe(0);
  });
});
