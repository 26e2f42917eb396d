/** The hot path makes no garbage: a million packets, and the collector never runs. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CROWD } from '../support/crowd.js';

const ROOT = resolve(import.meta.dirname, '../../..');
const PACKETS = 1_000_000;

interface Result {
  collections: number;
  /** What the heap grew by. */
  bytes: number;
  delivered: number;
  standalone: number;
  saved: number;
  acks: number;
  replies: number;
  passed: number;
  evicted: number;
}

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'uoa-shim-garbage-'));
  // Compiled here, by the project's own settings: what `dist` holds may be of another day.
  const settings = {
    extends: join(ROOT, 'tsconfig.json'),
    compilerOptions: {
      composite: false,
      declaration: false,
      rootDir: ROOT,
      outDir: directory,
      noCheck: true,
      typeRoots: [join(ROOT, 'node_modules/@types')],
    },
    include: [],
    exclude: [],
    references: [],
    files: [join(ROOT, 'test/unit/support/million-packets.ts')],
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(settings));
  writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
  execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', directory]);
}, 60_000);

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

function run(...args: (string | number)[]): Result {
  const script = join(directory, 'test/unit/support/million-packets.js');
  return JSON.parse(execFileSync(process.execPath, [script, ...args.map(String)], { encoding: 'utf8' }));
}

it('a million packets of a thousand flows make no garbage', { timeout: 60_000 }, () => {
  const result = run(PACKETS, 2048);
  expect(result.collections).toBe(0);
  // The engine's own notes take some; the smallest object per batch would take more.
  expect(result.bytes).toBeLessThan(PACKETS);
  // It did what it was there for.
  expect(result.delivered + result.standalone + result.replies + result.passed).toBe(PACKETS);
  expect(result.saved).toBeGreaterThan(PACKETS / 4);
  expect(result.acks).toBeGreaterThan(PACKETS / 4);
  expect(result.replies).toBeGreaterThan(PACKETS / 4);
  expect(result.standalone).toBeGreaterThan(PACKETS / 30);
  expect(result.evicted).toBe(0);
});

it('packets of so many flows that they are prefetched make no garbage', { timeout: 60_000 }, () => {
  const result = run(PACKETS / 4, CROWD + 2048, 'crowded');
  expect(result.collections).toBe(0);
  expect(result.replies).toBeGreaterThan(PACKETS / 16);
  expect(result.evicted).toBe(0);
});

it('packets of new flows that evict others make no garbage', { timeout: 60_000 }, () => {
  const result = run(PACKETS / 4, 500);
  expect(result.collections).toBe(0);
  expect(result.evicted).toBeGreaterThan(PACKETS / 20);
});

it('an object per packet would be noticed: the collector runs', { timeout: 60_000 }, () => {
  expect(run(PACKETS, 2048, 'wasteful').collections).toBeGreaterThan(0);
});
