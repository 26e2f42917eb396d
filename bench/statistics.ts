/** Medians and spreads. */

export interface Spread {
  median: number;
  low: number;
  high: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >>> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), low: Math.min(...values), high: Math.max(...values) };
}

/** `a` divided by `b`, round by round: within a round the machine is equally fast for both. */
export function pairedRatio(a: readonly number[], b: readonly number[]): Spread {
  return spread(a.map((value, i) => value / b[i]));
}
