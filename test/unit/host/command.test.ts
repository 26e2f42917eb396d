import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { OperatorError } from '../../../src/errors.js';
import { run, runChecked } from '../../../src/host/command.js';
import { FakePrograms } from '../support/fake-programs.js';

let programs: FakePrograms;

beforeEach(() => {
  programs = new FakePrograms();
});
afterEach(() => {
  vi.unstubAllEnvs();
  programs.remove();
});

describe('a program of the host', () => {
  it('is run without a translation of its messages, and with the rest of the environment', async () => {
    programs.add('ip', { 'rule show': '0: from all lookup local' });
    vi.stubEnv('LC_ALL', 'de_DE.UTF-8');
    expect(await run('ip', ['rule', 'show'])).toMatchObject({
      status: 0,
      stdout: '0: from all lookup local',
    });
    expect(programs.environment()).toContain('LC_ALL=C');
    expect(programs.environment()).toContain(`PATH=${process.env.PATH}`);
  });

  it('that fails is an error with its command and its message', async () => {
    programs.add('ip', {});
    await expect(runChecked('ip', ['route', 'show'])).rejects.toThrow(
      'ip route show: RTNETLINK answers: Network is unreachable',
    );
  });

  it('that is not installed is an error with the package to install', async () => {
    vi.stubEnv('PATH', '/nowhere');
    const failing = run('nft', ['list', 'ruleset']);
    await expect(failing).rejects.toThrow('nft is not installed; install the package nftables');
    await expect(failing).rejects.toBeInstanceOf(OperatorError);
  });
});
