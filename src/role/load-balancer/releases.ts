/** The end of a flow's way through the TUN: once it wants no more marks, its packets go by without us (PROTOCOL: LB 1). */
import type { FlowId } from '../../codec/units.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { isReleased, RELEASED } from '../flow-flags.js';
import type { Connection, Connections } from './connections.js';
import type { LoadBalancerSettings } from './settings.js';

/** A power of two. */
const PACKETS_UNTIL_AGAIN = 64;

export class Releases {
  constructor(
    private readonly settings: LoadBalancerSettings,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly connections: Connections,
  ) {}

  /**
   * Releases the flow of a packet that is under way, if it wants no more marks. Conntrack hears of it behind the packet's
   * batch (`send`), so that nothing overtakes what is in the batch.
   */
  settle(flow: FlowId, connection: Connection): void {
    const { records } = this.flows;
    const flags = records.flags(flow);
    // Without marks nothing comes here to be released, and marks may be switched on later.
    if (!this.settings.marks || this.settings.wantsMark(flags)) return;
    if (!isReleased(flags)) {
      records.setFlags(flow, flags | RELEASED);
      this.counters[LbCounter.flows_released]++;
    } else if (records.packetCount(flow) % PACKETS_UNTIL_AGAIN !== 0) {
      // It was in the TUN already, or has options.
      return;
    }
    // A flow that goes on coming has lost its bit: the request got lost, or another program has set conntrack's mark.
    this.connections.addRelease(connection.original);
  }

  /** Tells conntrack. */
  send(): void {
    this.connections.sendReleases();
  }
}
