/** What the real server learns from marks: the clients of flows. */
import { DESTINATION_AT, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { type FlowId, NONE, type Ticks } from '../../codec/units.js';
import { flowPorts } from '../../flow/records.js';
import { type FlowTable, LearnOutcome } from '../../flow/table.js';
import { Counter, type Counters } from '../counters.js';
import { OTHER_FAMILY } from '../flow-flags.js';
import { MarkedClient } from '../marked-client.js';
import { isImpossible } from './clients.js';
import type { RealServerSettings } from './settings.js';
import type { Validity } from './validity.js';

export class Learning {
  private readonly client = new MarkedClient();

  constructor(
    private readonly settings: RealServerSettings,
    private readonly flows: FlowTable,
    private readonly validity: Validity,
    private readonly counters: Counters,
  ) {}

  /** Learns the flow of a packet with a mark (`Mark.found`). NONE if it is not served or its client is impossible. */
  learn(packet: Packet, now: Ticks): FlowId {
    const { settings, counters, client } = this;
    counters[Counter.uoa_got] += packet.datagrams;
    if (!settings.isServed(packet)) return NONE;
    client.read(packet);
    if (this.canBe(client)) return this.learnClient(packet, client, now);
    counters[Counter.uoa_invalid] += packet.datagrams;
    return NONE;
  }

  private canBe({ words, port, v6 }: MarkedClient): boolean {
    return port !== 0 && !isImpossible(words, 0, v6) && !this.settings.ownAddresses.has(words, 0);
  }

  private learnClient(packet: Packet, client: MarkedClient, now: Ticks): FlowId {
    const { flows, counters } = this;
    const ports = flowPorts(packet.sourcePort, packet.destinationPort);
    const flags = packet.carrier | (client.v6 === packet.v6 ? 0 : OTHER_FAMILY);
    const learned = flows.learn(packet.addresses, SOURCE_AT, DESTINATION_AT, ports, client, flags, now);
    if (learned.outcome !== LearnOutcome.refreshed) {
      counters[Counter.uoa_saved]++;
      this.validity.begin(learned.flow, now);
    }
    if (learned.outcome === LearnOutcome.replaced) counters[Counter.uoa_replaced]++;
    if (learned.evicted) counters[Counter.flows_evicted]++;
    counters[Counter.flows] = flows.count;
    return learned.flow;
  }
}
