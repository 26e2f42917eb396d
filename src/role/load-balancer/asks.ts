/**
 * Asks: a real server wants to know the client of a flow (PROTOCOL: LB 5). Conntrack's answer goes back as a standalone mark, to
 * where the ask came from: that is the real server of that very connection, or conntrack would not know the flow. So
 * a forged ask tells nobody anything.
 */
import { copyAddress, MAPPED, sameAddress } from '../../codec/addresses.js';
import { DESTINATION_AT, Kind, Mark, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { writeAnswer } from '../../codec/standalone.js';
import { NONE, type Ticks } from '../../codec/units.js';
import { flowPorts } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { MARKS_SENT } from '../flow-flags.js';
import { MarkedClient } from '../marked-client.js';
import type { Outbox } from '../role.js';
import { TokenBucket } from '../token-bucket.js';
import { type Connection, type Connections, TupleBuffer } from './connections.js';
import type { LoadBalancerSettings } from './settings.js';

/** Each answer takes a query of conntrack. The rest of the asks is consumed without an answer. */
const ANSWERS_PER_MS = 2;
const BURST = 500;

export class Asks {
  private readonly named = new MarkedClient();
  private readonly client = new MarkedClient();
  private readonly tuple = new TupleBuffer();
  private readonly answers = new TokenBucket(ANSWERS_PER_MS, BURST);

  constructor(
    private readonly settings: LoadBalancerSettings,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly connections: Connections,
  ) {}

  /** Whether an empty datagram to a LIP is an ask: its mark names nobody. */
  isAsk(packet: Packet): boolean {
    if (packet.kind !== Kind.udp || packet.mark !== Mark.found || packet.fragmented) return false;
    const { named } = this;
    named.read(packet);
    const { words, port } = named;
    if (named.v6 !== packet.v6) return false;
    return port === 0 && (words[0] | words[1] | words[3]) === 0 && words[2] === (named.v6 ? 0 : MAPPED);
  }

  /** Answers it, if the kernel knows the flow, and it is one that gets marks. */
  answer(packet: Packet, now: Ticks, outbox: Outbox): void {
    const { counters, client } = this;
    counters[LbCounter.asks_received]++;
    if (!this.settings.marks || !this.answers.take(now)) return;
    const { addresses, sourcePort, destinationPort } = packet;
    const connection = this.connections.find(
      this.tuple.set(addresses, SOURCE_AT, sourcePort, DESTINATION_AT, destinationPort),
    );
    if (connection === undefined || !this.isBalanced(packet, connection)) {
      counters[LbCounter.asks_unknown]++;
      return;
    }
    copyAddress(connection.client, 0, client.words, 0);
    client.port = connection.clientPort;
    client.v6 = packet.v6;
    this.note(packet, connection, now);
    // In the carrier that all marks have here: the ask may have come in another one, as a first try.
    const carrier = this.settings.carrierFor(packet.v6);
    outbox.add(writeAnswer(packet, carrier, client, packet.view, outbox.offset));
    counters[LbCounter.marks_standalone]++;
  }

  /** Whether it is a flow of those that get marks: NATed both ways, to a service. */
  private isBalanced({ addresses, sourcePort, destinationPort }: Packet, { original }: Connection): boolean {
    const isToServer =
      original.destinationPort === sourcePort &&
      sameAddress(original.addresses, DESTINATION_AT, addresses, SOURCE_AT);
    const isFromUs =
      original.sourcePort === destinationPort &&
      sameAddress(original.addresses, SOURCE_AT, addresses, DESTINATION_AT);
    if (isToServer || isFromUs) return false;
    return this.settings.isMarked(original.addresses, DESTINATION_AT, original.destinationPort);
  }

  /** Notes down that a mark was sent, so that its ACK is known. */
  private note({ addresses, sourcePort, destinationPort }: Packet, { id }: Connection, now: Ticks): void {
    const { flows, counters, client } = this;
    const { records } = flows;
    const ports = flowPorts(destinationPort, sourcePort);
    let flow = flows.findFlow(addresses, DESTINATION_AT, SOURCE_AT, ports);
    if (flow === NONE || records.tag(flow) !== id || !records.hasClient(flow, client)) {
      const learned = flows.learn(addresses, DESTINATION_AT, SOURCE_AT, ports, client, 0, now);
      flow = learned.flow;
      records.setTag(flow, id);
      records.setFlags(flow, 0);
      if (learned.evicted) counters[LbCounter.flows_evicted]++;
      counters[LbCounter.flows] = flows.count;
    }
    const flags = records.flags(flow);
    if ((flags & MARKS_SENT) === 0) records.setFlags(flow, flags + 1);
  }
}
