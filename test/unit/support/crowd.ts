import { flowPorts } from '../../../src/flow/records.js';
import type { FlowTable } from '../../../src/flow/table.js';
import { int32 } from './wire.js';

/** So many flows that a role looks ahead, at a whole batch. */
export const CROWD = 20_000;

/** Learns flows, up to 65535, that nobody hears of again: of 10.20.77.77 and a port each to 10.10.1.4:9000. */
export function learnCrowd(flows: FlowTable, count: number, now: number): void {
  const ends = int32('10.20.77.77', '10.10.1.4');
  const client = { words: int32('192.0.2.1'), port: 0 };
  for (let i = 0; i < count; i++) {
    client.port = i + 1;
    const { flow } = flows.learn(ends, 0, 4, flowPorts(i, 9000), client, 1, now);
    flows.recordInbound(flow, now);
  }
}
