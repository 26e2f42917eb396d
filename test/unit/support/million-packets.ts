/**
 * Runs packets through the pipeline and prints, as JSON, how often the garbage collector ran meanwhile and what the
 * heap grew by. Compiled and started in a process of its own, whose only garbage is the pipeline's.
 *
 *     node million-packets.js PACKETS [MAX_FLOWS] [wasteful|crowded]
 *
 * `crowded` has many more flows in the table, `wasteful` makes an object per packet on purpose: with it the collector has to run.
 */
import { PerformanceObserver, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { getHeapStatistics } from 'node:v8';
import { BATCH } from '../../../src/codec/batch.js';
import type { Packet } from '../../../src/codec/packet.js';
import { Pipeline } from '../../../src/dataplane/pipeline.js';
import { FlowTable } from '../../../src/flow/table.js';
import { Arena } from '../../../src/io/arena.js';
import type { Device } from '../../../src/io/device.js';
import { Counter, makeCounters } from '../../../src/role/counters.js';
import { RealServerRole } from '../../../src/role/real-server/role.js';
import type { Outbox, Role, Verdict } from '../../../src/role/role.js';
import { CROWD, learnCrowd } from './crowd.js';
import { datagramIn, FAMILIES, inFamily } from './families.js';
import { prefix, words } from './wire.js';

const FLOWS = 1000;
/** Clients of the other family than their packets'. */
const OTHER_FAMILY = {
  4: (i: number) => `[2001:db8::${i}]:5555`,
  6: (i: number) => `192.0.2.${i % 250}:${30_000 + i}`,
};
/** Enough for the compiler to be done with everything on the way. */
const WARM_UP = 400_000;

/** For each flow: a marked packet, one without a mark, a reply; then the same with another client. Half are IPv6's. */
function makePackets(): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (const network of ['203.0.113', '198.51.100']) {
    for (let i = 0; i < FLOWS; i++) {
      const family = FAMILIES[i % 2];
      const ends = { from: `10.20.0.${i % 4}:${10_000 + i}`, to: '10.10.1.2:53' };
      const client = `${network}.${i % 250}:${20_000 + i}`;
      const isOtherFamily = i % 50 >= 48;
      const named = isOtherFamily ? OTHER_FAMILY[family](i) : inFamily(family, client);
      const carrier = i % 3 === 0 ? 'opp' : 'ipo';
      const payload = new Array<number>(i % 7 === 0 ? 0 : 64).fill(i);
      packets.push(
        datagramIn(family, { ...ends, payload, carrier, named }),
        datagramIn(family, { ...ends, payload: [1, 2, 3] }),
        datagramIn(family, { from: ends.to, to: isOtherFamily ? ends.from : client, payload }),
      );
    }
  }
  return packets;
}

/** Brings the same packets round and round, a batch every millisecond, and takes all that goes out. */
class EndlessDevice implements Device {
  readonly arena = new Arena();
  readonly clock = new Int32Array(1);
  private next = 0;

  constructor(private readonly packets: readonly Uint8Array[]) {}

  receive(batch: readonly Packet[]): number {
    const { arena, packets } = this;
    this.clock[0]++;
    for (let i = 0; i < BATCH; i++) {
      const packet = packets[this.next];
      const offset = arena.packetOffset(i);
      arena.bytes.set(packet, offset);
      batch[i].parse(offset, offset + packet.length);
      this.next = this.next + 1 === packets.length ? 0 : this.next + 1;
    }
    return BATCH;
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

/** Makes garbage beside the real work. */
class WastefulRole implements Role {
  kept: object = {};

  constructor(private readonly role: RealServerRole) {}

  prefetch(packets: readonly Packet[], count: number): void {
    this.role.prefetch(packets, count);
  }

  process(packet: Packet, now: number, outbox: Outbox): Verdict {
    this.kept = { now, outbox };
    return this.role.process(packet, now, outbox);
  }

  takeHeld(bytes: Uint8Array, offset: number): number {
    return this.role.takeHeld(bytes, offset);
  }

  account(acksSent: number, acksRefused: number, refused: number): void {
    this.role.account(acksSent, acksRefused, refused);
  }

  tick(now: number): boolean {
    return this.role.tick(now);
  }
}

const [count = 1_000_000, maxFlows = 2048] = process.argv.slice(2, 4).map(Number);
const table = { maxFlows, timeoutMs: 60_000, routesReplies: true, seed: 1 };
const counters = makeCounters();
const flows = FlowTable.create(new SharedArrayBuffer(FlowTable.byteLength(table)), table, 0);
const realServer = new RealServerRole(
  {
    loadBalancers: ['10.20.0.0/16', 'fd00:20::/64'].map(text => ({
      prefix: prefix(text),
      ack: true,
      ask: true,
      deliverEmpty: false,
      timeout: { unansweredMs: 360_000, answeredMs: 360_000 },
    })),
    services: [
      { words: words('10.10.1.2'), from: 53, to: 53 },
      { words: words('10.10.1.3'), from: 53, to: 53 },
      { words: words('fd00:1::2'), from: 53, to: 53 },
    ],
    ownAddresses: [prefix('10.10.1.2/32'), prefix('fd00:1::2/128')],
    wildcardSources: [words('10.10.1.2'), words('fd00:1::2')],
    translates: false,
  },
  flows,
  counters,
  () => {},
  2,
);
if (process.argv[4] === 'crowded') learnCrowd(flows, CROWD, 0);
const role = process.argv[4] === 'wasteful' ? new WastefulRole(realServer) : realServer;
const pipeline = new Pipeline(new EndlessDevice(makePackets()), role);

function run(packets: number): void {
  for (let left = packets; left > 0; left -= BATCH) pipeline.turn();
}

const collections: number[] = [];
const observer = new PerformanceObserver(list => {
  for (const entry of list.getEntries()) collections.push(entry.startTime);
});
observer.observe({ entryTypes: ['gc'] });

run(WARM_UP);
await sleep(50); // Compilers work beside the main thread: what they have ready gets its turn.
run(WARM_UP);
await sleep(50);

counters.fill(0);
const before = getHeapStatistics().used_heap_size;
const begin = performance.now();
run(count);
const end = performance.now();
const after = getHeapStatistics().used_heap_size;
await sleep(50); // Observers are told later.
observer.disconnect();

console.log(
  JSON.stringify({
    collections: collections.filter(time => time >= begin && time <= end).length,
    bytes: after - before,
    delivered: counters[Counter.packets_delivered],
    standalone: counters[Counter.uoa_standalone],
    saved: counters[Counter.uoa_saved],
    acks: counters[Counter.uoa_ack_sent],
    replies: counters[Counter.replies_translated],
    passed: counters[Counter.replies_passed],
    evicted: counters[Counter.flows_evicted],
    milliseconds: end - begin,
  }),
);
