/** All micro-benchmarks, one after the other. */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type MicroFigure, SCENARIOS } from './scenarios.js';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));

export function runMicro(isQuick: boolean, say: (text: string) => void): MicroFigure[] {
  return Object.keys(SCENARIOS).flatMap(name => {
    say(`micro: ${name}`);
    const found = execFileSync(process.execPath, [CHILD, name, ...(isQuick ? ['quick'] : [])], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    return JSON.parse(found.toString()) as MicroFigure[];
  });
}
