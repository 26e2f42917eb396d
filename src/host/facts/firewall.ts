/**
 * What the host's own rules (nftables, and iptables where it writes into nftables) would do to a datagram: the chains
 * that drop it. A rule that can't be told by what is known here counts in favour of the datagram.
 */
import { PrefixList } from '../../flow/prefixes.js';
import { parseAddress, parsePrefix } from '../addresses.js';
import { run } from '../command.js';
import type { Family } from '../family.js';

/** A UDP datagram of a new flow. */
export interface Probe {
  family: Family;
  iifname: string;
  /** Only where it is forwarded. */
  oifname?: string;
  saddr: string;
  daddr: string;
  dport: number;
}

export interface Chain {
  /** ip, ip6 or inet. */
  family: string;
  table: string;
  name: string;
  hook?: string;
  policy?: string;
}

interface Rule {
  family: string;
  table: string;
  chain: string;
  expr: Expression[];
}

export interface RulesetObject {
  chain?: Chain;
  rule?: Rule;
}

type Expression = Record<string, unknown>;
type Verdict = 'accept' | 'drop';

export class Firewall {
  private constructor(
    private readonly chains: readonly Chain[],
    private readonly rules: readonly Rule[],
  ) {}

  /** Reads the rules; there are none where nft isn't installed or may not be asked. */
  static async read(): Promise<Firewall> {
    return Firewall.of(await readRuleset());
  }

  /** Of what `nft -j list ruleset` prints. */
  static of(objects: readonly RulesetObject[]): Firewall {
    return new Firewall(
      objects.flatMap(({ chain }) => chain ?? []),
      objects.flatMap(({ rule }) => rule ?? []),
    );
  }

  /** The chains at this hook that drop the datagram. */
  droppers(hook: 'input' | 'forward', probe: Probe): Chain[] {
    const families = ['inet', probe.family === 4 ? 'ip' : 'ip6'];
    return this.chains
      .filter(chain => chain.hook === hook && families.includes(chain.family))
      .filter(chain => (this.walk(chain, probe, 0) ?? chain.policy) === 'drop');
  }

  /** The verdict of a chain's rules, or undefined where they come to none. */
  private walk({ family, table, name }: Chain, probe: Probe, depth: number): Verdict | undefined {
    const rules = this.rules.filter(r => r.chain === name && r.table === table && r.family === family);
    for (const { expr } of rules) {
      const outcome = decide(expr, probe);
      if (outcome === undefined) continue;
      if (outcome === 'return') return undefined;
      if (outcome === 'accept' || outcome === 'drop') return outcome;
      const verdict =
        depth > DEEPEST ? undefined : this.walk({ family, table, name: outcome.to }, probe, depth + 1);
      if (verdict !== undefined || outcome.isFinal) return verdict;
    }
    return undefined;
  }
}

/** Chains that jump to each other may go on for ever. */
const DEEPEST = 16;

async function readRuleset(): Promise<RulesetObject[]> {
  try {
    const { status, stdout } = await run('nft', ['-j', 'list', 'ruleset']);
    if (status !== 0 || stdout.trim() === '') return [];
    return (JSON.parse(stdout) as { nftables: RulesetObject[] }).nftables;
  } catch {
    return [];
  }
}

type Outcome = Verdict | 'return' | { to: string; isFinal: boolean };

/** What a rule decides, or undefined where it does not match. */
function decide(expressions: readonly Expression[], probe: Probe): Outcome | undefined {
  const outcome = expressions.map(outcomeOf).find(found => found !== undefined);
  if (outcome === undefined) return undefined;
  // What can't be told holds for a rule that helps, and does not hold for one that doesn't.
  const benefit = outcome !== 'drop';
  return expressions.every(expression => holds(expression, probe) ?? benefit) ? outcome : undefined;
}

function outcomeOf(expression: Expression): Outcome | undefined {
  if ('accept' in expression) return 'accept';
  if ('drop' in expression || 'reject' in expression) return 'drop';
  if ('return' in expression) return 'return';
  const jump = (expression.jump ?? expression.goto) as { target: string } | undefined;
  if (jump !== undefined) return { to: jump.target, isFinal: 'goto' in expression };
  const target = expression.xt as { type?: string; name?: string } | undefined;
  if (target?.type !== 'target') return undefined;
  return target.name === 'REJECT' || target.name === 'DROP' ? 'drop' : undefined;
}

/** Whether a part of a rule holds for the datagram; undefined: there is no telling. */
function holds(expression: Expression, probe: Probe): boolean | undefined {
  const xt = expression.xt as { type?: string; name?: string } | undefined;
  // iptables asks it for the established ones, nearly always.
  if (xt?.type === 'match' && (xt.name === 'conntrack' || xt.name === 'state')) return false;
  if (xt?.type === 'match') return xt.name === 'tcp' ? false : undefined;
  const match = expression.match as { op: string; left: Expression; right: unknown } | undefined;
  if (match === undefined) return true;
  const value = leftOf(match.left, probe);
  if (value === undefined) return undefined;
  const isAmong = value === NOT_THERE ? false : includes(match.right, value);
  return match.op === '!=' && isAmong !== undefined ? !isAmong : isAmong;
}

/** Of a datagram that has no such field. */
const NOT_THERE = Symbol('not there');

function leftOf(left: Expression, probe: Probe): string | number | typeof NOT_THERE | undefined {
  const meta = left.meta as { key: string } | undefined;
  switch (meta?.key) {
    case 'iifname':
    case 'iif':
      return probe.iifname;
    case 'oifname':
    case 'oif':
      return probe.oifname ?? '';
    case 'l4proto':
      return 'udp';
    case 'nfproto':
      return probe.family === 4 ? 'ipv4' : 'ipv6';
  }
  if ((left.ct as { key: string } | undefined)?.key === 'state') return 'new';
  const payload = left.payload as { protocol?: string; field?: string } | undefined;
  return payload === undefined ? undefined : fieldOf(payload, probe);
}

function fieldOf(
  { protocol, field }: { protocol?: string; field?: string },
  probe: Probe,
): string | number | typeof NOT_THERE | undefined {
  if (protocol === 'tcp' || protocol === 'icmp' || protocol === 'icmpv6') return NOT_THERE;
  if (protocol === (probe.family === 4 ? 'ip6' : 'ip')) return NOT_THERE;
  if (field === 'saddr') return probe.saddr;
  if (field === 'daddr') return probe.daddr;
  if (field === 'dport') return probe.dport;
  return field === 'protocol' || field === 'nexthdr' ? 'udp' : undefined;
}

/** Whether a value is (among) what nft prints on the right of a match. */
function includes(right: unknown, value: string | number): boolean | undefined {
  if (Array.isArray(right)) return any(right, value);
  if (typeof right === 'object' && right !== null) {
    const { set, range, prefix } = right as Expression;
    if (Array.isArray(set)) return any(set, value);
    if (Array.isArray(range)) return inRange(range as unknown[], value);
    if (prefix !== undefined) return inPrefix(prefix as { addr: string; len: number }, value);
    return undefined;
  }
  if (typeof right === 'string' && right.startsWith('@')) return undefined; // a set of its own
  if (typeof right === 'string' && right.endsWith('*')) return String(value).startsWith(right.slice(0, -1));
  return right === value || (right === 17 && value === 'udp');
}

function any(items: readonly unknown[], value: string | number): boolean | undefined {
  const each = items.map(item => includes(item, value));
  return each.includes(true) || (each.includes(undefined) ? undefined : false);
}

function inRange([from, to]: readonly unknown[], value: string | number): boolean | undefined {
  return typeof value === 'number' ? value >= Number(from) && value <= Number(to) : undefined;
}

function inPrefix({ addr, len }: { addr: string; len: number }, value: string | number): boolean {
  return new PrefixList([parsePrefix(`${addr}/${len}`)]).has(parseAddress(String(value)), 0);
}
