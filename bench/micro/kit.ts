/** A real server's role with a table of flows, and a stopwatch. */
import { flowPorts } from '#shim/flow/records.js';
import { FlowTable } from '#shim/flow/table.js';
import { native } from '#shim/io/native.js';
import { Counter, type Counters, makeCounters } from '#shim/role/counters.js';
import { RealServerRole } from '#shim/role/real-server/role.js';
import {
  CLIENT_NETWORK,
  CLIENT_PORT,
  type Family,
  LIP_NETWORK,
  LIP_PORT,
  NETWORK,
  RIP,
  RPORT,
} from './packets.js';

/** `run-micro.ts` passes `--quick` on. */
const IS_QUICK = process.argv.includes('quick');
const SAMPLES = IS_QUICK ? 3 : 9;
const WARM_UPS = IS_QUICK ? 1 : 2;
export const TIMEOUT_MS = 360_000;
/** The default of realServer.maxFlows, enough for a million. */
export const MAX_FLOWS = 1_048_576;

export interface Kit {
  family: Family;
  role: RealServerRole;
  flows: FlowTable;
  counters: Counters;
  bytes: number;
}

/** As the daemon makes them: shared memory, in large pages where the kernel has them. */
export function makeKit(family: Family = 4): Kit {
  const timeout = { unansweredMs: TIMEOUT_MS, answeredMs: TIMEOUT_MS };
  const table = { maxFlows: MAX_FLOWS, timeoutMs: TIMEOUT_MS, routesReplies: true, seed: 1 };
  const memory = new SharedArrayBuffer(FlowTable.byteLength(table));
  native.adviseHugePages(new Uint8Array(memory));
  const flows = FlowTable.create(memory, table, 0);
  const counters = makeCounters();
  const prefix = { words: [...NETWORK[family], LIP_NETWORK], length: 96 + 8 };
  const server = [...NETWORK[family], RIP];
  const options = {
    loadBalancers: [{ prefix, ack: true, ask: true, deliverEmpty: false, timeout }],
    services: [{ words: server, from: RPORT, to: RPORT }],
    ownAddresses: [],
    wildcardSources: [server],
    translates: false,
  };
  return {
    family,
    role: new RealServerRole(options, flows, counters, () => {}, 1),
    flows,
    counters,
    bytes: memory.byteLength,
  };
}

/** The ends of a flow in `makeEnds`: word indexes. */
export const LIP = 0;
export const SERVER = 4;
export const PORTS = flowPorts(LIP_PORT, RPORT);

/** The two ends of a flow, as words. */
export function makeEnds(family: Family): Int32Array {
  const network = NETWORK[family];
  return Int32Array.of(...network, 0, ...network, RIP);
}

/** Adds flows to the table without packets. */
export function learnFlows({ flows, family }: Kit, order: Uint32Array): void {
  const ends = makeEnds(family);
  const client = { words: Int32Array.of(...NETWORK[family], 0), port: CLIENT_PORT };
  for (const flow of order) {
    ends[LIP + 3] = LIP_NETWORK + flow;
    client.words[3] = CLIENT_NETWORK + flow;
    const learned = flows.learn(ends, LIP, SERVER, PORTS, client, 1, 0);
    flows.recordInbound(learned.flow, 0);
  }
}

/** Milliseconds of CPU of this process. Other work on the machine does not count. */
export function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/**
 * Nanoseconds for one of `count` when `act` does all of them. The fastest of several samples counts, after some to warm
 * up: what shares the processor can only slow a sample down.
 */
export function nanosecondsEach(count: number, act: () => void): number {
  const samples: number[] = [];
  for (let i = -WARM_UPS; i < SAMPLES; i++) {
    const begin = cpuMilliseconds();
    act();
    if (i >= 0) samples.push(((cpuMilliseconds() - begin) * 1e6) / count);
  }
  return Math.min(...samples);
}

/** Throws if a benchmark does not do what it says. */
export function expectCount(counters: Counters, name: keyof typeof Counter, least: number): void {
  const found = counters[Counter[name]];
  if (found < least) throw new Error(`${name} is ${found}, not ${least}: this measures something else`);
}
