/** The real nft, in a network namespace of its own: whether it takes rules, and what is left of them. */
import { spawnSync } from 'node:child_process';

/** Interfaces may have such names. */
export const ODD_NAMES = ['eth1.100', 'wan-1', "a';reboot;'", 'x{y}', '$HOME', 'é', 'a\\b', '#1', '0'];

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
export function countRules(text: string): number {
  return text
    .split('\n')
    .filter(line =>
      / (drop|accept|notrack|fwd .*|dnat .*|snat .*|meta mark set .*|ct timeout set .*|(ttl|hoplimit) set 2)$/.test(
        line,
      ),
    ).length;
}

/** A chain as a script has it. */
export interface ScriptChain {
  /** What declares it, such as `type filter hook output priority raw; policy accept;`. */
  hook: string;
  rules: string[];
}

/** The tables of a script by their ids, and their chains by name, without other objects. Throws if a line belongs to none. */
export function tablesOf({ up }: { up: string }): Record<string, Record<string, ScriptChain>> {
  const tables: Record<string, Record<string, ScriptChain>> = {};
  let chains: Record<string, ScriptChain> = {};
  let rules: string[] | undefined;
  for (const line of up.split('\n')) {
    const [, table] = /^table (\S+ \S+) \{$/.exec(line) ?? [];
    const [, chain] = /^\tchain (\S+) \{$/.exec(line) ?? [];
    if (table !== undefined) chains = tables[table] = {};
    else if (chain !== undefined) {
      rules = [];
      chains[chain] = { hook: '', rules };
    } else if (/^\tct timeout \S+ \{$/.test(line)) rules = [];
    else if (/^\t\t/.test(line) && rules !== undefined) rules.push(line.trim());
    else if (!/^(\t?\}|(delete )?table \S+ \S+)$/.test(line)) throw new Error(`no rule of a chain: ${line}`);
  }
  for (const each of Object.values(tables).flatMap(Object.values) as ScriptChain[])
    each.hook = each.rules.shift() ?? '';
  return tables;
}

/** The rules of the chains of this name in whichever table. */
export function rulesOf(script: { up: string }, chain: string): string[] {
  return Object.values(tablesOf(script)).flatMap(chains => chains[chain]?.rules ?? []);
}
