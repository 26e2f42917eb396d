/**
 * Whose flow a packet to a real server is. Conntrack is asked about each packet, at once for a whole batch: at any time a
 * flow's LIP:lport may be another client's, and only conntrack knows.
 */
import { copyAddress, sameAddress } from '../../codec/addresses.js';
import { DESTINATION_AT, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { type FlowId, NONE, type Ticks } from '../../codec/units.js';
import { flowPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { MarkedClient } from '../marked-client.js';
import { type Connection, type Connections, TupleBuffer } from './connections.js';

export class FlowFinder {
  private readonly tuple = new TupleBuffer();
  private readonly client = new MarkedClient();

  constructor(
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly connections: Connections,
  ) {}

  /**
   * Leaves with a packet the flow that is known with its addresses and ports, and the number of a query for its
   * connection. `before` is a packet that was looked up: in a burst it is of the same flow, and has asked already.
   */
  lookUp(packet: Packet, before: Packet | undefined): void {
    if (before !== undefined && before.query !== NONE && areOfOneFlow(before, packet)) {
      packet.hint = before.hint;
      packet.query = before.query;
      return;
    }
    packet.hint = this.find(packet, NONE);
    packet.query = this.connections.addQuery(this.tupleOf(packet));
  }

  /** The connection of a packet that was looked up, or undefined. It is one object, the next call's too. */
  connectionOf(packet: Packet): Connection | undefined {
    const { connections } = this;
    // Without a number: the list was full.
    return packet.query === NONE ? connections.find(this.tupleOf(packet)) : connections.answer(packet.query);
  }

  /** The flow of a packet by its connection, whatever flow was known with its addresses and ports. */
  flowOf(packet: Packet, connection: Connection, now: Ticks): FlowId {
    // Packets before this one in the batch may have brought its flow, or have pushed it out for another one.
    const known = this.find(packet, packet.hint);
    const isTheSame = known !== NONE && this.flows.records.tag(known) === connection.id;
    const flow = isTheSame ? known : this.learn(packet, connection, now);
    this.flows.recordInbound(flow, now);
    return flow;
  }

  private find({ addresses, sourcePort, destinationPort }: Packet, hint: FlowId): FlowId {
    const ports = flowPorts(sourcePort, destinationPort);
    return this.flows.findFlow(addresses, SOURCE_AT, DESTINATION_AT, ports, hint);
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

function areOfOneFlow(a: Packet, b: Packet): boolean {
  return (
    a.sourcePort === b.sourcePort &&
    a.destinationPort === b.destinationPort &&
    sameAddress(a.addresses, SOURCE_AT, b.addresses, SOURCE_AT) &&
    sameAddress(a.addresses, DESTINATION_AT, b.addresses, DESTINATION_AT)
  );
}
