/**
 * Whether the way through the TUN is still as it was set up. What is missing is only reported, not put back: an operator
 * may take the rules away to take the shim out.
 */

import { run } from '../command.js';
import { hostFamilies } from '../facts/host.js';
import { type Family, familyFlag } from '../family.js';
import { readSysctl } from '../sysctl.js';

/** A setting that has to stay as it was set. */
export interface Setting {
  key: string;
  value: string;
}

export class Integrity {
  private constructor(
    private readonly tables: readonly number[],
    private readonly settings: readonly Setting[],
    private readonly expected: ReadonlySet<string>,
  ) {}

  /** What these routing tables hold now, and the rules that lead to them, counts as right. So do these settings. */
  static async of(tables: readonly number[], settings: readonly Setting[]): Promise<Integrity> {
    return new Integrity(tables, settings, await look(tables));
  }

  /** The rules and routes that are missing now, as `ip` showed them, and settings that differ now. */
  async missing(): Promise<string[]> {
    const now = await look(this.tables);
    const changed = this.settings.filter(({ key, value }) => readSysctl(key) !== value);
    return [
      ...[...this.expected].filter(line => !now.has(line)),
      ...changed.map(({ key, value }) => `${key}=${value}`),
    ];
  }
}

async function look(tables: readonly number[]): Promise<Set<string>> {
  const found = new Set<string>();
  for (const family of hostFamilies()) {
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
