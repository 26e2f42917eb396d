/** What a run found: the shape of its JSON file. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { Measurement } from './measure.js';
import type { MicroFigure } from './micro/figure.js';
import type { Options } from './options.js';
import type { Traffic } from './traffic.js';

export interface LoadFigures {
  candidate: string;
  traffic: string;
  /** In the order of the rounds. All candidates have the same rounds. */
  rounds: Measurement[];
}

export interface SoakFigures {
  candidate: string;
  traffic: string;
  seconds: number;
  /** Datagrams a second that were to be sent. */
  rate: number;
  /** Datagrams a second that were received. */
  received: number;
  sent: number;
  lost: number;
  /** Those of them that the TUN's queue, and the application's socket, had no space for. */
  tunDrops: number;
  socketDrops: number;
  /** Bytes of memory. */
  rssBefore: number;
  rssAfter: number;
}

/** New flows at the load balancer. */
export interface SetUpFigures {
  candidate: string;
  rounds: SetUpRound[];
}

export interface SetUpRound {
  /** Flows a second. */
  rate: number;
  /** Percent of the datagrams that never came. */
  loss: number;
  /** Percent of the datagrams that got a mark. */
  marked: number;
  /** Nanoseconds of the shim's CPU per flow. */
  cpu: number | null;
}

export interface Goal {
  what: string;
  /** Such as `<= 1.25`. */
  wanted: string;
  /** null: not measured. */
  found: number | null;
  unit: string;
  met: boolean | null;
}

export interface Results {
  machine: { cpu: string; cores: number; kernel: string; node: string };
  version: string;
  options: Omit<Options, 'out'>;
  traffic: Traffic[];
  candidates: { name: string; about: string; rssBefore: number | null; rssAfter: number | null }[];
  load: LoadFigures[];
  latency: LoadFigures[];
  soak: SoakFigures[];
  setUp: SetUpFigures[];
  micro: MicroFigure[];
  goals: Goal[];
}

export function describeMachine(): Results['machine'] {
  const kernel = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').slice(0, 2).join('.');
  const [{ model }] = cpus();
  return { cpu: model, cores: cpus().length, kernel: `Linux ${kernel}`, node: process.version };
}

/** A candidate's rounds with this traffic, if it was measured. */
export function find(figures: readonly LoadFigures[], candidate: string, traffic: string): Measurement[] {
  return figures.find(one => one.candidate === candidate && one.traffic === traffic)?.rounds ?? [];
}
