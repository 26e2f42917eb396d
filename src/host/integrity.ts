/**
 * Whether the way through the TUN is still as it was set up. What somebody took away is not put back: taking the
 * rules away is a way of taking the shim out. It is said, that's all.
 */

import type { Family } from './addresses.js';
import { run } from './command.js';
import { FAMILIES, familyFlag } from './facts.js';

export class Integrity {
  private constructor(
    private readonly tables: readonly number[],
    private readonly expected: ReadonlySet<string>,
  ) {}

  /** Takes what is there now, of these routing tables and the rules that lead to them, for right. */
  static async of(tables: readonly number[]): Promise<Integrity> {
    return new Integrity(tables, await look(tables));
  }

  /** What is gone since, as `ip` showed it. */
  async gone(): Promise<string[]> {
    const now = await look(this.tables);
    return [...this.expected].filter(line => !now.has(line));
  }
}

async function look(tables: readonly number[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const family of FAMILIES) {
    const flag = familyFlag(family);
    const rules = (await run('ip', [flag, 'rule', 'show'])).stdout.split('\n').map(line => line.trim());
    const ours = rules.filter(line => tables.some(table => line.endsWith(`lookup ${table}`)));
    for (const line of ours) found.add(named(family, line));
    for (const table of tables) {
      const routes = (await run('ip', [flag, 'route', 'show', 'table', String(table)])).stdout.split('\n');
      for (const line of routes)
        if (line.trim() !== '') found.add(named(family, `${line.trim()} table ${table}`));
    }
  }
  return found;
}

function named(family: Family, line: string): string {
  return family === 6 ? `IPv6: ${line}` : line;
}
