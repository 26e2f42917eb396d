/** For tests that run inside a network namespace as a whole: another test starts them there. */
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: { include: ['test/netns/**/*.inside.ts'], testTimeout: 60_000 },
});
