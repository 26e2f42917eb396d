/**
 * A load balancer without a kernel: a pipeline with the role in it on the in-memory device, a conntrack that is a
 * map, and a clock that stands still until it is told.
 *
 *     10.10.1.1, 10.10.1.9   the host's own addresses, the LIPs; 198.51.100.10 the VIP
 *     fd00:1::1, fd00:1::9   the same in IPv6; 2001:db8:198:51::100:10 the VIP
 *     1500                   the MTU to every real server, unless a test says otherwise
 */
import { expect } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import type { OriginalTuple, ReplyTuple } from '../../../src/codec/ctnetlink.js';
import { NONE } from '../../../src/codec/units.js';
import { Pipeline } from '../../../src/dataplane/pipeline.js';
import { type FlowEntry, FlowReader } from '../../../src/flow/reader.js';
import { FlowTable, type TableOptions, type TableSize } from '../../../src/flow/table.js';
import { formatAddress, formatEndpoint } from '../../../src/host/addresses.js';
import { LOAD_BALANCER_COUNTERS, makeCounters, readCounters } from '../../../src/role/counters.js';
import type { Connection, Connections } from '../../../src/role/load-balancer/connections.js';
import type { PathMtuOf } from '../../../src/role/load-balancer/marking.js';
import { LoadBalancerRole } from '../../../src/role/load-balancer/role.js';
import type { LoadBalancerOptions } from '../../../src/role/load-balancer/settings.js';
import { type Family, inFamily } from './families.js';
import { MemoryDevice } from './memory-device.js';
import type { Output } from './real-server.js';
import { endpoint, forwarded, type Octets, prefix, toHex, words } from './wire.js';

type LoadBalancerCounter = (typeof LOAD_BALANCER_COUNTERS)[number];

export const OPTIONS: LoadBalancerOptions = {
  carrier: 'ipo',
  marksPerFlow: 3,
  ownAddresses: [
    ...['127.0.0.0/8', '10.10.1.1/32', '10.10.1.9/32', '198.51.100.10/32'],
    ...['::1/128', 'fd00:1::1/128', 'fd00:1::9/128', '2001:db8:198:51::100:10/128'],
  ].map(prefix),
};

interface Tracked {
  client: string;
  id: number;
}

/** Conntrack's connections by their reply tuple, `10.10.1.2:53 > 10.10.1.1:40000`. */
export class FakeConnections implements Connections {
  /** The tuples of the connections that the role looked at, and of those that it let go. */
  readonly finds: string[] = [];
  readonly releases: string[] = [];
  /** What conntrack was asked, a list for each time. */
  readonly queries: string[][] = [];
  /** Called ahead of each release. */
  onRelease: () => void = () => {};
  private list: string[] = [];
  /** What it answered last to the queries of a list. */
  private answers: { name: string; tracked: Tracked | undefined }[] = [];
  private readonly toBeReleased: string[] = [];
  private readonly connections = new Map<string, Tracked>();
  private readonly original = { addresses: new Int32Array(8), sourcePort: 0, destinationPort: 0 };
  private readonly connection = {
    ...{ client: this.original.addresses.subarray(0, 4), clientPort: 0, id: 0 },
    original: this.original,
  };
  private lastId = 0;

  /** Whoever is named in IPv4's terms is meant in this family. */
  constructor(private readonly family: Family) {}

  /** The kernel's connection of a client, NATed to go `from` a LIP `to` a real server; in the place of an earlier one. */
  track(from: string, to: string, client: string, id = ++this.lastId): void {
    this.connections.set(this.tuple(from, to), { client: inFamily(this.family, client), id });
  }

  forget(from: string, to: string): void {
    this.connections.delete(this.tuple(from, to));
  }

  /** How the tuple of a connection is written in `finds` and `releases`. */
  tuple(from: string, to: string): string {
    return `${inFamily(this.family, to)} > ${inFamily(this.family, from)}`;
  }

  addQuery(tuple: ReplyTuple): number {
    return this.list.length === BATCH ? NONE : this.list.push(describeTuple(tuple)) - 1;
  }

  sendQueries(): void {
    this.answers = this.ask(this.list);
    this.list = [];
  }

  answer(query: number): Connection | undefined {
    const { name, tracked } = this.answers[query];
    return this.look(name, tracked);
  }

  find(tuple: ReplyTuple): Connection | undefined {
    const [{ name, tracked }] = this.ask([describeTuple(tuple)]);
    return this.look(name, tracked);
  }

  private ask(names: string[]) {
    if (names.length > 0) this.queries.push(names);
    return names.map(name => ({ name, tracked: this.connections.get(name) }));
  }

  private look(name: string, tracked: Tracked | undefined): Connection | undefined {
    const { connection } = this;
    this.finds.push(name);
    // What is left over from another connection must not be taken for this one's.
    const { client, id } = tracked ?? { client: '192.0.2.66:666', id: -666 };
    const { address, port } = endpoint(client);
    this.original.addresses.set([...words(address), ...words(inFamily(this.family, VIP))]);
    this.original.sourcePort = connection.clientPort = port;
    this.original.destinationPort = vportOf(id);
    connection.id = id;
    return tracked === undefined ? undefined : connection;
  }

  addRelease(tuple: OriginalTuple): void {
    this.toBeReleased.push(describeTuple(tuple));
  }

  sendReleases(): void {
    if (this.toBeReleased.length > 0) this.onRelease();
    for (const name of this.toBeReleased.splice(0)) {
      const [reply] = [...this.connections].find(([, tracked]) => this.nameOf(tracked) === name) ?? [];
      if (reply !== undefined) this.releases.push(reply);
    }
  }

  private nameOf({ client, id }: Tracked): string {
    const { address, port } = endpoint(client);
    const vip = wordsAt(Int32Array.from(words(inFamily(this.family, VIP))), 0);
    return `${formatEndpoint(wordsAt(Int32Array.from(words(address)), 0), port)} > ${formatEndpoint(vip, vportOf(id))}`;
  }
}

/** Whom everybody asks, each connection at a port of its own: so none has the same original tuple as another. */
const VIP = '198.51.100.10';
const vportOf = (id: number) => id & 0xffff;

function describeTuple({ addresses, sourcePort, destinationPort }: ReplyTuple): string {
  return `${formatEndpoint(wordsAt(addresses, 0), sourcePort)} > ${formatEndpoint(wordsAt(addresses, 4), destinationPort)}`;
}

function wordsAt(words: Int32Array, at: number): number[] {
  return [...words.subarray(at, at + 4)];
}

export class Rig {
  readonly device = new MemoryDevice();
  readonly counters = makeCounters();
  readonly connections: FakeConnections;
  readonly flows: FlowTable;
  readonly reader: FlowReader;
  readonly role: LoadBalancerRole;
  readonly pipeline: Pipeline;
  /** The MTU of every path, and whose was asked for. */
  mtu = 1500;
  readonly mtuQuestions: string[] = [];
  private readonly family: Family;

  constructor({
    options = {},
    size = { maxFlows: 100, timeoutMs: 60_000 },
    start = 1000,
    family = 4,
  }: { options?: Partial<LoadBalancerOptions>; size?: TableSize; start?: number; family?: Family } = {}) {
    this.family = family;
    this.connections = new FakeConnections(family);
    this.device.clock[0] = start;
    const table: TableOptions = { ...size, routesReplies: false, seed: 3 };
    const memory = new ArrayBuffer(FlowTable.byteLength(table));
    this.flows = FlowTable.create(memory, table, start | 0);
    this.reader = new FlowReader(memory, table);
    const pathMtu: PathMtuOf = (words, at) => {
      this.mtuQuestions.push(formatAddress(wordsAt(words, at)));
      return this.mtu;
    };
    this.role = new LoadBalancerRole(
      { ...OPTIONS, ...options },
      this.flows,
      this.counters,
      this.connections,
      pathMtu,
      5,
    );
    this.pipeline = new Pipeline(this.device, this.role);
  }

  /**
   * Sends packets in, all of them at once, and gives what came out since the last time. All of them lose a hop on their
   * way to us, as on a host, which forwards them to the TUN.
   */
  send(...packets: Octets[]): Output {
    return this.sendUnforwarded(...packets.map(forwarded));
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

  /** The flow from a LIP to a server, as look-ups find it; its ends are written in IPv4's terms. */
  flowOf(lip: string, server: string): FlowEntry | undefined {
    const [from, to] = [lip, server].map(text => endpoint(inFamily(this.family, text)));
    return this.reader.find(words(from.address), from.port, words(to.address), to.port, this.device.clock[0]);
  }

  /** Lets time go on at once: no tick in between. */
  skip(ms: number): void {
    this.device.clock[0] += ms;
  }

  /** Lets time go on in steps of 100 ms, as the pipeline does without packets. */
  wait(ms: number): void {
    for (let left = ms; left > 0; left -= 100) {
      this.device.clock[0] += Math.min(left, 100);
      this.pipeline.turn();
    }
  }

  /** The counters that aren't 0. */
  counts(): Partial<Record<LoadBalancerCounter, number>> {
    return Object.fromEntries(
      Object.entries(readCounters(this.counters, LOAD_BALANCER_COUNTERS)).filter(([, count]) => count !== 0),
    );
  }
}
