/** Flows come and go: a million of them. */
import { Pipeline } from '#shim/dataplane/pipeline.js';
import { CopyFeed } from './feeds.js';
import type { MicroFigure } from './figure.js';
import { cpuMilliseconds, expectCount, type Kit, MAX_FLOWS, makeKit, TIMEOUT_MS } from './kit.js';
import { CLIENT_NETWORK, makePacket, shuffled, toService } from './packets.js';

const FLOWS = 1_000_000;
const PAYLOAD_BYTES = 64;
const WARM_UP = 50_000;
/** A flow may outlive its timeout by so much. */
const GRACE_MS = 4096;

/** Marks of new flows through the pipeline, then silence until all are forgotten. */
export function lifetime(): MicroFigure[] {
  const kit = makeKit();
  const warm = learn(kit, WARM_UP, 0);
  const start = expire(kit, warm.now).now;
  const residentBytes = process.memoryUsage.rss();
  const { seconds, now } = learn(kit, FLOWS, start);
  const grownBytes = process.memoryUsage.rss() - residentBytes;
  expectCount(kit.counters, 'uoa_got', WARM_UP + FLOWS);
  expectCount(kit.counters, 'uoa_ack_sent', WARM_UP + FLOWS);
  expectCount(kit.counters, 'flows', FLOWS);
  const { tickMs } = expire(kit, now);
  return [
    { name: 'learning', value: FLOWS / seconds, unit: 'flows/s' },
    { name: 'table/memory set aside', value: kit.bytes / MAX_FLOWS, unit: 'bytes/flow' },
    { name: 'table/memory used', value: grownBytes / FLOWS, unit: 'bytes/flow' },
    { name: 'expiry/longest tick', value: Math.max(...tickMs), unit: 'ms' },
    { name: 'expiry/all', value: tickMs.reduce((sum, ms) => sum + ms, 0), unit: 'ms' },
  ];
}

/** Sends a marked packet of each flow through the pipeline, ACKs included: CPU seconds, and the time afterwards in ticks. */
function learn({ role }: Kit, count: number, start: number): { seconds: number; now: number } {
  const order = shuffled(count);
  const feed = new CopyFeed(count, i =>
    makePacket(toService(order[i]), PAYLOAD_BYTES, CLIENT_NETWORK + order[i]),
  );
  feed.clock[0] = start;
  const pipeline = new Pipeline(feed, role);
  let tookMs = 0;
  while (feed.prepare()) {
    const beginMs = cpuMilliseconds();
    while (pipeline.turn() > 0);
    tookMs += cpuMilliseconds() - beginMs;
  }
  return { seconds: tookMs / 1000, now: feed.clock[0] };
}

/**
 * How many milliseconds each call of `tick` takes when all flows are due at once. This is elapsed time: CPU time would
 * include the compiler's threads.
 */
function expire({ role, flows }: Kit, last: number): { tickMs: number[]; now: number } {
  const tickMs: number[] = [];
  const now = last + TIMEOUT_MS + GRACE_MS;
  for (let isMore = true; isMore; ) {
    const beginMs = performance.now();
    isMore = role.tick(now);
    tickMs.push(performance.now() - beginMs);
  }
  if (flows.count > 0) throw new Error(`${flows.count} flows did not expire`);
  return { tickMs, now };
}
