/** The flow table alone. */
import { BATCH } from '#shim/io/device.js';
import type { MicroFigure } from './figure.js';
import { type Kit, LB, learnFlows, makeEnds, makeKit, nanosecondsEach, SERVER } from './kit.js';
import { LIP_NETWORK, LIP_PORT, RPORT, shuffled } from './packets.js';

const LOOKUPS = 1_000_000;

/** Looks flows up, each another one than before: with many of them, in memory that no cache holds. */
export function lookups(flowCount: number): MicroFigure[] {
  const { flows, family } = makeTable(flowCount);
  const order = shuffled(flowCount);
  const ends = makeEnds(family);
  let next = 0;
  let missed = 0;
  const each = nanosecondsEach(LOOKUPS, () => {
    for (let left = LOOKUPS; left > 0; left--) {
      ends[LB + 3] = LIP_NETWORK + order[next];
      next = next + 1 === order.length ? 0 : next + 1;
      flows.setFlow(ends, LB, LIP_PORT, SERVER, RPORT);
      if (flows.findFlow() < 0) missed++;
    }
  });
  if (missed > 0) throw new Error(`${missed} flows were not found`);
  return [{ name: `lookup-${flowCount}`, value: each, unit: 'ns' }];
}

/** The same a batch at a time, as the role does it: all of it is looked at ahead, so that misses overlap. */
export function batchedLookups(flowCount: number): MicroFigure[] {
  const { flows, family } = makeTable(flowCount);
  const order = shuffled(flowCount);
  const ends = makeEnds(family);
  const ports = (LIP_PORT << 16) | RPORT;
  const hashes = new Int32Array(BATCH);
  const areReplies = new Uint8Array(BATCH);
  const likely = new Int32Array(BATCH);
  const batch = new Int32Array(BATCH);
  let next = 0;
  let missed = 0;
  const each = nanosecondsEach(LOOKUPS, () => {
    for (let left = LOOKUPS; left > 0; left -= BATCH) {
      for (let i = 0; i < BATCH; i++) {
        batch[i] = LIP_NETWORK + order[next];
        next = next + 1 === order.length ? 0 : next + 1;
        ends[LB + 3] = batch[i];
        hashes[i] = flows.flowHash(ends, LB, SERVER, ports);
      }
      flows.fetch(hashes, areReplies, BATCH, likely);
      for (let i = 0; i < BATCH; i++) {
        ends[LB + 3] = batch[i];
        if (flows.flowOf(ends, LB, LIP_PORT, SERVER, RPORT, likely[i]) < 0) missed++;
      }
    }
  });
  if (missed > 0) throw new Error(`${missed} flows were not found`);
  return [{ name: `lookup-${flowCount}/in batches`, value: each, unit: 'ns' }];
}

function makeTable(flowCount: number): Kit {
  const kit = makeKit();
  learnFlows(kit, shuffled(flowCount));
  return kit;
}
