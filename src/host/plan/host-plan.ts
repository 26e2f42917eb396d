/** What a planner gives back: all that follows for the host from a configuration and the facts. */
import type { ReplySource } from '../facts/reply-sources.js';
import type { Change } from './change.js';

export interface HostPlan {
  /** In the order in which they are made. */
  changes: Change[];
}

export interface RealServerHostPlan extends HostPlan {
  replyTable: ReplyTable;
}

/** The routing table that replies take into the TUN. */
export interface ReplyTable {
  tun: string;
  /** Its number. */
  table: number;
  /** Which source each destination gets. Sockets without an address of their own answer from these. */
  sources: readonly ReplySource[];
}
