/** The order of measurements: each round visits every candidate once, so that changes of the machine reach all. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Candidate } from './candidates.js';
import { type Measurement, measure } from './measure.js';
import type { Options } from './options.js';
import type { LoadFigures, SoakFigures } from './results.js';
import type { Traffic } from './traffic.js';
import { residentBytes } from './usage.js';

/** Datagrams a second. */
const LATENCY_RATE = 2000;
const LATENCY: Traffic = { name: 'latency', size: 64, flows: 1, burst: 1, sender: 'sendmmsg' };
const SOAKED = ['shim', 'c-loop'];
const SOAK_TRAFFIC = ['plain-64', 'segments-64'];
const SOAK_SHARE = 0.8;
const SOAK_TRIALS = 5;
/** Memory is read when the traffic has ended for so long. */
const REST_MS = 300;

type Say = (text: string) => void;

export interface Bench {
  candidates: readonly Candidate[];
  directory: string;
  options: Options;
  /** Reports progress. */
  say: Say;
}

/** The capacity of all candidates. */
export async function measureLoad(bench: Bench, all: readonly Traffic[]): Promise<LoadFigures[]> {
  const figures: LoadFigures[] = [];
  for (const traffic of all)
    figures.push(...(await measureRounds(bench, traffic, { seconds: bench.options.seconds })));
  return figures;
}

/** The age of datagrams that come one by one, slowly. */
export function measureLatency(bench: Bench): Promise<LoadFigures[]> {
  const pace = { seconds: bench.options.seconds, rate: LATENCY_RATE, latency: true } as const;
  return measureRounds(bench, LATENCY, pace);
}

async function measureRounds(
  { candidates, directory, options, say }: Bench,
  traffic: Traffic,
  pace: Parameters<typeof measure>[2],
): Promise<LoadFigures[]> {
  const takers = candidates.filter(candidate => candidate.takes(traffic));
  const rounds = new Map<Candidate, Measurement[]>(takers.map(candidate => [candidate, []]));
  // The first round is not counted: it warms compilers and caches for this traffic.
  for (let round = 0; round <= options.rounds; round++) {
    say(`${traffic.name}: ${round === 0 ? 'warming up' : `round ${round} of ${options.rounds}`}`);
    for (let i = 0; i < takers.length; i++) {
      // Another candidate goes first each time, so that none always follows the same one.
      const candidate = takers[(i + round) % takers.length];
      const one = await measure(candidate, traffic, pace, directory, options);
      if (round > 0) rounds.get(candidate)?.push(one);
    }
  }
  return takers.map(candidate => ({
    candidate: candidate.name,
    traffic: traffic.name,
    rounds: rounds.get(candidate) ?? [],
  }));
}

/** A long time at a share of the capacity. */
export async function measureSoak(bench: Bench, all: readonly Traffic[]): Promise<SoakFigures[]> {
  const figures: SoakFigures[] = [];
  if (bench.options.soakSeconds === 0) return figures;
  for (const traffic of all.filter(({ name }) => SOAK_TRAFFIC.includes(name)))
    for (const candidate of bench.candidates.filter(({ name }) => SOAKED.includes(name)))
      figures.push(await soak(bench, candidate, traffic));
  return figures;
}

async function soak(
  { directory, options, say }: Bench,
  candidate: Candidate,
  traffic: Traffic,
): Promise<SoakFigures> {
  const { place, program } = candidate;
  if (program === undefined) throw new Error(`${candidate.name} is no process`);
  const seconds = options.soakSeconds;
  say(`${traffic.name}: ${candidate.name} for ${seconds} s`);
  // The machine's speed changes within minutes: the capacity is measured anew, and the lowest of several counts.
  const rates: number[] = [];
  for (let i = 0; i < SOAK_TRIALS; i++)
    rates.push((await measure(candidate, traffic, { seconds: options.seconds }, directory, options)).rate);
  const rate = Math.min(...rates) * SOAK_SHARE;
  const rssBefore = residentBytes(program.pid);
  const dropsBefore = place.tunDrops();
  const one = await measure(candidate, traffic, { seconds, rate }, directory, options);
  await sleep(REST_MS);
  return {
    candidate: candidate.name,
    traffic: traffic.name,
    seconds,
    rate,
    received: one.rate,
    sent: one.sent,
    lost: one.sent - one.received,
    tunDrops: place.tunDrops() - dropsBefore,
    socketDrops: one.socketDrops,
    rssBefore,
    rssAfter: residentBytes(program.pid),
  };
}
