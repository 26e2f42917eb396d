/**
 * The rule for the table local, which delivers packets to the host itself. It stands first, so rules that are to win
 * over it need it moved. It moves last and comes back first, so at no time is the host without one.
 */
import type { RealServerFacts } from '../facts/real-server.js';
import { type Family, familyFlag } from '../family.js';
import type { LocalRule } from '../state.js';
import type { Change } from './change.js';
import type { RealServerPlanOptions } from './real-server-options.js';
import { rule, undoable } from './routing.js';
import { words } from './words.js';

/** The preference of the local rule while the shim runs. */
export function localPreference(
  routing: RealServerPlanOptions['routing'],
  facts: RealServerFacts,
  family: Family,
): number {
  const { priority } = localRule(facts, family);
  return mustMove(routing, priority) ? routing.localPriority : priority;
}

/** The changes that move the local rule behind ours. None if it is behind them already. */
export function moveLocalRule(
  { routing }: RealServerPlanOptions,
  facts: RealServerFacts,
  family: Family,
): Change[] {
  const { priority, protocol } = localRule(facts, family);
  if (!mustMove(routing, priority)) return [];
  const flag = familyFlag(family);
  const before = words(`pref ${priority} lookup local protocol ${protocol}`);
  return [
    rule(family, 'local delivery, behind the way in', routing.localPriority, 'lookup local'),
    undoable(
      [flag, 'rule', 'del', ...before],
      [flag, 'rule', 'add', ...before],
      'local delivery, no longer ahead of the way in',
    ),
  ];
}

/** Whether a local rule with the preference `local` comes before ours. Cilium, for one, has moved it already. */
function mustMove({ steering, priority }: RealServerPlanOptions['routing'], local: number): boolean {
  return steering === 'policy-routing' && local <= priority + 1;
}

/** A host that does without IPv6 has no rule for it. */
function localRule({ localRules }: RealServerFacts, family: Family): LocalRule {
  return localRules.find(found => found.family === family) ?? { family, priority: 0, protocol: 'kernel' };
}
