/** Goals, and what was found. A missed goal is printed; the run does not fail. */
import type { Measurement } from './measure.js';
import type { MicroFigure } from './micro/figure.js';
import { find, type Goal, type LoadFigures, type Results, type SoakFigures } from './results.js';
import { median, pairedRatio } from './statistics.js';

const MEBIBYTE = 2 ** 20;

type Found = Pick<Results, 'load' | 'latency' | 'soak' | 'micro'>;
type Value = (one: Measurement) => number;

const rate: Value = one => one.rate;
const cpu: Value = one => one.cpu ?? Number.NaN;

export function judge({ load, latency, soak, micro }: Found): Goal[] {
  return [
    goal(
      'segments-64: shim, of the kernel’s rate',
      '>= 0.90',
      ratio(load, 'segments-64', 'shim', 'kernel', rate),
    ),
    goal(
      'segments-1200: shim, of the kernel’s rate',
      '>= 0.90',
      ratio(load, 'segments-1200', 'shim', 'kernel', rate),
    ),
    goal(
      'plain-64: shim-no-merge, of c-loop’s CPU',
      '<= 1.15',
      ratio(load, 'plain-64', 'shim-no-merge', 'c-loop', cpu),
    ),
    goal('plain-64: shim, of c-loop’s CPU', '< 0.80', ratio(load, 'plain-64', 'shim', 'c-loop', cpu)),
    goal('plain-64: shim, of fs-stream’s rate', '>= 10', ratio(load, 'plain-64', 'shim', 'fs-stream', rate)),
    goal('added p50: shim, of what c-loop adds', '<= 1.25', addedLatency(latency)),
    ...['plain-64', 'segments-64'].flatMap(traffic => soakGoals(soak, traffic)),
    goal('JavaScript, 1000 flows', '<= 100', figure(micro, 'inbound-1000/pipeline'), 'ns/packet'),
    goal('JavaScript, 1,000,000 flows', '<= 150', figure(micro, 'inbound-1000000/pipeline'), 'ns/packet'),
    goal('lookup: 1,000,000 flows, of 1000', '<= 3', quotient(micro, 'lookup-1000000', 'lookup-1000')),
    goal(
      'look-ups in batches: 1,000,000 flows, of 1000',
      '<= 3',
      quotient(micro, 'lookup-1000000/in batches', 'lookup-1000/in batches'),
    ),
    goal(
      'a packet’s JavaScript: 1,000,000 flows, of 1000',
      '<= 3',
      quotient(micro, 'inbound-1000000/pipeline', 'inbound-1000/pipeline'),
    ),
    goal('new flows', '>= 500000', figure(micro, 'learning'), 'flows/s'),
    goal('expiry of 1,000,000 flows: longest tick', '<= 5', figure(micro, 'expiry/longest tick'), 'ms'),
  ];
}

function soakGoals(soak: readonly SoakFigures[], traffic: string): Goal[] {
  const one = soak.find(({ candidate, traffic: name }) => candidate === 'shim' && name === traffic);
  const grown = one === undefined ? null : (one.rssAfter - one.rssBefore) / MEBIBYTE;
  const where = `${traffic} at 80 % for ${one?.seconds ?? 60} s`;
  return [
    goal(`${where}: shim, lost`, '<= 0', one?.lost ?? null, 'datagrams'),
    goal(`${where}: shim, memory grown by`, '<= 2', grown, 'MiB'),
  ];
}

function goal(what: string, wanted: string, found: number | null, unit = ''): Goal {
  const [sign, limit] = wanted.split(' ');
  return { what, wanted, found, unit, met: found === null ? null : holds(found, sign, Number(limit)) };
}

function holds(found: number, sign: string, limit: number): boolean {
  switch (sign) {
    case '<':
      return found < limit;
    case '<=':
      return found <= limit;
    default:
      return found >= limit;
  }
}

function ratio(
  load: readonly LoadFigures[],
  traffic: string,
  a: string,
  b: string,
  value: Value,
): number | null {
  const [first, second] = [find(load, a, traffic), find(load, b, traffic)];
  if (first.length === 0 || second.length === 0) return null;
  return pairedRatio(first.map(value), second.map(value)).median;
}

function addedLatency(latency: readonly LoadFigures[]): number | null {
  const [kernel, shim, loop] = ['kernel', 'shim', 'c-loop'].map(name => {
    const rounds = find(latency, name, 'latency');
    return rounds.length === 0 ? null : median(rounds.map(one => one.latency?.p50 ?? Number.NaN));
  });
  return kernel === null || shim === null || loop === null ? null : (shim - kernel) / (loop - kernel);
}

function figure(micro: readonly MicroFigure[], name: string): number | null {
  return micro.find(one => one.name === name)?.value ?? null;
}

function quotient(micro: readonly MicroFigure[], a: string, b: string): number | null {
  const [first, second] = [figure(micro, a), figure(micro, b)];
  return first === null || second === null ? null : first / second;
}
