/**
 * Random traffic through the load balancer, against a model that knows the protocol and nothing of the code: every
 * packet that comes out is the one that the slow builder makes, the counters agree, no packet gets lost, and no
 * connection gets more marks than it may.
 */
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { LOAD_BALANCER_COUNTERS, makeCounters, readCounters } from '../../../src/role/counters.js';
import { noise } from '../../unit/support/arbitraries.js';
import {
  datagramIn,
  FAMILIES,
  type Family,
  type FamilyFields,
  inFamily,
  markIn,
} from '../../unit/support/families.js';
import { Rig } from '../../unit/support/load-balancer.js';
import {
  type DatagramFields,
  destinationOption,
  destinationOptions,
  type Extension,
  fragment,
  hex,
  hopByHop,
  ipv4,
  ipv6,
  option,
  payloadOf,
  routing,
  toHex,
} from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

const LIPS = ['10.10.1.1:40000', '10.10.1.1:40001', '10.10.1.9:40000'];
const SERVERS = ['10.10.1.2:53', '10.10.1.3:53'];
const CLIENTS = ['203.0.113.7:5555', '203.0.113.7:5556', '198.51.100.9:53'];
const MTU = 1400;

interface Fields {
  payload: number[];
  /** Which of HEADERS comes along. */
  header: number;
  tos: number;
  ttl: number;
  id: number;
  dontFragment: boolean;
  udpChecksum?: number;
}

type Event =
  | { kind: 'datagram'; lip: string; server: string; fields: Fields }
  | { kind: 'fragments'; lip: string; server: string; fields: Fields }
  | { kind: 'connect'; lip: string; server: string; client: string }
  | { kind: 'forget'; lip: string; server: string }
  | { kind: 'ack'; lip: string; server: string; client: string; carrier: 'ipo' | 'opp' }
  | { kind: 'answer'; lip: string; server: string; client: string; carrier: 'ipo' | 'opp'; fields: Fields }
  | { kind: 'truncated'; cut: number }
  | { kind: 'other'; protocol: number; outgoing: boolean }
  | { kind: 'wait'; ms: number };

const forged = option('192.0.2.99:99');
const alert = hex('94040000');
const alerts = (count: number) => Array.from({ length: count }, () => alert).flat();
const nops = (count: number) => new Array<number>(count).fill(1);
const forged6 = destinationOption('[2001:db8:bad::99]:99');

/** What a header may have beside a mark, and the same without what would pass for one; the first has nothing. */
interface Header {
  came: Pick<DatagramFields, 'options' | 'extensions'>;
  left: Pick<DatagramFields, 'options' | 'extensions'>;
  marks: number;
  /** Bytes of it that are left. */
  length: number;
}
const header4 = (options: number[], left: number[], marks: number): Header => ({
  ...{ came: { options }, left: { options: left } },
  ...{ marks, length: left.length },
});
const header6 = (extensions: Extension[], left: Extension[], marks: number): Header => ({
  ...{ came: { extensions }, left: { extensions: left } },
  ...{ marks, length: left.reduce((sum, [, bytes]) => sum + 1 + bytes.length, 0) },
});
const broken6 = destinationOptions([31, 60, 1, 2, 3, 4]);
const other6 = destinationOptions([0x1e, 4, 1, 2, 3, 4]);
const HEADERS: Record<Family, Header[]> = {
  4: [
    header4([], [], 0),
    header4(alerts(1), alerts(1), 0),
    header4(alerts(8), alerts(8), 0),
    header4(alerts(9), alerts(9), 0),
    header4(forged, nops(8), 1),
    header4([...alert, ...forged, ...forged], [...alert, ...nops(16)], 2),
    header4([1, 31, 5, 9, 9, 9, 0, 31], [...nops(6), 0, 31], 1),
    header4([31, 0, 1, 1], [31, 0, 1, 1], 0),
  ],
  6: [
    header6([], [], 0),
    header6([hopByHop()], [hopByHop()], 0),
    header6([other6, routing()], [other6, routing()], 0),
    header6([other6], [other6], 0),
    header6([destinationOptions(forged6)], [], 1),
    header6([hopByHop(), destinationOptions([...forged6, ...forged6])], [hopByHop()], 2),
    header6([destinationOptions(forged6), destinationOptions(forged6)], [], 2),
    header6([broken6], [broken6], 0),
  ],
};

const fields: fc.Arbitrary<Fields> = fc
  .record({
    length: fc.constantFrom(
      ...[0, 0, 1, 2, 30, 31, 512, 525, 1320, 1321, 1328, 1329, 1360, 1361, 1364, 1365, 1372],
    ),
    seed: fc.nat(),
    header: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(7) }),
    tos: fc.nat(255),
    ttl: fc.integer({ min: 2, max: 255 }),
    id: fc.nat(65_535),
    dontFragment: fc.boolean(),
    hasChecksum: fc.boolean(),
  })
  .map(({ length, seed, hasChecksum, ...rest }) => ({
    ...rest,
    payload: payloadOf(length, seed + 1),
    ...(hasChecksum ? {} : { udpChecksum: 0 }),
  }));

const lip = fc.constantFrom(...LIPS);
const server = fc.constantFrom(...SERVERS);
const client = fc.constantFrom(...CLIENTS);
const family = fc.constantFrom(...FAMILIES);
const carrier = fc.constantFrom('ipo' as const, 'opp' as const);
const kind = <Kind extends Event['kind']>(name: Kind) => fc.constant(name);

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.oneof(
    { weight: 10, arbitrary: fc.record({ kind: kind('datagram'), lip, server, fields }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('fragments'), lip, server, fields }) },
    { weight: 4, arbitrary: fc.record({ kind: kind('connect'), lip, server, client }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('forget'), lip, server }) },
    { weight: 3, arbitrary: fc.record({ kind: kind('ack'), lip, server, client, carrier }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('answer'), lip, server, client, carrier, fields }) },
    { weight: 1, arbitrary: fc.record({ kind: kind('truncated'), cut: fc.nat(40) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: kind('other'),
        protocol: fc.constantFrom(1, 6, 47),
        outgoing: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: kind('wait'), ms: fc.nat(2500) }) },
  ),
  { maxLength: 60, size: 'max' },
);

/** One connection of the kernel's. */
interface Connection {
  client: string;
  marksSent: number;
  isAcknowledged: boolean;
  isReleased: boolean;
}

/** The load balancer as PROTOCOL has it. */
class Model {
  readonly counts = readCounters(makeCounters(), LOAD_BALANCER_COUNTERS);
  delivered: string[] = [];
  /** Standalone packets, which go ahead of a batch. */
  added: string[] = [];
  emitted: string[] = [];
  readonly releases: string[] = [];
  /** By tuple: what the kernel has now, and what the shim saw last. */
  private readonly kernel = new Map<string, Connection>();
  private readonly seen = new Map<string, Connection>();

  constructor(
    private readonly family: Family,
    private readonly carrier: 'ipo' | 'opp',
    private readonly marksPerFlow: number,
  ) {}

  /** The name of a connection, as `finds` and `releases` have it. */
  private tuple(lip: string, server: string): string {
    return `${inFamily(this.family, server)} > ${inFamily(this.family, lip)}`;
  }

  private make(fields: FamilyFields): Uint8Array {
    return datagramIn(this.family, fields);
  }

  connect(lip: string, server: string, client: string): void {
    this.kernel.set(this.tuple(lip, server), {
      client,
      marksSent: 0,
      isAcknowledged: false,
      isReleased: false,
    });
  }

  forget(lip: string, server: string): void {
    this.kernel.delete(this.tuple(lip, server));
  }

  /** How many flows have been seen, each under its tuple. */
  get flows(): number {
    return this.seen.size;
  }

  /** The packets of an event; what has to come of them is noted. */
  take(event: Exclude<Event, { kind: 'wait' | 'connect' | 'forget' }>): Uint8Array[] {
    const { counts } = this;
    switch (event.kind) {
      case 'truncated': {
        counts.packets_seen++;
        counts.dropped_malformed++;
        const packet = this.make({ from: LIPS[0], to: SERVERS[0], payload: payloadOf(20) });
        return [packet.slice(0, packet.length - 1 - event.cut)];
      }
      case 'other': {
        counts.packets_seen++;
        counts.packets_ignored++;
        const ends = event.outgoing ? ['10.10.1.1', '10.10.1.2'] : ['10.10.1.2', '10.10.1.1'];
        const [source, destination] = ends.map(text => inFamily(this.family, text));
        const rest = { source, destination, body: payloadOf(40) };
        const { protocol } = event;
        return [this.family === 4 ? ipv4({ ...rest, protocol }) : ipv6({ ...rest, next: protocol })];
      }
      case 'ack':
        return [this.ack(event)];
      case 'answer':
        return [this.answer(event)];
      case 'datagram':
        return [this.datagram(event)];
      case 'fragments':
        return this.fragments(event);
    }
  }

  private datagram({ lip, server, fields }: Extract<Event, { kind: 'datagram' }>): Uint8Array {
    const { counts, carrier } = this;
    counts.packets_seen++;
    const { header: index, ...rest } = fields;
    const header = HEADERS[this.family][index];
    counts.marks_forged += header.marks;
    const plain = { ...rest, ...header.left, from: lip, to: server };
    const connection = this.marking(lip, server);
    if (connection === undefined) {
      counts.packets_unmarked++;
      this.emitted.push(toHex(this.make(plain)));
    } else if (this.isRoomIn(fields.payload, header)) {
      counts.marks_inserted++;
      this.emitted.push(toHex(this.make({ ...plain, carrier, client: connection.client })));
    } else {
      this.standalone(lip, server, connection.client);
      this.emitted.push(toHex(this.make(plain)));
    }
    return this.make({ ...rest, ...header.came, from: lip, to: server });
  }

  private fragments({ lip, server, fields }: Extract<Event, { kind: 'fragments' }>): Uint8Array[] {
    const { counts, family } = this;
    const { header: index, ...rest } = fields;
    // IPv6's extension headers would be in what is cut up.
    const header = HEADERS[family][family === 4 ? index : 0];
    const whole = { ...rest, payload: payloadOf(100), from: lip, to: server };
    const pieces = fragment(this.make({ ...whole, ...header.left }), 40);
    counts.marks_forged += header.marks;
    counts.packets_seen += pieces.length;
    counts.packets_unmarked += pieces.length;
    const connection = this.marking(lip, server);
    if (connection !== undefined) {
      counts.packets_unmarked--;
      this.standalone(lip, server, connection.client);
    }
    this.emitted.push(...pieces.map(toHex));
    return fragment(this.make({ ...whole, ...header.came }), 40);
  }

  /** The connection of a packet, if it gets a mark. */
  private marking(lip: string, server: string): Connection | undefined {
    const tuple = this.tuple(lip, server);
    const connection = this.kernel.get(tuple);
    if (connection === undefined) return undefined;
    this.seen.set(tuple, connection);
    const wantsMark = () => !connection.isAcknowledged && connection.marksSent < this.marksPerFlow;
    const isMarked = wantsMark();
    if (isMarked) connection.marksSent++;
    if (!wantsMark() && !connection.isReleased && this.marksPerFlow > 0) {
      connection.isReleased = true;
      this.counts.flows_released++;
      this.releases.push(tuple);
    }
    return isMarked ? connection : undefined;
  }

  private isRoomIn(payload: readonly number[], { length }: Header): boolean {
    if (payload.length === 0) return false;
    if (this.family === 6) {
      if (this.carrier === 'opp' && length > 0) return false;
      return 48 + length + payload.length + 24 <= MTU;
    }
    if (this.carrier === 'ipo' && length > 32) return false;
    return 28 + length + payload.length + (this.carrier === 'ipo' ? 8 : 12) <= MTU;
  }

  private standalone(lip: string, server: string, client: string): void {
    const { carrier } = this;
    this.counts.marks_standalone++;
    this.added.push(toHex(this.make({ from: lip, to: server, carrier, client, dontFragment: true })));
  }

  private ack({ lip, server, client, carrier }: Extract<Event, { kind: 'ack' }>): Uint8Array {
    const { counts } = this;
    const tuple = this.tuple(lip, server);
    const connection = this.seen.get(tuple);
    counts.packets_seen++;
    if (connection?.client === client && connection.marksSent > 0 && carrier === this.carrier) {
      counts.acks_received++;
      if (!connection.isAcknowledged) counts.flows_acked++;
      connection.isAcknowledged = true;
    } else counts.acks_unmatched++;
    return this.make({ from: server, to: lip, carrier, client, dontFragment: true });
  }

  private answer({ lip, server, client, carrier, fields }: Extract<Event, { kind: 'answer' }>): Uint8Array {
    const { counts } = this;
    const { header: _, ...rest } = { ...fields, payload: [1, ...fields.payload] };
    counts.packets_seen++;
    counts.packets_unmarked++;
    this.delivered.push(toHex(this.make({ ...rest, from: server, to: lip })));
    return this.make({ ...rest, from: server, to: lip, carrier, client });
  }
}

/** An event more, and it is the longest run of packets that one batch of the device takes. */
const BATCH = 13;

it('LoadBalancerRole does with random traffic what its model does', () => {
  fc.assert(
    fc.property(
      events,
      family,
      carrier,
      fc.constantFrom(0, 1, 3, 3, 3, 100),
      fc.integer({ min: 1, max: BATCH }),
      fc.integer(),
      (events, family, carrier, marksPerFlow, batch, start) => {
        const rig = new Rig({
          family,
          options: { carrier, marksPerFlow },
          start,
          size: { maxFlows: 100, timeoutMs: 3_600_000 },
        });
        rig.mtu = MTU;
        const model = new Model(family, carrier, marksPerFlow);
        let packets: Uint8Array[] = [];
        const flush = () => {
          const { delivered, emitted } = rig.send(...packets);
          expect(delivered).toEqual(model.delivered);
          expect(emitted).toEqual([...model.added, ...model.emitted]);
          packets = [];
          model.delivered = [];
          model.added = [];
          model.emitted = [];
        };
        for (const event of events) {
          if (event.kind === 'wait') {
            flush();
            rig.wait(event.ms);
          } else if (event.kind === 'connect' || event.kind === 'forget') {
            flush();
            if (event.kind === 'connect') {
              model.connect(event.lip, event.server, event.client);
              rig.connections.track(event.lip, event.server, event.client);
            } else {
              model.forget(event.lip, event.server);
              rig.connections.forget(event.lip, event.server);
            }
          } else {
            packets.push(...model.take(event));
            if (packets.length >= batch) flush();
          }
        }
        flush();
        rig.wait(100);
        expect(rig.connections.releases).toEqual(model.releases);
        expect(readCounters(rig.counters, LOAD_BALANCER_COUNTERS)).toEqual({
          ...model.counts,
          flows: model.flows,
        });
      },
    ),
    { numRuns: 400 },
  );
});

it('LoadBalancerRole sends or counts any bytes at all, with no more marks than a connection may have', () => {
  const patches = fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 2 });
  const packetIn = (family: Family) =>
    fc.oneof(
      { weight: 1, arbitrary: noise },
      {
        weight: 4,
        arbitrary: fc.tuple(lip, server, fields, patches).map(([from, to, { header, ...rest }, patches]) => {
          const more = HEADERS[family][header].came;
          return patched(datagramIn(family, { ...rest, ...(family === 4 ? more : {}), from, to }), patches);
        }),
      },
      {
        weight: 2,
        arbitrary: fc
          .tuple(lip, server, client, carrier, patches)
          .map(([to, from, client, carrier, patches]) =>
            patched(datagramIn(family, { from, to, client, carrier, dontFragment: true }), patches),
          ),
      },
    );
  const steps = family.chain(family =>
    fc.record({
      family: fc.constant(family),
      steps: fc.array(fc.record({ packet: packetIn(family), ms: fc.constantFrom(0, 0, 0, 1, 999, 1000) }), {
        maxLength: 60,
        size: 'max',
      }),
    }),
  );
  fc.assert(
    fc.property(steps, carrier, fc.nat(4), ({ family, steps }, carrier, marksPerFlow) => {
      const rig = new Rig({
        family,
        options: { carrier, marksPerFlow },
        size: { maxFlows: 1000, timeoutMs: 3_600_000 },
      });
      rig.mtu = MTU;
      for (const lip of LIPS) for (const server of SERVERS) rig.connections.track(lip, server, CLIENTS[0]);
      let out = 0;
      const marks = new Map<string, number>();
      for (const { packet, ms } of steps) {
        rig.skip(ms);
        const { delivered, emitted } = rig.send(packet);
        out += delivered.length + emitted.length;
        for (const tuple of emitted.flatMap(markedTuple)) marks.set(tuple, (marks.get(tuple) ?? 0) + 1);
      }
      const counts = readCounters(rig.counters, LOAD_BALANCER_COUNTERS);
      const gone =
        counts.dropped_malformed + counts.packets_ignored + counts.acks_received + counts.acks_unmatched;
      expect(out - counts.marks_standalone + gone).toBe(steps.length);
      expect(counts.packets_seen).toBe(steps.length);
      expect(Math.max(0, ...marks.values())).toBeLessThanOrEqual(marksPerFlow);
      expect([...marks.values()].reduce((sum, count) => sum + count, 0)).toBe(
        counts.marks_inserted + counts.marks_standalone,
      );
    }),
    { numRuns: 500 },
  );
});

function patched(packet: Uint8Array, patches: readonly (readonly [number, number])[]): Uint8Array {
  for (const [offset, value] of patches) if (offset < packet.length) packet[offset] = value;
  return packet;
}

/** Which connection the mark in a packet is for, if it is one of the load balancer's own: not more is looked at. */
function markedTuple(packet: string): string[] {
  const bytes = hex(packet);
  return bytes[0] >> 4 === 6 ? markedTuple6(bytes) : markedTuple4(bytes);
}

function markedTuple4(bytes: number[]): string[] {
  if ((bytes[6] & 0x1f) !== 0 || bytes[7] !== 0) return [];
  const end = (bytes[0] % 16) * 4;
  const isOpp = bytes[9] === 248;
  const mark = isOpp ? bytes.slice(end + 4, end + 12) : bytes.slice(20, 28);
  if (toHex(mark) !== toHex(option(CLIENTS[0]))) return [];
  const ports = end + (isOpp ? 12 : 0);
  return [toHex([...bytes.slice(12, 20), ...bytes.slice(ports, ports + 4)])];
}

function markedTuple6(bytes: number[]): string[] {
  const carrier = bytes[6] === 248 ? 'opp' : 'ipo';
  const at = carrier === 'opp' ? 44 : 42;
  const mark = markIn(6, carrier, CLIENTS[0]);
  if (![60, 248].includes(bytes[6]) || toHex(bytes.slice(at, at + 20)) !== toHex(mark)) return [];
  return [toHex([...bytes.slice(8, 40), ...bytes.slice(64, 68)])];
}
