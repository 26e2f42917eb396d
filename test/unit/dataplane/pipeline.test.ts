import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import { MAX_STANDALONE } from '../../../src/codec/carriers.js';
import type { Packet } from '../../../src/codec/packet.js';
import { Pipeline } from '../../../src/dataplane/pipeline.js';
import { HEADROOM } from '../../../src/io/arena.js';
import type { PacketList, PieceList } from '../../../src/io/lists.js';
import { type Outbox, type Role, Verdict } from '../../../src/role/role.js';
import { MemoryDevice } from '../support/memory-device.js';
import { datagram, type Octets, toHex } from '../support/wire.js';

/** What the role is to do with a packet, by the number in its payload. */
type Script = (n: number) => { verdict: Verdict; adds?: Octets };

/** Does what its script says, and writes down what it is asked. */
class ScriptedRole implements Role {
  readonly seen: { length: number; now: number; misalignment: number }[] = [];
  readonly ticks: number[] = [];
  /** Of each batch it was shown: the packets' numbers, how many it had handled by then, and the time. */
  readonly prefetched: { numbers: number[]; handled: number; now: number }[] = [];
  readonly accounts: { added: number; addedRefused: number; refused: number }[] = [];
  /** Packets held, the one to go first at the front. */
  readonly held: Octets[] = [];
  backlog = 0;

  constructor(private readonly script: Script) {}

  prefetch(packets: readonly Packet[], count: number, now: number): void {
    const numbers = packets.slice(0, count).map(numberOf);
    this.prefetched.push({ numbers, handled: this.seen.length, now });
  }

  process(packet: Packet, now: number, outbox: Outbox): Verdict {
    this.seen.push({ length: packet.end - packet.start, now, misalignment: packet.start % 64 });
    const { verdict, adds } = this.script(numberOf(packet));
    if (adds !== undefined) {
      packet.bytes.set(adds, outbox.offset);
      outbox.add(adds.length);
    }
    return verdict;
  }

  takeHeld(bytes: Uint8Array, offset: number): number {
    const packet = this.held.shift();
    if (packet === undefined) return 0;
    bytes.set(packet, offset);
    return packet.length;
  }

  account(added: number, addedRefused: number, refused: number): void {
    this.accounts.push({ added, addedRefused, refused });
  }

  tick(now: number): boolean {
    this.ticks.push(now);
    return this.backlog-- > 0;
  }
}

function numberOf({ bytes, end }: Packet): number {
  return bytes[end - 1];
}

/** Notes how long it was asked to wait, and refuses as many packets of a list as it is told. */
class ObservedDevice extends MemoryDevice {
  readonly waits: number[] = [];
  readonly batches: number[] = [];
  refusedOnDeliver = 0;
  refusedOnEmit = 0;

  override receive(packets: readonly Packet[], timeoutMs?: number): number {
    this.waits.push(timeoutMs ?? -1);
    const count = super.receive(packets);
    this.batches.push(count);
    return count;
  }

  override deliver(packets: PacketList): number {
    return super.deliver(packets) + this.refusedOnDeliver;
  }

  override emit(packets: PacketList): number {
    return super.emit(packets) + this.refusedOnEmit;
  }

  override emitAdded(packets: PieceList): number {
    return super.emitAdded(packets) + this.refusedOnEmit;
  }
}

const DROP: Script = () => ({ verdict: Verdict.drop });
const EMIT: Script = () => ({ verdict: Verdict.emit });

function make(script: Script = EMIT) {
  const device = new ObservedDevice();
  const role = new ScriptedRole(script);
  return { device, role, pipeline: new Pipeline(device, role) };
}

/** The packet with this number. */
function packet(n: number): Uint8Array {
  return datagram({ from: '192.0.2.1:1', to: '192.0.2.2:2', payload: [n] });
}

const lastBytes = (packets: readonly Octets[]) => packets.map(packet => packet[packet.length - 1]);

describe('what a pipeline does with a batch', () => {
  it('a packet goes where its verdict says', () => {
    const verdicts = [Verdict.drop, Verdict.deliver, Verdict.emit];
    const { device, pipeline } = make(n => ({ verdict: verdicts[n] }));
    for (const n of [0, 1, 2]) device.put(packet(n));
    expect(pipeline.turn()).toBe(3);
    expect(device.delivered.map(toHex)).toEqual([toHex(packet(1))]);
    expect(device.emitted.map(toHex)).toEqual([toHex(packet(2))]);
  });

  it('what the role added goes out before the batch, whatever becomes of the packets', () => {
    const scripts: ReturnType<Script>[] = [
      { verdict: Verdict.emit },
      { verdict: Verdict.drop, adds: [0xa1] },
      { verdict: Verdict.deliver, adds: [0xa2, 0xa2] },
      { verdict: Verdict.emit, adds: [0xa3, 0xa3, 0xa3] },
    ];
    const { device, role, pipeline } = make(n => scripts[n]);
    for (const n of [0, 1, 2, 3]) device.put(packet(n));
    pipeline.turn();
    expect(device.emitted.map(toHex)).toEqual(['a1', 'a2a2', 'a3a3a3', toHex(packet(0)), toHex(packet(3))]);
    expect(lastBytes(device.delivered)).toEqual([2]);
    expect(role.accounts).toEqual([{ added: 3, addedRefused: 0, refused: 0 }]);
  });

  it('order is kept within each list, over batches of up to BATCH packets', () => {
    const { device, pipeline } = make(n => ({ verdict: n % 3 === 0 ? Verdict.emit : Verdict.deliver }));
    const numbers = Array.from({ length: BATCH * 3 + 5 }, (_, n) => n);
    for (const n of numbers) device.put(packet(n));
    const turns = [1, 2, 3, 4, 5].map(() => pipeline.turn());
    expect(turns).toEqual([BATCH, BATCH, BATCH, 5, 0]);
    expect(lastBytes(device.delivered)).toEqual(numbers.filter(n => n % 3 !== 0));
    expect(lastBytes(device.emitted)).toEqual(numbers.filter(n => n % 3 === 0));
  });

  it('what the role adds to each packet of a whole batch has room of its own', () => {
    const added = (n: number) => new Array<number>(MAX_STANDALONE).fill(n);
    const { device, pipeline } = make(n => ({ verdict: Verdict.drop, adds: added(n) }));
    for (let n = 0; n < BATCH; n++) device.put(packet(n));
    pipeline.turn();
    expect(device.emitted.map(toHex)).toEqual(Array.from({ length: BATCH }, (_, n) => toHex(added(n))));
  });

  it('a whole batch of the largest packets is delivered unharmed', () => {
    const { device, pipeline } = make(() => ({ verdict: Verdict.deliver }));
    const packets = Array.from({ length: BATCH }, (_, n) =>
      datagram({
        from: '192.0.2.1:1',
        to: '192.0.2.2:2',
        payload: new Array<number>(65535 - 28).fill(n),
      }),
    );
    for (const packet of packets) device.put(packet);
    expect(pipeline.turn()).toBe(BATCH);
    for (let n = 0; n < BATCH; n++) expect(Buffer.compare(device.delivered[n], packets[n])).toBe(0);
  });
});

describe('what a pipeline asks of its role', () => {
  it('the role sees each batch before it handles the first of its packets', () => {
    const { device, role, pipeline } = make();
    device.clock[0] = 5;
    for (let n = 0; n < BATCH + 2; n++) device.put(packet(n));
    role.held.push(packet(99));
    for (let turn = 0; turn < 3; turn++) pipeline.turn();
    const numbers = Array.from({ length: BATCH + 2 }, (_, n) => n);
    expect(role.prefetched).toEqual([
      { numbers: numbers.slice(0, BATCH), handled: 0, now: 5 },
      { numbers: [99], handled: BATCH, now: 5 },
      { numbers: numbers.slice(BATCH), handled: BATCH + 1, now: 5 },
    ]);
    expect(lastBytes(device.emitted)).toEqual([...numbers.slice(0, BATCH), 99, ...numbers.slice(BATCH)]);
  });

  it('the role hears what was refused: what it added apart from the batch', () => {
    const { device, role, pipeline } = make(n =>
      n === 0 ? { verdict: Verdict.deliver } : { verdict: n === 1 ? Verdict.emit : Verdict.drop, adds: [n] },
    );
    device.put(packet(0));
    device.put(packet(0));
    device.refusedOnDeliver = 1;
    pipeline.turn();
    device.put(packet(1));
    device.put(packet(2));
    device.refusedOnEmit = 1;
    pipeline.turn();
    expect(role.accounts).toEqual([
      { added: 0, addedRefused: 0, refused: 1 },
      { added: 1, addedRefused: 1, refused: 1 },
    ]);
  });

  it('packets come with the device’s time, on a cache line with headroom in front', () => {
    const { device, role, pipeline } = make(DROP);
    device.clock[0] = -77;
    device.put(packet(1));
    pipeline.turn();
    expect(role.seen).toEqual([{ length: 29, now: -77, misalignment: 0 }]);
    expect(device.arena.packetOffset(0)).toBe(HEADROOM);
  });

  it('the role ticks every 10 ms, with packets or without, over the end of the ticks', () => {
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

  it('an empty turn asks neither role nor device for anything', () => {
    const { device, role, pipeline } = make();
    expect(pipeline.turn()).toBe(0);
    expect([role.seen, role.prefetched, role.accounts]).toEqual([[], [], []]);
    expect([device.delivered, device.emitted]).toEqual([[], []]);
  });
});

describe('how long a pipeline waits', () => {
  it('a pipeline does not wait while its role has work left', () => {
    const { device, role, pipeline } = make();
    role.backlog = 2;
    device.clock[0] = 1000;
    for (let turn = 0; turn < 4; turn++) pipeline.turn();
    expect(role.ticks).toEqual([1000, 1000, 1000]);
    expect(device.waits).toEqual([100, 0, 0, 100]);
  });

  it('a pipeline waits no longer than it is told', () => {
    const { device, pipeline } = make();
    pipeline.turn(7);
    expect(device.waits).toEqual([7]);
  });
});

describe('MemoryDevice', () => {
  it('a closed MemoryDevice has no packets left', () => {
    const device = new MemoryDevice();
    device.put(packet(1));
    device.close();
    device.close();
    expect(device.receive([])).toBe(0);
  });
});
