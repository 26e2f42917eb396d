/** The flow table alone. */
import { BATCH } from '#shim/codec/batch.js';
import { NONE } from '#shim/codec/units.js';
import { FlowPrefetch } from '#shim/flow/prefetch.js';
import type { MicroFigure } from './figure.js';
import { type Kit, LIP, learnFlows, makeEnds, makeKit, nanosecondsEach, PORTS, SERVER } from './kit.js';
import { LIP_NETWORK, shuffled } from './packets.js';

const LOOKUPS = 1_000_000;

/** Looks up one flow after the other. Many flows lie in memory that no cache holds. */
export function lookups(flowCount: number): MicroFigure[] {
  const { flows, family } = makeTable(flowCount);
  const order = shuffled(flowCount);
  const ends = makeEnds(family);
  let next = 0;
  let missed = 0;
  const each = nanosecondsEach(LOOKUPS, () => {
    for (let left = LOOKUPS; left > 0; left--) {
      ends[LIP + 3] = LIP_NETWORK + order[next];
      next = next + 1 === order.length ? 0 : next + 1;
      if (flows.findFlow(ends, LIP, SERVER, PORTS) === NONE) missed++;
    }
  });
  if (missed > 0) throw new Error(`${missed} flows were not found`);
  return [{ name: `lookup-${flowCount}`, value: each, unit: 'ns' }];
}

/** The same in batches, as the role does it: a batch is prefetched, so that cache misses overlap. */
export function batchedLookups(flowCount: number): MicroFigure[] {
  const { flows, family } = makeTable(flowCount);
  const order = shuffled(flowCount);
  const ends = makeEnds(family);
  const prefetch = new FlowPrefetch(flows);
  const batch = new Int32Array(BATCH);
  let next = 0;
  let missed = 0;
  const each = nanosecondsEach(LOOKUPS, () => {
    for (let left = LOOKUPS; left > 0; left -= BATCH) {
      for (let i = 0; i < BATCH; i++) {
        batch[i] = LIP_NETWORK + order[next];
        next = next + 1 === order.length ? 0 : next + 1;
        ends[LIP + 3] = batch[i];
        prefetch.setFlow(i, ends, LIP, SERVER, PORTS);
      }
      prefetch.run(BATCH);
      for (let i = 0; i < BATCH; i++) {
        ends[LIP + 3] = batch[i];
        if (flows.findFlow(ends, LIP, SERVER, PORTS, prefetch.hint(i)) === NONE) missed++;
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
