/** The flow table alone. */
import { LB, learnFlows, makeEnds, makeKit, nanosecondsEach, SERVER } from './kit.js';
import { LIP_NETWORK, LIP_PORT, RPORT, shuffled } from './packets.js';
import type { MicroFigure } from './scenarios.js';

const LOOKUPS = 1_000_000;

/** Looks flows up, each another one than before: with many of them, in memory that no cache holds. */
export function lookups(flowCount: number): MicroFigure[] {
  const kit = makeKit();
  const order = shuffled(flowCount);
  learnFlows(kit, shuffled(flowCount));
  const { flows } = kit;
  const ends = makeEnds();
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
