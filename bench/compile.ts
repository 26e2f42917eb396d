/** Compiles the C programs into bench/build with `cc`, before each run. */
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const SOURCES = fileURLToPath(new URL('../native/', import.meta.url));
const BUILD = fileURLToPath(new URL('../build/', import.meta.url));

const PROGRAMS = {
  send: ['counts', 'lip-socket'],
  receive: ['counts'],
  mark: ['lip-socket'],
  'c-loop': ['tun'],
  'with-tun': ['tun'],
} as const;

export type ProgramName = keyof typeof PROGRAMS;

export function compileAll(): void {
  mkdirSync(BUILD, { recursive: true });
  for (const [name, parts] of Object.entries(PROGRAMS)) {
    const sources = [name, ...parts].map(part => `${SOURCES}${part}.c`);
    execFileSync('cc', ['-O2', '-pthread', '-Wall', '-Wextra', '-o', BUILD + name, ...sources], {
      stdio: 'inherit',
    });
  }
}

export function programPath(name: ProgramName): string {
  return BUILD + name;
}
