/** The host's nftables rules, as `nft -j list ruleset` prints them. */
import { run } from '../command.js';

/** One object of the ruleset; others than these are left out of the type. */
export interface RulesetObject {
  chain?: Chain;
  rule?: Rule;
}

export interface Chain {
  /** ip, ip6 or inet. */
  family: string;
  table: string;
  name: string;
  hook?: string;
  policy?: string;
}

export interface Rule {
  family: string;
  table: string;
  chain: string;
  expr: Expression[];
}

/** A statement or a match. Its one key is its name, such as `drop` or `match`. */
export type Expression = Record<string, unknown>;

/** An extension of iptables. Versions of nft before 1.0.6 do not tell which, and print null. */
export type Extension = { type: string; name: string } | null;

/** Undefined if the rules can't be read. Throws an OperatorError if nft isn't installed. */
export async function readRuleset(): Promise<RulesetObject[] | undefined> {
  const { status, stdout } = await run('nft', ['-j', 'list', 'ruleset']);
  if (status !== 0) return undefined;
  try {
    return (JSON.parse(stdout) as { nftables: RulesetObject[] }).nftables;
  } catch {
    return undefined;
  }
}

/** Whether some rule changes the destination of packets. An unknown statement counts as one. */
export function hasDestinationNat(objects: readonly RulesetObject[]): boolean {
  return objects.some(({ rule }) => rule?.expr.some(isDestinationNat) ?? false);
}

function isDestinationNat(expression: Expression): boolean {
  if ('dnat' in expression || 'redirect' in expression) return true;
  const extension = expression.xt as Extension | undefined;
  if (extension === undefined) return false;
  return extension === null || (extension.type === 'target' && ['DNAT', 'REDIRECT'].includes(extension.name));
}
