/** Runs all micro-benchmarks in several rounds, because a machine may be slow for a while. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { MicroFigure } from './micro/figure.js';
import { SCENARIOS } from './micro/scenarios.js';
import { median } from './statistics.js';

const CHILD = fileURLToPath(new URL('./micro/child.js', import.meta.url));

/** Compiled code differs from start to start. */
const STARTS = 5;

export function runMicro(isQuick: boolean, say: (text: string) => void): MicroFigure[] {
  const rounds = Array.from({ length: isQuick ? 1 : STARTS }, (_, round) => {
    say(`micro: round ${round + 1}`);
    return Object.keys(SCENARIOS).flatMap(name => runOne(name, isQuick));
  });
  return rounds[0].map((figure, i) => ({ ...figure, value: median(rounds.map(round => round[i].value)) }));
}

function runOne(name: string, isQuick: boolean): MicroFigure[] {
  const found = execFileSync(process.execPath, [CHILD, name, ...(isQuick ? ['quick'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(found.toString()) as MicroFigure[];
}
