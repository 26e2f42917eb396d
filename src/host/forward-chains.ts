/** Chains that see what is forwarded, which on a real server with policy routing is all that goes into the TUN. */
import type { Family } from './addresses.js';
import { run } from './command.js';

interface Chain {
  family: string;
  table: string;
  name: string;
  hook?: string;
  policy?: string;
}

const TABLES: Readonly<Record<Family, string>> = { 4: 'ip', 6: 'ip6' };

/** Those that drop what they are not told to forward, such as `ip filter FORWARD`. Empty where there is no telling. */
export async function droppingForwardChains(families: readonly Family[]): Promise<string[]> {
  const tables = ['inet', ...families.map(family => TABLES[family])];
  return (await readChains())
    .filter(({ family, hook, policy }) => hook === 'forward' && policy === 'drop' && tables.includes(family))
    .map(({ family, table, name }) => `${family} ${table} ${name}`);
}

async function readChains(): Promise<Chain[]> {
  let text: string;
  try {
    text = (await run('nft', ['-j', 'list', 'chains'])).stdout;
  } catch {
    return []; // nft is not installed
  }
  if (text === '') return [];
  const { nftables } = JSON.parse(text) as { nftables: { chain?: Chain }[] };
  return nftables.flatMap(({ chain }) => (chain === undefined ? [] : [chain]));
}
