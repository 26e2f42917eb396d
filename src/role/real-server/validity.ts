/**
 * How long the client of a flow is surely the one that was marked. A load balancer that has forgotten a flow gives its
 * LIP:lport to another client. A datagram of that one must not be delivered as from the first (PROTOCOL: LB 6, RS 5).
 *
 * What counts is the last packet from the load balancer, as that shows that the flow was there. Replies don't count: a load
 * balancer may have lost the flow, or the replies.
 */
import type { FlowId, Ticks } from '../../codec/units.js';
import type { FlowTable } from '../../flow/table.js';
import type { FlowTimeout } from './settings.js';

/** For the way here, and for time in the load balancer's queues: so much earlier than there the flow is over here. */
const MARGIN_MS = 2000;

/** Conntrack takes a flow for an answered one if a packet passes in either direction so long after its beginning (Linux 5.0). */
const LASTING_MS = 2000;

export class Validity {
  constructor(private readonly flows: FlowTable) {}

  /** Whether an unmarked packet that has arrived now is surely the flow's client's. */
  holds(flow: FlowId, timeout: FlowTimeout, now: Ticks): boolean {
    const { records } = this.flows;
    const silentMs = (now - records.lastInbound(flow)) >>> 0;
    if (silentMs < timeout.unansweredMs - MARGIN_MS) return true;
    return silentMs < timeout.answeredMs - MARGIN_MS && (isOnePhase(timeout) || records.isLasting(flow));
  }

  /** A mark has given the flow a client that it did not have. */
  begin(flow: FlowId, now: Ticks): void {
    const { records } = this.flows;
    // The record's tag is the tick of its client's beginning.
    records.setTag(flow, now);
    records.setLasting(flow, false);
  }

  /** A packet of the flow has come from the load balancer; to be called before it is recorded. */
  hear(flow: FlowId, timeout: FlowTimeout, now: Ticks): void {
    if (isOnePhase(timeout)) return;
    const { records } = this.flows;
    const since = records.tag(flow);
    const isAnswered = records.replyCount(flow) > 0 && ((records.lastReply(flow) - since) | 0) > 0;
    // A packet later than that counts, a reply too. But only this one is known to have passed the load balancer.
    if (isAnswered && (now - since) >>> 0 > LASTING_MS + MARGIN_MS) records.setLasting(flow, true);
  }
}

function isOnePhase({ unansweredMs, answeredMs }: FlowTimeout): boolean {
  return unansweredMs === answeredMs;
}
