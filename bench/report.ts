/** The results as text. */
import type { Measurement } from './measure.js';
import type { MicroFigure } from './micro/figure.js';
import {
  find,
  type Goal,
  type LoadFigures,
  type Results,
  type SetUpFigures,
  type SoakFigures,
} from './results.js';
import { median, pairedRatio, type Spread, spread } from './statistics.js';
import { describeTraffic } from './traffic.js';

const MEBIBYTE = 2 ** 20;
const NONE = '-';

type Row = readonly string[];

export function report(results: Results): string {
  const { machine, options, version } = results;
  return [
    `uoa-shim ${version}; ${machine.cpu}, ${machine.cores} cores, ${machine.kernel}, Node.js ${machine.node}`,
    `medians of ${options.rounds} rounds of ${options.seconds} s, in brackets the lowest and the highest`,
    ...results.traffic.map(traffic =>
      heading(describeTraffic(traffic), loadTable(results.load, traffic.name)),
    ),
    heading('64 B, 1 flow, 2000 datagrams a second: age at the receiver', latencyTable(results.latency)),
    heading('at 80 % of what they can', soakTable(results.soak)),
    heading('new flows at the load balancer, a mark on each', setUpTable(results.setUp)),
    heading('memory that they hold', memoryTable(results.candidates)),
    reportMicro(results.micro),
    reportGoals(results.goals),
  ]
    .filter(text => text !== '')
    .join('\n\n');
}

export function reportMicro(micro: readonly MicroFigure[]): string {
  return heading(
    'JavaScript alone',
    micro.length === 0
      ? ''
      : table([['', '', ''], ...micro.map(({ name, value, unit }) => [name, number(value), unit])]),
  );
}

export function reportGoals(goals: readonly Goal[]): string {
  const measured = goals.filter(({ met }) => met !== null);
  const rows = measured.map(({ what, wanted, found, unit, met }) => [
    met ? 'met' : 'MISSED',
    what,
    found === null ? NONE : number(found),
    wanted,
    unit,
  ]);
  return heading('goals', rows.length === 0 ? '' : table([['', '', 'found', 'wanted', ''], ...rows]));
}

function heading(title: string, text: string): string {
  return text === '' ? '' : `${title}\n${text}`;
}

function loadTable(load: readonly LoadFigures[], traffic: string): string {
  const kernel = find(load, 'kernel', traffic);
  const loop = find(load, 'c-loop', traffic);
  const rows = load
    .filter(figures => figures.traffic === traffic)
    .map(({ candidate, rounds }) => [
      candidate,
      withSpread(spread(rounds.map(one => one.rate / 1000))),
      ratioTo(rounds, kernel, one => one.rate),
      number(median(rounds.map(one => one.loss))),
      rounds[0].cpu === null ? NONE : number(median(rounds.map(one => one.cpu ?? Number.NaN))),
      rounds[0].cpu === null ? NONE : ratioTo(rounds, loop, one => one.cpu ?? Number.NaN),
      strangersIn(rounds),
    ]);
  const head = ['', 'kpps', 'of kernel', 'loss %', 'CPU ns/packet', 'of c-loop', 'wrong sources'];
  return rows.length === 0 ? '' : table([head, ...rows]);
}

function setUpTable(figures: readonly SetUpFigures[]): string {
  const rates = (candidate: string) =>
    figures.find(one => one.candidate === candidate)?.rounds.map(({ rate }) => rate) ?? [];
  const rows = figures.map(({ candidate, rounds }) => [
    candidate,
    withSpread(spread(rounds.map(({ rate }) => rate / 1000))),
    withSpread(pairedRatio(rates(candidate), rates('kernel'))),
    number(median(rounds.map(({ loss }) => loss))),
    number(median(rounds.map(({ marked }) => marked))),
    rounds[0].cpu === null ? NONE : number(median(rounds.map(({ cpu }) => cpu ?? Number.NaN))),
  ]);
  const head = ['', '1000 flows/s', 'of kernel', 'loss %', 'marked %', 'CPU ns/flow'];
  return rows.length === 0 ? '' : table([head, ...rows]);
}

function latencyTable(latency: readonly LoadFigures[]): string {
  const p50 = (rounds: readonly Measurement[]): number[] => rounds.map(one => one.latency?.p50 ?? Number.NaN);
  const kernel = find(latency, 'kernel', 'latency');
  const rows = latency.map(({ candidate, rounds }) => [
    candidate,
    withSpread(spread(p50(rounds))),
    withSpread(spread(rounds.map(one => one.latency?.p99 ?? Number.NaN))),
    kernel.length === 0 ? NONE : number(median(p50(rounds)) - median(p50(kernel))),
  ]);
  return rows.length === 0 ? '' : table([['', 'p50 µs', 'p99 µs', 'added p50'], ...rows]);
}

function soakTable(soak: readonly SoakFigures[]): string {
  const rows = soak.map(one => [
    `${one.candidate}, ${one.traffic}`,
    number(one.seconds),
    number(one.received / 1000),
    String(one.lost),
    `${one.tunDrops}, ${one.socketDrops}`,
    `${mebibytes(one.rssBefore)} -> ${mebibytes(one.rssAfter)}`,
  ]);
  return rows.length === 0 ? '' : table([['', 's', 'kpps', 'lost', 'in TUN, in socket', 'RSS MiB'], ...rows]);
}

function memoryTable(candidates: Results['candidates']): string {
  const rows = candidates.flatMap(({ name, rssBefore, rssAfter }) =>
    rssBefore === null || rssAfter === null ? [] : [[name, mebibytes(rssBefore), mebibytes(rssAfter)]],
  );
  return rows.length === 0 ? '' : table([['', 'RSS before MiB', 'after'], ...rows]);
}

function ratioTo(
  rounds: readonly Measurement[],
  base: readonly Measurement[],
  value: (one: Measurement) => number,
): string {
  if (base.length === 0) return NONE;
  return withSpread(pairedRatio(rounds.map(value), base.map(value)));
}

function strangersIn(rounds: readonly Measurement[]): string {
  const count = (name: 'strangers' | 'looks'): number => rounds.reduce((sum, one) => sum + one[name], 0);
  return `${count('strangers')} of ${count('looks')}`;
}

function withSpread({ median, low, high }: Spread): string {
  return `${number(median)} (${number(low)}-${number(high)})`;
}

function mebibytes(bytes: number): string {
  return number(bytes / MEBIBYTE);
}

/** Three digits, at least. */
function number(value: number): string {
  if (Math.abs(value) >= 100) return String(Math.round(value));
  return String(Number(value.toPrecision(3)));
}

/** Columns as wide as they need be, the first one to the left. */
function table(rows: readonly Row[]): string {
  const widths = rows[0].map((_, k) => Math.max(...rows.map(row => row[k].length)));
  return rows
    .map(row =>
      row.map((cell, k) => (k === 0 ? cell.padEnd(widths[k]) : cell.padStart(widths[k]))).join('  '),
    )
    .filter(line => line.trim() !== '')
    .map(line => `  ${line}`.trimEnd())
    .join('\n');
}
