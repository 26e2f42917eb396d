/** A lab, a load balancer and a shim for a group of tests: made before them, gone after them however they went. */
import { afterAll, beforeAll } from 'vitest';
import { Lab, type LabOptions } from './netns.js';
import { Shim, type ShimOptions } from './shim.js';
import { Wire } from './wire.js';

export interface Bench {
  lab: Lab;
  wire: Wire;
  shim: Shim;
}

export interface BenchOptions {
  lab?: LabOptions;
  shim?: ShimOptions;
  /** Before the shim starts: applications, or what happens without it. */
  prepare?: (bench: Bench) => Promise<void>;
}

/** To be called inside `describe`; what it returns is filled in once the tests run. */
export function useBench(options: BenchOptions = {}): Bench {
  const bench = {} as Bench;
  beforeAll(async () => {
    bench.lab = await Lab.create(options.lab);
    bench.wire = await Wire.besideLab(bench.lab);
    bench.shim = new Shim(bench.lab.rs, options.shim);
    await options.prepare?.(bench);
    await bench.shim.start();
  });
  afterAll(async () => {
    await bench.shim?.dispose();
    await bench.lab?.delete();
  });
  return bench;
}
