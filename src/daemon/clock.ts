import type { Ticks } from '../codec/units.js';

/** The time in the data plane's ticks: CLOCK_MONOTONIC in milliseconds, the low 32 bits. */
export function ticks(): Ticks {
  return Number(BigInt.asIntN(32, process.hrtime.bigint() / 1_000_000n));
}
