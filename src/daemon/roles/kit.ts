/**
 * What the two roles do differently outside the data plane: what follows from a configuration on this host, and what
 * the counters and flows of the role mean.
 */
import type { RoleSettings } from '../../dataplane/make-role.js';
import type { FlowEntry } from '../../flow/reader.js';
import type { TableSize } from '../../flow/table.js';
import type { Facts } from '../../host/facts/host.js';
import type { HostPlan, ReplyTable } from '../../host/plan/host-plan.js';
import type { LocalRule } from '../../host/state.js';
import type { Config } from '../config/index.js';
import type { FlowAnswer } from '../control/answers.js';

/** The host's addresses, which come and go while the shim runs. */
export type LocalAddresses = Pick<Facts, 'ownAddresses' | 'broadcastAddresses'>;

/** All that follows from a configuration on this host, as it was when the plan was made. */
export interface RolePlan extends HostPlan {
  /** Where the rules for the table local were before; empty if the plan leaves them there. */
  localRules: readonly LocalRule[];
  /** The table in which single clients get routes of their own; undefined: they get none. */
  replyTable: ReplyTable | undefined;
  /** The size of the flow table. */
  limits: TableSize;
  /** How packets get to the shim, as `status` shows it. */
  steering: string;
  /** What on this host is in the way, each with its remedy. */
  warnings: string[];
  addresses: LocalAddresses;
  /** What the data plane's role needs to know where the host has these addresses. */
  settings(addresses: LocalAddresses): RoleSettings;
}

export interface RoleCounters {
  /** In the order of the data plane's array. */
  names: readonly string[];
  /** Counters whose rise is worth a warning, each with what it counts in words. */
  worrying: readonly (readonly [name: string, words: string])[];
  /** The places in that array of the two that `lookup` counts in. */
  lookups: { success: number; miss: number };
}

export interface RoleKit {
  /** The routing tables that no other program may use. */
  tables(config: Config): number[];
  /**
   * Reads the host and changes nothing. Throws an OperatorError if the configuration does not fit this host, or if the
   * host can't be read.
   */
  plan(config: Config): Promise<RolePlan>;
  counters: RoleCounters;
  /** A flow as `flows` shows it. */
  describeFlow(entry: FlowEntry, config: Config): FlowAnswer;
}
