/** All micro-benchmarks, one after the other. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { median } from '../statistics.js';
import { type MicroFigure, SCENARIOS } from './scenarios.js';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));

/** What the compiler makes of it differs from start to start. */
const STARTS = 3;

export function runMicro(isQuick: boolean, say: (text: string) => void): MicroFigure[] {
  return Object.keys(SCENARIOS).flatMap(name => {
    say(`micro: ${name}`);
    const starts = Array.from({ length: isQuick ? 1 : STARTS }, () => runOne(name, isQuick));
    return starts[0].map((figure, i) => ({ ...figure, value: median(starts.map(start => start[i].value)) }));
  });
}

function runOne(name: string, isQuick: boolean): MicroFigure[] {
  const found = execFileSync(process.execPath, [CHILD, name, ...(isQuick ? ['quick'] : [])], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return JSON.parse(found.toString()) as MicroFigure[];
}
