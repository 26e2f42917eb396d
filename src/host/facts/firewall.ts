/**
 * Which chains of the host's own rules (nftables, and iptables where it writes into nftables) would drop a datagram. Where
 * it is unknown whether a rule matches, that counts in favour of the datagram.
 */
import { type FirstDatagram, holds } from './rule-match.js';
import {
  type Chain,
  type Expression,
  type Extension,
  type Rule,
  type RulesetObject,
  readRuleset,
} from './ruleset.js';

type ChainVerdict = 'accept' | 'drop';

export class Firewall {
  private constructor(
    private readonly chains: readonly Chain[],
    private readonly rules: readonly Rule[],
  ) {}

  /** Reads the rules. Counts as none what can't be read, because nft isn't installed, for one. */
  static async read(): Promise<Firewall> {
    return Firewall.of((await readRuleset().catch(() => undefined)) ?? []);
  }

  /** `objects`: as `nft -j list ruleset` prints them. */
  static of(objects: readonly RulesetObject[]): Firewall {
    return new Firewall(
      objects.flatMap(({ chain }) => chain ?? []),
      objects.flatMap(({ rule }) => rule ?? []),
    );
  }

  /** The chains at this hook that drop the datagram. */
  droppers(hook: 'input' | 'forward', datagram: FirstDatagram): Chain[] {
    const families = ['inet', datagram.family === 4 ? 'ip' : 'ip6'];
    return this.chains
      .filter(chain => chain.hook === hook && families.includes(chain.family))
      .filter(chain => (this.walk(chain, datagram, 0) ?? chain.policy) === 'drop');
  }

  /** The verdict of a chain's rules, or undefined if they give none. */
  private walk(
    { family, table, name }: Chain,
    datagram: FirstDatagram,
    depth: number,
  ): ChainVerdict | undefined {
    const rules = this.rules.filter(r => r.chain === name && r.table === table && r.family === family);
    for (const { expr } of rules) {
      const outcome = decide(expr, datagram);
      if (outcome === undefined) continue;
      if (outcome === 'return') return undefined;
      if (outcome === 'accept' || outcome === 'drop') return outcome;
      const verdict =
        depth > DEEPEST ? undefined : this.walk({ family, table, name: outcome.to }, datagram, depth + 1);
      if (verdict !== undefined || outcome.isFinal) return verdict;
    }
    return undefined;
  }
}

/** Jumps that are followed at most: as deep as nftables allows (NFT_JUMP_STACK_SIZE). */
const DEEPEST = 16;

type RuleOutcome = ChainVerdict | 'return' | { to: string; isFinal: boolean };

/** What a rule decides, or undefined where it does not match. */
function decide(expressions: readonly Expression[], datagram: FirstDatagram): RuleOutcome | undefined {
  const outcome = expressions.map(outcomeOf).find(found => found !== undefined);
  if (outcome === undefined) return undefined;
  // An unknown match counts as one if the rule is good for the datagram.
  const ifUnknown = outcome !== 'drop';
  return expressions.every(expression => holds(expression, datagram) ?? ifUnknown) ? outcome : undefined;
}

function outcomeOf(expression: Expression): RuleOutcome | undefined {
  if ('accept' in expression) return 'accept';
  if ('drop' in expression || 'reject' in expression) return 'drop';
  if ('return' in expression) return 'return';
  const jump = (expression.jump ?? expression.goto) as { target: string } | undefined;
  if (jump !== undefined) return { to: jump.target, isFinal: 'goto' in expression };
  const target = expression.xt as Extension | undefined;
  if (target?.type !== 'target') return undefined;
  return target.name === 'REJECT' || target.name === 'DROP' ? 'drop' : undefined;
}
