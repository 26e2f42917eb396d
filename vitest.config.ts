import { availableParallelism } from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts', 'test/property/**/*.test.ts'],
          // A guard against hanging, with room for a busy machine.
          testTimeout: 120_000,
          // No file leaves anything behind in the process, so that files can share one: starting one for each takes longer
          // than most files run.
          isolate: false,
        },
      },
      {
        test: {
          name: 'netns',
          include: ['test/netns/**/*.test.ts'],
          // Each file makes its own namespaces; processes inside them take their time to come up.
          testTimeout: 60_000,
          hookTimeout: 60_000,
          // They wait for a third of their time.
          maxWorkers: Math.ceil(1.5 * availableParallelism()),
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
