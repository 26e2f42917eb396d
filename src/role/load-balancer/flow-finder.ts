/**
 * Whose flow a packet to a real server is. Each flow is looked up once per packet, ahead of its batch, and conntrack is
 * asked at once for all those that may be another connection's by now.
 */
import { copyAddress } from '../../codec/addresses.js';
import { DESTINATION_AT, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { type FlowId, NONE, type Ticks } from '../../codec/units.js';
import { flowPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { MarkedClient } from '../marked-client.js';
import { type Connection, type Connections, TupleBuffer } from './connections.js';
import type { LoadBalancerSettings } from './settings.js';

/**
 * How long a flow that wants marks may be taken for the same connection: far below the shortest time-out after which
 * conntrack could have given its ports to another client.
 */
const SURELY_THE_SAME_MS = 1000;

export class FlowFinder {
  private readonly tuple = new TupleBuffer();
  private readonly client = new MarkedClient();

  constructor(
    private readonly settings: LoadBalancerSettings,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly connections: Connections,
  ) {}

  /** Leaves with a packet its flow and, unless that surely is its connection's, the number of a query for the connection. */
  lookUp(packet: Packet, now: Ticks): void {
    packet.hint = this.find(packet, NONE);
    if (!this.isSure(packet.hint, now)) packet.query = this.connections.addQuery(this.tupleOf(packet));
  }

  /** The flow of a packet that was looked up, or NONE if conntrack has no connection for it. */
  flowOf(packet: Packet, now: Ticks): FlowId {
    // Packets before this one in the batch may have brought its flow, or have pushed it out for another one.
    const known = this.find(packet, packet.hint);
    const flow = this.isSure(known, now) ? known : this.identify(packet, known, now);
    if (flow !== NONE) this.flows.recordInbound(flow, now);
    return flow;
  }

  private find({ addresses, sourcePort, destinationPort }: Packet, hint: FlowId): FlowId {
    const ports = flowPorts(sourcePort, destinationPort);
    return this.flows.findFlow(addresses, SOURCE_AT, DESTINATION_AT, ports, hint);
  }

  private isSure(flow: FlowId, now: Ticks): boolean {
    const { records } = this.flows;
    if (flow === NONE || !this.settings.wantsMark(records.flags(flow))) return false;
    return records.idleMs(flow, now) < SURELY_THE_SAME_MS;
  }

  /** The packet's flow by its connection, whatever flow is known with its addresses and ports. */
  private identify(packet: Packet, known: FlowId, now: Ticks): FlowId {
    const connection = this.connectionOf(packet);
    if (connection === undefined) return NONE;
    // The same connection: at most a packet that was under way when its flow was acknowledged.
    if (known !== NONE && this.flows.records.tag(known) === connection.id) return known;
    return this.learn(packet, connection, now);
  }

  private connectionOf(packet: Packet): Connection | undefined {
    const { connections } = this;
    if (packet.query !== NONE) return connections.answer(packet.query);
    // The list was full, or an earlier packet of the batch took the last of the flow's marks.
    return connections.find(this.tupleOf(packet));
  }

  private learn(packet: Packet, connection: Connection, now: Ticks): FlowId {
    const { flows, counters, client } = this;
    client.port = connection.clientPort;
    copyAddress(connection.client, 0, client.words, 0);
    const ports = flowPorts(packet.sourcePort, packet.destinationPort);
    const { flow, evicted } = flows.learn(packet.addresses, SOURCE_AT, DESTINATION_AT, ports, client, 0, now);
    flows.records.setTag(flow, connection.id);
    if (evicted) counters[LbCounter.flows_evicted]++;
    counters[LbCounter.flows] = flows.count;
    return flow;
  }

  private tupleOf({ addresses, sourcePort, destinationPort }: Packet): TupleBuffer {
    return this.tuple.set(addresses, DESTINATION_AT, destinationPort, SOURCE_AT, sourcePort);
  }
}
