/** ACKs: each is held against what was sent, and the first one ends its flow's marks (PROTOCOL: LB 4). */
import { DESTINATION_AT, Kind, Mark, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { type FlowId, NONE, type Ticks } from '../../codec/units.js';
import * as uoa from '../../codec/uoa.js';
import { flowPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { ACKED, isAcked, MARKS_SENT } from '../flow-flags.js';
import { MarkedClient } from '../marked-client.js';
import type { LoadBalancerSettings } from './settings.js';

export class Acks {
  private readonly client = new MarkedClient();

  constructor(
    private readonly settings: LoadBalancerSettings,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
  ) {}

  /**
   * Takes in an empty datagram from a real server, or a later fragment. Its flow is released with its next packet, for
   * which conntrack is asked anyway: by then the connection may be another client's, which the real server knows
   * nothing of.
   */
  receive(packet: Packet, now: Ticks): void {
    const { flows, counters } = this;
    const flow = this.match(packet);
    if (flow === NONE) {
      counters[LbCounter.acks_unmatched]++;
      return;
    }
    counters[LbCounter.acks_received]++;
    flows.recordReply(flow, now);
    const flags = flows.records.flags(flow);
    if (isAcked(flags)) return;
    flows.records.setFlags(flow, flags | ACKED);
    counters[LbCounter.flows_acked]++;
  }

  /** The flow whose mark this packet echoes, as it was sent; or NONE. */
  private match(packet: Packet): FlowId {
    const { flows, client } = this;
    const { records } = flows;
    const { v6 } = packet;
    if (packet.kind !== Kind.udp || packet.mark !== Mark.found) return NONE;
    if (packet.carrier !== this.settings.carrierFor(v6)) return NONE;
    if (packet.optionLength !== (v6 ? uoa.OPTION_V6 : uoa.OPTION_V4)) return NONE;
    const ports = flowPorts(packet.destinationPort, packet.sourcePort);
    const flow = flows.findFlow(packet.addresses, DESTINATION_AT, SOURCE_AT, ports);
    if (flow === NONE || (records.flags(flow) & MARKS_SENT) === 0) return NONE;
    client.read(packet);
    return records.hasClient(flow, client) ? flow : NONE;
  }
}
