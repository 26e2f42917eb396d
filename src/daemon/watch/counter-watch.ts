/** Warnings from the counters: a busy data plane can't log each packet that goes wrong. */
import type { HostLog } from '../../host/log.js';
import type { Teardown } from '../lifecycle.js';
import type { RoleCounters } from '../roles/kit.js';

const INTERVAL_MS = 10_000;

/** Logs one line now and then, about all the worrying counters that have gone up since the line before. */
export function watchCounters(
  worrying: RoleCounters['worrying'],
  read: () => Record<string, number>,
  log: HostLog,
): Teardown {
  let before = read();
  const timer = setInterval(() => {
    const now = read();
    const warning = describeRises(worrying, before, now);
    before = now;
    if (warning !== '') log.warn(warning);
  }, INTERVAL_MS);
  return () => clearInterval(timer);
}

/** What went up between two readings of the counters, in words; '' if nothing did. */
function describeRises(
  worrying: RoleCounters['worrying'],
  before: Readonly<Record<string, number>>,
  now: Readonly<Record<string, number>>,
): string {
  return worrying
    .map(([name, words]) => ({ count: now[name] - before[name], words }))
    .filter(({ count }) => count > 0)
    .map(({ count, words }) => `${count} ${words}`)
    .join(', ');
}
