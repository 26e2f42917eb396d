/** What a role brings to the daemon: how its configuration becomes a plan for the host and settings for packets. */
import type { RoleSettings } from '../../dataplane/make-role.js';
import type { FlowEntry } from '../../flow/reader.js';
import type { Facts } from '../../host/facts/host.js';
import type { Change } from '../../host/plan/change.js';
import type { ReplyTable } from '../../host/plan/host-plan.js';
import type { LocalRule } from '../../host/state.js';
import type { Config } from '../config/index.js';
import type { FlowAnswer } from '../control/answers.js';
import { loadBalancerKit } from './load-balancer.js';
import { realServerKit } from './real-server.js';

export interface RolePlan {
  facts: Facts;
  changes: Change[];
  /** Where the rules for the table local are, if the plan moves them. */
  localRules: readonly LocalRule[];
  /** Where clients get routes of their own; undefined: nowhere. */
  replyTable: ReplyTable | undefined;
  /** What on this host is in the way, with the remedy. */
  warnings: string[];
}

export interface RoleKit {
  /** Reads the host, and says what is to be changed on it. */
  plan(config: Config): Promise<RolePlan>;
  /** What the packets' role needs to know. */
  settings(config: Config, plan: RolePlan): RoleSettings;
  limits(config: Config): { maxFlows: number; flowTimeout: number };
  /** The same configuration with other limits. */
  withLimits(config: Config, limits: { maxFlows: number; flowTimeout: number }): Config;
  /** How packets get to the shim. */
  steering(config: Config): string;
  /** The routing tables that are ours. */
  tables(config: Config): number[];
  counters: readonly string[];
  /** Counters whose rise is worth a warning, in words. */
  worrying: readonly (readonly [string, string])[];
  lookupCounters: { success: number; miss: number };
  describeFlow(entry: FlowEntry, config: Config): FlowAnswer;
}

export function roleKit(role: Config['role']): RoleKit {
  return role === 'real-server' ? realServerKit : loadBalancerKit;
}
