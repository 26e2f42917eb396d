import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { downScript, upScript } from '../../../../src/host/plan/script.js';
import { plan, scripts, serving } from '../../support/load-balancer-plan.js';

test('a shell that runs the script gives nft its rules to the letter, and runs nothing that an interface’s name says', () => {
  const directory = mkdtempSync(join(tmpdir(), 'uoa-shim-plan-'));
  try {
    // Each program notes its arguments, one a line, and what it was given to read.
    for (const program of ['ip', 'nft', 'sysctl'])
      writeFileSync(
        join(directory, program),
        `#!/bin/sh\n{ echo "${program}"; for a in "$@"; do echo "<$a>"; done; [ ${program} != nft ] || cat; } >> "$LOG"\n`,
        { mode: 0o755 },
      );
    const changes = plan(
      { tun: { name: "a';reboot;'", address: '192.0.2.254/32' } },
      {
        servers: [serving('$(reboot)')],
        clients: [serving('END`reboot`')],
      },
    );
    const [refusal, tables] = scripts(changes);
    for (const [script, expected] of [
      [upScript(changes), [refusal.up, tables.up]],
      [downScript(changes), [tables.down, refusal.down]],
    ] as const) {
      const log = join(directory, 'log');
      const { status, stderr } = spawnSync('/bin/sh', [], {
        input: script,
        encoding: 'utf8',
        env: { PATH: `${directory}:/usr/bin:/bin`, LOG: log },
      });
      expect([status, stderr]).toEqual([0, '']);
      const runs = readFileSync(log, 'utf8').split(/^(?=(?:ip|nft|sysctl)\n)/m);
      rmSync(log);
      expect(runs.filter(run => run.startsWith('nft\n'))).toEqual(
        expected.map(text => `nft\n<-f>\n<->\n${text}\n`),
      );
      expect(
        runs.some(run => run.includes("<a';reboot;'>") || run.includes('conf.$(reboot).forwarding')),
      ).toBe(true);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
