/** Tests that run inside a network namespace as a whole, because what they test has no process of its own. */
import { resolve } from 'node:path';
import { expect } from 'vitest';
import type { Namespace } from './netns.js';

const ROOT = resolve(import.meta.dirname, '../..');
const VITEST = resolve(ROOT, 'node_modules/vitest/vitest.mjs');

/** Runs the tests of `test/netns/**` in the file `name`.inside.ts in a namespace: all of them have to pass. */
export async function passesInside(namespace: Namespace, name: string): Promise<void> {
  const tests = ['--root', ROOT, '--config', 'test/support/inside.config.ts', `/${name}.inside.ts`];
  const { code, stdout, stderr } = await namespace.run([process.execPath, VITEST, 'run', ...tests]);
  expect(code, `${stdout}${stderr}`).toBe(0);
  expect(stdout).toMatch(/Tests .* passed/);
}
