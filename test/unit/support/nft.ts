/** The real nft, in a network namespace of its own: whether it takes rules, and what is left of them. */
import { spawnSync } from 'node:child_process';

/** Devices by the names given, then `$UP` twice and `$DOWN` twice; prints what is there after each pair. */
const LOADING = `
set -e
i=0
for name in "$@"; do i=$((i + 1)); ip link add dev "$name" type veth peer name "peer$i"; done
load() { printf '%s\\n' "$1" | nft -f -; }
printf '%s\\n' "$UP" | nft -c -f -
load "$UP"; load "$UP"; nft list ruleset
echo ----
load "$DOWN"; load "$DOWN"; nft list ruleset
`;

/** Runs a script for the shell in a network namespace of its own, which is gone afterwards. */
function inNamespace(script: string, names: readonly string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr, error } = spawnSync('unshare', ['-n', 'sh', '-c', script, 'sh', ...names], {
    env: { ...process.env, ...env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    encoding: 'utf8',
  });
  return { status, stdout, stderr: error?.message ?? stderr };
}

/** Why there is no loading of rules here; undefined if there is. */
export function obstacle(): string | undefined {
  const reason = findObstacle();
  if (reason !== undefined) console.warn(`\n*** SKIPPED: ${reason} ***\n`);
  return reason;
}

function findObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'loading rules needs root';
  const { status, stderr } = inNamespace(
    'ip link add dev eth0 type veth peer name eth1 && nft list ruleset',
    [],
  );
  return status === 0 ? undefined : `no network namespace, veth or nft here: ${stderr.trim()}`;
}

/** Loads rules twice and takes them away twice, with these devices there. */
export function load({ up, down }: { up: string; down: string }, devices: readonly string[]) {
  const { status, stdout, stderr } = inNamespace(LOADING, devices, { UP: up, DOWN: down });
  const [there, gone] = stdout.split('----\n');
  return { status, stderr, there, gone };
}

/** How many lines are rules. */
export function rulesIn(text: string): number {
  return text
    .split('\n')
    .filter(line => / (drop|accept|notrack|fwd .*|dnat .*|snat .*|meta mark set .*)$/.test(line)).length;
}
