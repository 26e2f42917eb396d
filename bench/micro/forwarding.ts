/** The cost in JavaScript of a packet of a known flow. */
import { BATCH } from '#shim/codec/batch.js';
import { Packet } from '#shim/codec/packet.js';
import { Pipeline } from '#shim/dataplane/pipeline.js';
import { Counter } from '#shim/role/counters.js';
import { PlainFeed } from './feeds.js';
import type { MicroFigure } from './figure.js';
import { expectCount, learnFlows, makeKit, nanosecondsEach } from './kit.js';
import { type Family, shuffled, toClient, toService } from './packets.js';

const PAYLOAD_BYTES = 64;
const PACKETS = 1_000_000;

/** Packets to the service, or replies to clients. Each belongs to another flow than the one before. */
export function forwarding(
  flowCount: number,
  direction: 'inbound' | 'replies',
  family: Family = 4,
): MicroFigure[] {
  const kit = makeKit(family);
  const order = shuffled(flowCount);
  learnFlows(kit, shuffled(flowCount));
  const isInbound = direction === 'inbound';
  const makeFeed = () =>
    isInbound
      ? new PlainFeed(order, toService, 'source', PAYLOAD_BYTES, family)
      : new PlainFeed(order, toClient, 'destination', PAYLOAD_BYTES, family);

  const feed = makeFeed();
  const pipeline = new Pipeline(feed, kit.role);
  const pipelineNs = nanosecondsEach(PACKETS, () => {
    for (let left = PACKETS; left > 0; left -= BATCH) pipeline.turn();
  });
  if (kit.counters[Counter.uoa_miss] > 0) throw new Error('flows were not found');
  expectCount(kit.counters, isInbound ? 'packets_delivered' : 'replies_translated', PACKETS);

  const { buffer, bytes, view } = feed.arena;
  const packets = Array.from({ length: BATCH }, () => new Packet(buffer, bytes, view));
  const outbox = { offset: 0, add() {} };
  const roleNs = nanosecondsEach(PACKETS, () => {
    for (let left = PACKETS; left > 0; left -= BATCH) {
      feed.receive(packets);
      kit.role.prefetch(packets, BATCH);
      for (let i = 0; i < BATCH; i++) kit.role.process(packets[i], feed.clock[0], outbox);
    }
  });
  const feedingNs = nanosecondsEach(PACKETS, () => {
    for (let left = PACKETS; left > 0; left -= BATCH) feed.lay();
  });
  const name = `${direction}-${flowCount}${family === 6 ? ', IPv6' : ''}`;
  return [
    { name: `${name}/pipeline`, value: pipelineNs - feedingNs, unit: 'ns/packet' },
    { name: `${name}/parse and role`, value: roleNs - feedingNs, unit: 'ns/packet' },
  ];
}
