/** Flows come and go: a million of them. */
import { Pipeline } from '#shim/dataplane/pipeline.js';
import { CopyFeed } from './feeds.js';
import type { MicroFigure } from './figure.js';
import { cpuMilliseconds, expectCount, type Kit, MAX_FLOWS, makeKit, TIMEOUT_MS } from './kit.js';
import { CLIENT_NETWORK, makePacket, shuffled, toService } from './packets.js';

const FLOWS = 1_000_000;
const PAYLOAD = 64;
const WARM_UP = 50_000;
/** A flow may outlive its timeout by so much. */
const GRACE = 4096;

/** Marks of new flows through the pipeline, then silence until all are forgotten. */
export function lifetime(): MicroFigure[] {
  const kit = makeKit();
  const warm = learn(kit, WARM_UP, 0);
  const start = expire(kit, warm.now).now;
  const resident = process.memoryUsage.rss();
  const { seconds, now } = learn(kit, FLOWS, start);
  const grown = process.memoryUsage.rss() - resident;
  expectCount(kit.counters, 'uoa_got', WARM_UP + FLOWS);
  expectCount(kit.counters, 'uoa_ack_sent', WARM_UP + FLOWS);
  expectCount(kit.counters, 'flows', FLOWS);
  const { ticks } = expire(kit, now);
  return [
    { name: 'learning', value: FLOWS / seconds, unit: 'flows/s' },
    { name: 'table/memory set aside', value: kit.bytes / MAX_FLOWS, unit: 'bytes/flow' },
    { name: 'table/memory used', value: grown / FLOWS, unit: 'bytes/flow' },
    { name: 'expiry/longest tick', value: Math.max(...ticks), unit: 'ms' },
    { name: 'expiry/all', value: ticks.reduce((sum, tick) => sum + tick, 0), unit: 'ms' },
  ];
}

/** How long the pipeline takes for a marked packet of each flow, ACK included, and what time it is then. */
function learn({ role }: Kit, count: number, start: number): { seconds: number; now: number } {
  const order = shuffled(count);
  const feed = new CopyFeed(count, i => makePacket(toService(order[i]), PAYLOAD, CLIENT_NETWORK + order[i]));
  feed.clock[0] = start;
  const pipeline = new Pipeline(feed, role);
  let took = 0;
  while (feed.prepare()) {
    const begin = cpuMilliseconds();
    while (pipeline.turn() > 0);
    took += cpuMilliseconds() - begin;
  }
  return { seconds: took / 1000, now: feed.clock[0] };
}

/**
 * How many milliseconds each tick takes when everything is due at once: time that passes, because a compiler's threads
 * would count as well in CPU time.
 */
function expire({ role, flows }: Kit, last: number): { ticks: number[]; now: number } {
  const ticks: number[] = [];
  const now = last + TIMEOUT_MS + GRACE;
  for (let isMore = true; isMore; ) {
    const begin = performance.now();
    isMore = role.tick(now);
    ticks.push(performance.now() - begin);
  }
  if (flows.count > 0) throw new Error(`${flows.count} flows did not expire`);
  return { ticks, now };
}
