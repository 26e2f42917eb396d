/** Rules for ports: `N`, `"N-M"` or `"any"`. */
import { notBuilt } from './faults.js';
import { rule, type ValueRule } from './rules.js';

export interface PortRange {
  /** First and last port; 0 and 65535 stand for any. */
  from: number;
  to: number;
}

const ANY: PortRange = { from: 0, to: 65535 };
const LAST = 65535;

/** Reads one port or more; undefined if the value is none. */
export function readPorts(value: unknown): PortRange | undefined {
  if (value === 'any') return ANY;
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(typeof value === 'number' ? String(value) : text(value));
  if (match === null) return undefined;
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  return from >= 1 && from <= to && to <= LAST ? { from, to } : undefined;
}

export function overlap(one: PortRange, other: PortRange): boolean {
  return one.from <= other.to && other.from <= one.to;
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

export const ports = rule(
  'a port from 1 to 65535, a range such as "5000-5999", or "any"',
  value => readPorts(value) !== undefined,
);

/** Reads a single port; undefined if the value is none, or more than one. */
export function readPort(value: unknown): number | undefined {
  const range = readPorts(value);
  return range?.from === range?.to ? range?.from : undefined;
}

const ONE_PORT = 'a port from 1 to 65535';

export const port: ValueRule = (key, value) => {
  if (readPort(value) !== undefined) return [];
  return [
    readPorts(value) === undefined ? { key, value, allowed: ONE_PORT } : notBuilt(key, value, ONE_PORT),
  ];
};
