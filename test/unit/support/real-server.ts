/**
 * A real server without a kernel: a pipeline with the role in it on the in-memory device, and a clock that stands
 * still until it is told.
 *
 *     10.10.1.0/24   load balancers that understand ACKs; the services' network too
 *     10.20.0.0/16   load balancers without ACKs
 *     10.30.0.0/16   load balancers that put marks into empty datagrams
 *     10.10.1.2, 10.10.1.3   services: port 53 on both, 7000-7010 on the first, any port on 10.10.1.4
 *     10.10.1.255    the broadcast address
 *
 * The same in IPv6: fd00:1::/64, fd00:20::/64 and fd00:30::/64 for load balancers, fd00:1::2 to ::4 for services.
 */
import { expect } from 'vitest';
import { Pipeline } from '../../../src/dataplane/pipeline.js';
import { type FlowEntry, FlowReader } from '../../../src/flow/reader.js';
import { FlowTable, type TableOptions, type TableSize } from '../../../src/flow/table.js';
import { formatAddress, formatEndpoint } from '../../../src/host/addresses.js';
import {
  makeCounters,
  REAL_SERVER_COUNTERS,
  type RealServerCounter,
  readCounters,
} from '../../../src/role/counters.js';
import type { TellPathMtu } from '../../../src/role/real-server/client-mtus.js';
import { RealServerRole } from '../../../src/role/real-server/role.js';
import type { RealServerOptions } from '../../../src/role/real-server/settings.js';
import { learnCrowd } from './crowd.js';
import { type Family, inFamily } from './families.js';
import { MemoryDevice } from './memory-device.js';
import { addressText, endpoint, forwarded, type Octets, prefix, toHex, words } from './wire.js';

/** Of every load balancer here. */
export const TIMEOUT = { unansweredMs: 360_000, answeredMs: 360_000 };

export const OPTIONS: RealServerOptions = {
  loadBalancers: [
    { prefix: prefix('10.10.1.0/24'), ack: true, ask: false, deliverEmpty: false, timeout: TIMEOUT },
    { prefix: prefix('10.20.0.0/16'), ack: false, ask: false, deliverEmpty: false, timeout: TIMEOUT },
    { prefix: prefix('10.30.0.0/16'), ack: true, ask: false, deliverEmpty: true, timeout: TIMEOUT },
    { prefix: prefix('fd00:1::/64'), ack: true, ask: false, deliverEmpty: false, timeout: TIMEOUT },
    { prefix: prefix('fd00:20::/64'), ack: false, ask: false, deliverEmpty: false, timeout: TIMEOUT },
    { prefix: prefix('fd00:30::/64'), ack: true, ask: false, deliverEmpty: true, timeout: TIMEOUT },
  ],
  services: [
    { words: words('10.10.1.2'), from: 53, to: 53 },
    { words: words('10.10.1.2'), from: 7000, to: 7010 },
    { words: words('10.10.1.3'), from: 53, to: 53 },
    { words: words('10.10.1.4'), from: 0, to: 65535 },
    { words: words('fd00:1::2'), from: 53, to: 53 },
    { words: words('fd00:1::2'), from: 7000, to: 7010 },
    { words: words('fd00:1::3'), from: 53, to: 53 },
    { words: words('fd00:1::4'), from: 0, to: 65535 },
  ],
  ownAddresses: [
    ...['10.10.1.2/32', '10.10.1.3/32', '10.10.1.4/32', '10.10.1.255/32'],
    ...['fd00:1::2/128', 'fd00:1::3/128', 'fd00:1::4/128'],
  ].map(prefix),
  wildcardSources: [words('10.10.1.2'), words('fd00:1::2')],
  translates: false,
};

/** The same load balancers, and those that can be asked are asked. */
export const ASKING: RealServerOptions = {
  ...OPTIONS,
  loadBalancers: OPTIONS.loadBalancers.map(lb => ({ ...lb, ask: lb.ack && !lb.deliverEmpty })),
};

export interface Output {
  /** To the host's own stack, hexadecimal. */
  delivered: string[];
  /** To the network, hexadecimal. */
  emitted: string[];
}

/** The source (0) or destination (1) of a packet as text; of a truncated one it may be no address. */
function addressOf(packet: Octets, end: number): string {
  const [first, length] = packet[0] >> 4 === 6 ? [8, 16] : [12, 4];
  return addressText(Array.from(packet).slice(first + end * length, first + (end + 1) * length));
}

export class Rig {
  readonly device = new MemoryDevice();
  readonly counters = makeCounters();
  readonly flows: FlowTable;
  readonly reader: FlowReader;
  readonly role: RealServerRole;
  readonly pipeline: Pipeline;
  /** What it had to say of paths' MTUs: `203.0.113.7 1400`. */
  readonly toldMtus: string[] = [];
  private readonly serviceAddresses: ReadonlySet<string>;

  constructor({
    options = OPTIONS,
    size = { maxFlows: 100, timeoutMs: 60_000 },
    start = 1000,
    crowd = 0,
  }: { options?: RealServerOptions; size?: TableSize; start?: number; crowd?: number } = {}) {
    this.device.clock[0] = start;
    this.serviceAddresses = new Set(options.services.map(({ words }) => formatAddress([...words])));
    const table: TableOptions = { ...size, routesReplies: true, seed: 3 };
    const memory = new ArrayBuffer(FlowTable.byteLength(table));
    this.flows = FlowTable.create(memory, table, start | 0);
    this.reader = new FlowReader(memory, table);
    const tellPathMtu: TellPathMtu = (words, at, mtu) =>
      this.toldMtus.push(`${formatAddress([...words.subarray(at, at + 4)])} ${mtu}`);
    learnCrowd(this.flows, crowd, start | 0);
    this.role = new RealServerRole(options, this.flows, this.counters, tellPathMtu, 4);
    this.pipeline = new Pipeline(this.device, this.role);
  }

  /**
   * Sends packets in, all of them at once, and gives what came out since the last time. What the network brings loses a
   * hop on its way to us, as on a host, which forwards it to the TUN.
   */
  send(...packets: Octets[]): Output {
    return this.sendUnforwarded(...packets.map(packet => this.arriving(packet)));
  }

  /** The same with packets that lost no hop. */
  sendUnforwarded(...packets: Octets[]): Output {
    for (const packet of packets) this.device.put(Uint8Array.from(packet));
    for (let turns = 0; this.pipeline.turn() > 0; turns++) if (turns > 10_000) expect.fail('it does not end');
    return {
      delivered: this.device.delivered.splice(0).map(toHex),
      emitted: this.device.emitted.splice(0).map(toHex),
    };
  }

  /** A packet as it gets to us: with a hop less if it goes from the network to a service. */
  arriving(packet: Octets): Octets {
    const [source, destination] = [0, 1].map(end => addressOf(packet, end));
    const isInbound = this.serviceAddresses.has(destination) && !this.serviceAddresses.has(source);
    return isInbound ? forwarded(packet) : packet;
  }

  /** Lets time go on in steps of 100 ms, as the pipeline does without packets. */
  wait(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.device.clock[0] += Math.min(left, 100);
      this.pipeline.turn();
    }
  }

  /** The flow from a LIP to a server, as look-ups find it; its ends are written in IPv4's terms. */
  flowOf(lip: string, server: string, family: Family = 4): FlowEntry | undefined {
    const [from, to] = [lip, server].map(text => endpoint(inFamily(family, text)));
    return this.reader.find(words(from.address), from.port, words(to.address), to.port, this.device.clock[0]);
  }

  /** The client that look-ups of a flow find, likewise. */
  clientOf(lip: string, server: string, family: Family = 4): string {
    const flow = this.flowOf(lip, server, family);
    return flow === undefined ? 'unknown' : formatEndpoint(flow.client, flow.clientPort);
  }

  /** The counters that aren't 0. */
  counts(): Partial<Record<RealServerCounter, number>> {
    return Object.fromEntries(
      Object.entries(readCounters(this.counters, REAL_SERVER_COUNTERS)).filter(([, count]) => count !== 0),
    );
  }

  /** What the counters have gone up by (or down) while something was done. */
  counted(work: () => void): Partial<Record<RealServerCounter, number>> {
    const before = readCounters(this.counters, REAL_SERVER_COUNTERS);
    work();
    const changes = Object.entries(readCounters(this.counters, REAL_SERVER_COUNTERS)).map(([name, count]) => [
      name,
      count - before[name as RealServerCounter],
    ]);
    return Object.fromEntries(changes.filter(([, change]) => change !== 0));
  }
}
