import type { FlowTable } from '../../../src/flow/table.js';
import { int32 } from './wire.js';

/** So many flows that a role looks ahead, at a whole batch. */
export const CROWD = 20_000;

/** Learns flows, up to 65535, that nobody hears of again: of 10.20.77.77 and a port each to 10.10.1.4:9000. */
export function learnCrowd(flows: FlowTable, count: number, now: number): void {
  const ends = int32('10.20.77.77', '10.10.1.4', '192.0.2.1');
  for (let i = 0; i < count; i++) {
    flows.setFlow(ends, 0, i, 4, 9000);
    flows.setClient(ends, 8, i + 1);
    flows.learn(1, now);
    flows.heard(flows.learned, now);
  }
}
