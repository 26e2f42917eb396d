/** What tests of the load balancer do the same way in either family of addresses, with either carrier. */
import { beforeAll } from 'vitest';
import type { LbBench } from './lb-bench.js';
import { LIP, LIP_2, LIP6, LIP6_2, PORT, RIPS, RIPS6, VIP, VIP6 } from './lb-lab.js';
import { type Carrier, endpoint, type Mark } from './wire.js';

export interface Side {
  family: 4 | 6;
  /** In use; and all that there are. */
  carrier: Carrier;
  carriers: readonly Carrier[];
  vip: string;
  lips: readonly string[];
  rips: readonly string[];
  /** Port 7001 for the first RS and 7002 for the second one: where clients talk to, and the services for that. */
  targets: readonly string[];
  services: object[];
  freshClient: (bench: LbBench) => string;
}

function sidesOf(side: Pick<Side, 'family' | 'carriers' | 'vip' | 'lips' | 'rips' | 'freshClient'>): Side[] {
  const { vip, rips, carriers } = side;
  const services = rips.map((address, n) => ({
    ...{ vip, port: 7001 + n },
    realServers: [{ address, port: PORT }],
  }));
  const targets = rips.map((_, n) => endpoint(vip, 7001 + n));
  return carriers.map(carrier => ({ ...side, carrier, targets, services }));
}

export const SIDES: readonly Side[] = [
  ...sidesOf({
    ...{ family: 4, carriers: ['ipo', 'opp'], vip: VIP, lips: [LIP, LIP_2], rips: RIPS },
    freshClient: bench => bench.freshClient(),
  }),
  ...sidesOf({
    ...{ family: 6, carriers: ['dstopt', 'opp'], vip: VIP6, lips: [LIP6, LIP6_2], rips: RIPS6 },
    freshClient: bench => bench.freshClient6(),
  }),
];

/** For a group of tests about a side, inside one with a bench for all: the LB's shim has the side's configuration. */
export function useSide(bench: LbBench, { carrier, services }: Side, more: object = {}): void {
  beforeAll(() => bench.reload({ carrier, services, ...more }));
}

/** Whose a mark is; without one there is no telling. */
export function nameOf(found: Mark | null | undefined): string | undefined {
  return found ? endpoint(found.client, found.port) : undefined;
}

/** The address of "address:port" or "[address]:port", in brackets if it was. */
export function addressOf(name: string): string {
  return name.slice(0, name.lastIndexOf(':'));
}
