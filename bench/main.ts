#!/usr/bin/env node
/** Measures the kernel's own speed and the shim's, side by side: bench/README.md. */
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { VERSION } from '#shim/version.js';
import { type Candidate, startCandidates } from './candidates.js';
import { compileAll } from './compile.js';
import { judge } from './goals.js';
import { PREFIX, removeAllNamespaces, removeLeftovers } from './namespaces.js';
import { type Options, readOptions } from './options.js';
import { endAllNow } from './program.js';
import { report } from './report.js';
import { describeMachine, type Results } from './results.js';
import { type Bench, measureLatency, measureLoad, measureSoak } from './rounds.js';
import { runMicro } from './run-micro.js';
import { measureSetUp } from './set-up.js';
import { allTraffic } from './traffic.js';
import { residentBytes } from './usage.js';

const beganMs = Date.now();

function say(text: string): void {
  process.stderr.write(`${((Date.now() - beganMs) / 1000).toFixed(0).padStart(5)} s  ${text}\n`);
}

function demand(options: Options): void {
  if (process.getuid?.() !== 0) throw new Error('network namespaces need root');
  if (cpus().length <= Math.max(options.loadCore, options.shimCore))
    throw new Error(`--cores ${options.loadCore},${options.shimCore}: this machine has ${cpus().length}`);
  accessSync('/dev/net/tun', constants.R_OK);
}

async function run(options: Options, directory: string): Promise<Results> {
  const traffic = allTraffic(options);
  const micro = options.micro ? runMicro(options.quick, say) : [];
  say('starting the candidates');
  removeLeftovers();
  const candidates = await startCandidates(directory, options);
  const bench: Bench = { candidates, directory, options, say };
  const rssBefore = candidates.map(resident);
  const load = await measureLoad(bench, traffic);
  const latency = await measureLatency(bench);
  const soak = await measureSoak(bench, traffic);
  const memory = candidates.map(resident);
  say('taking down');
  for (const candidate of candidates) await candidate.end();
  const setUp = options.setUp ? await measureSetUp(options, directory, say) : [];
  const found = { load, latency, soak, setUp, micro };
  const { out: _, ...settings } = options;
  const results: Results = {
    machine: describeMachine(),
    version: VERSION,
    options: settings,
    traffic,
    candidates: candidates.map((candidate, i) => ({
      name: candidate.name,
      about: candidate.about,
      rssBefore: rssBefore[i],
      rssAfter: memory[i],
    })),
    ...found,
    goals: judge(found),
  };
  return results;
}

function resident({ program }: Candidate): number | null {
  return program === undefined ? null : residentBytes(program.pid);
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  demand(options);
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  process.on('exit', () => {
    endAllNow();
    removeAllNamespaces();
    rmSync(directory, { recursive: true, force: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(1));
  compileAll();
  const results = await run(options, directory);
  mkdirSync(dirname(options.out), { recursive: true });
  writeFileSync(options.out, `${JSON.stringify(results, null, 1)}\n`);
  process.stdout.write(`${report(results)}\n\nwritten to ${options.out}\n`);
}

main().catch((error: Error) => {
  process.stderr.write(`bench: ${error.message}\n`);
  process.exit(1);
});
