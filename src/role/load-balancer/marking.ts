/** The mark of a flow's client: into the packet, or in a standalone ahead of it where there is no room (PROTOCOL: LB 2, 3). */
import { copyAddress } from '../../codec/addresses.js';
import type { Carrier } from '../../codec/carriers.js';
import * as ipv4 from '../../codec/ipv4.js';
import * as ipv6 from '../../codec/ipv6.js';
import { fitsMark, insertMark } from '../../codec/marks.js';
import { DESTINATION_AT, type Packet } from '../../codec/packet.js';
import { writeStandalone } from '../../codec/standalone.js';
import type { FlowId, Ticks, WordIndex } from '../../codec/units.js';
import { PathMtus } from '../../flow/path-mtus.js';
import { CLIENT } from '../../flow/records.js';
import type { FlowTable } from '../../flow/table.js';
import { type Counters, LbCounter } from '../counters.js';
import { MarkedClient } from '../marked-client.js';
import type { Outbox } from '../role.js';
import type { LoadBalancerSettings } from './settings.js';

/** The MTU in bytes of the path to the address at `at` in `words`, as the kernel knows it; 0 if there is no path. */
export type PathMtuOf = (words: Int32Array, at: WordIndex) => number;

export class Marking {
  private readonly client = new MarkedClient();
  /** MTUs that the network told of packets that a mark had made too big. */
  private readonly learned: PathMtus;

  constructor(
    private readonly settings: LoadBalancerSettings,
    private readonly flows: FlowTable,
    private readonly counters: Counters,
    private readonly pathMtu: PathMtuOf,
    seed: number,
  ) {
    this.learned = new PathMtus(seed);
  }

  /** Marks a packet as its flow's, and counts that mark with the flow. */
  add(packet: Packet, flow: FlowId, now: Ticks, outbox: Outbox): void {
    const { counters, client } = this;
    const { records } = this.flows;
    const { v6 } = packet;
    const carrier = this.settings.carrierFor(v6);
    records.setFlags(flow, records.flags(flow) + 1);
    copyAddress(records.words, records.addressAt(flow, CLIENT), client.words, 0);
    client.port = records.clientPort(flow);
    client.v6 = v6;
    if (packet.payloadLength > 0 && !packet.fragmented && this.fits(packet, carrier, now)) {
      insertMark(packet, carrier, client);
      counters[LbCounter.marks_inserted]++;
    } else {
      outbox.add(writeStandalone(packet, carrier, client, packet.view, outbox.offset));
      counters[LbCounter.marks_standalone]++;
    }
  }

  private fits(packet: Packet, carrier: Carrier, now: Ticks): boolean {
    const { client } = this;
    // Small enough for every path: no need to ask for its MTU.
    if (fitsMark(packet, carrier, client, packet.v6 ? ipv6.MIN_PATH_MTU : ipv4.MIN_PATH_MTU)) return true;
    const { addresses } = packet;
    const learned = this.learned.get(addresses, DESTINATION_AT, now);
    if (learned > 0 && !fitsMark(packet, carrier, client, learned)) return false;
    return fitsMark(packet, carrier, client, this.pathMtu(addresses, DESTINATION_AT));
  }

  /** Learns the MTU in bytes of the path to the address at `at` in `words`. */
  learnMtu(words: Int32Array, at: WordIndex, mtu: number, now: Ticks): void {
    this.learned.learn(words, at, mtu, now);
  }
}
