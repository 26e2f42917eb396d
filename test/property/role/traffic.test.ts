/**
 * Random traffic through the real server, against a model that knows the protocol and nothing of the code: every
 * packet that comes out is the one that the slow builder makes, the counters agree, and no packet gets lost.
 */

import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import type { CarrierName } from '../../../src/codec/carriers.js';
import { makeCounters, REAL_SERVER_COUNTERS, readCounters } from '../../../src/role/counters.js';
import { CROWD } from '../../unit/support/crowd.js';
import { FAMILIES, type Family, inFamily } from '../../unit/support/families.js';
import { type FlowKey, FlowModel, type ModelFlow } from '../../unit/support/flow-model.js';
import { OPTIONS, Rig } from '../../unit/support/real-server.js';
import {
  type DatagramFields,
  datagram,
  destinationOptions,
  type Endpoint,
  endpoint,
  ipv4,
  ipv6,
  payloadOf,
  toHex,
} from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

/** The same in both families. */
function inBoth<T>(make: (at: (text: string) => string, family: Family) => T): Record<Family, T> {
  const of = (family: Family) => make(text => inFamily(family, text), family);
  return { 4: of(4), 6: of(6) };
}

const LBS = inBoth(at =>
  ['10.10.1.1:40000', '10.10.1.1:40001', '10.10.1.9:40000', '10.20.0.1:40000', '10.30.0.1:40000'].map(at),
);
const UNSERVED = inBoth(at => at('10.10.1.2:99'));
const SERVERS = inBoth((at, family) => [
  ...['10.10.1.2:53', '10.10.1.2:7005', '10.10.1.3:53', '10.10.1.4:53'].map(at),
  UNSERVED[family],
]);
const OWN = inBoth(at => ['203.0.113.7:5555', '203.0.113.7:5556', '198.51.100.9:53'].map(at));
/** Those that marks name: one is of the other family. */
const CLIENTS = inBoth((_, family) => [...OWN[family], OWN[otherThan(family)][0]]);
const IMPOSSIBLE = [
  '127.0.0.1:5',
  '203.0.113.7:0',
  '10.10.1.255:5',
  '[ff02::1]:5',
  '[fe80::1]:5',
  '[::ffff:cb00:7107]:5',
];

/** The clients of these are over after 3 s: two less than their time-out. */
const SHORT = { unansweredMs: 5000, answeredMs: 5000 };
const isShort = (lb: string) => /^(10\.20\.|\[fd00:20:)/.test(lb);

/** As the rig is set up, but for that. */
const LOAD_BALANCERS = OPTIONS.loadBalancers.map(lb => (lb.ack ? lb : { ...lb, timeout: SHORT }));
const hasAck = (lb: string) => !/^(10\.20\.|\[fd00:20:)/.test(lb);
const deliversEmpty = (lb: string) => /^(10\.30\.|\[fd00:30:)/.test(lb);
const isWildcard = (address: string) => ['10.10.1.2', 'fd00:1::2'].includes(address);
/** The services with a port, in their order. */
const serving = (port: number) =>
  ['10.10.1.2', '10.10.1.3', '10.10.1.4', 'fd00:1::2', 'fd00:1::3', 'fd00:1::4'].filter(
    address => /4$/.test(address) || port === 53 || (port === 7005 && /2$/.test(address)),
  );
/** The service of the other family that its clients are delivered to. */
const partnerOf = (server: string) => {
  const [first] = serving(endpoint(server).port).filter(address => familyOf(address) !== familyOf(server));
  return textOf({ address: first, port: endpoint(server).port });
};

function otherThan(family: Family): Family {
  return family === 4 ? 6 : 4;
}

function familyOf(text: string): Family {
  return /:.*:/.test(text) ? 6 : 4;
}

function textOf({ address, port }: Endpoint): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

type Event =
  | { kind: 'marked' | 'unmarked' | 'broken'; lb: string; server: string; client: string; fields: Fields }
  | { kind: 'reply'; from: string; to: string; fields: Fields }
  | { kind: 'stranger'; server: string; client: string; fields: Fields }
  | { kind: 'truncated'; family: Family; cut: number }
  | { kind: 'other'; family: Family; protocol: number; to: 'us' | 'out' | 'nobody' }
  | { kind: 'wait'; ms: number };

interface Fields {
  carrier: 'ipo' | 'opp';
  payload: number[];
  tos: number;
  id: number;
  dontFragment: boolean;
  udpChecksum?: number;
}

const fields: fc.Arbitrary<Fields> = fc
  .record({
    carrier: fc.constantFrom('ipo' as const, 'opp' as const),
    length: fc.constantFrom(0, 0, 1, 2, 30, 31),
    seed: fc.nat(),
    tos: fc.nat(255),
    id: fc.nat(65535),
    dontFragment: fc.boolean(),
    hasChecksum: fc.boolean(),
  })
  .map(({ length, seed, hasChecksum, ...rest }) => ({
    ...rest,
    payload: payloadOf(length, seed + 1),
    ...(hasChecksum ? {} : { udpChecksum: 0 }),
  }));

const family = fc.constantFrom(...FAMILIES);
const either = <T>(make: (family: Family) => fc.Arbitrary<T>): fc.Arbitrary<T> => family.chain(make);
const inward = <Kind extends string>(kind: Kind) =>
  either(family =>
    fc.record({
      kind: fc.constant(kind),
      lb: fc.constantFrom(...LBS[family]),
      server: fc.constantFrom(...SERVERS[family]),
      client: fc.constantFrom(...CLIENTS[family], ...CLIENTS[family], ...IMPOSSIBLE),
      fields,
    }),
  );

const events: fc.Arbitrary<Event[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: inward('marked' as const) },
    { weight: 4, arbitrary: inward('unmarked' as const) },
    { weight: 1, arbitrary: inward('broken' as const) },
    {
      weight: 5,
      arbitrary: either(family =>
        fc.record({
          kind: fc.constant('reply' as const),
          from: fc.constantFrom(...SERVERS[family]),
          to: fc.oneof(fc.constantFrom(...OWN[family]), fc.constantFrom(...LBS[family])),
          fields,
        }),
      ),
    },
    {
      weight: 1,
      arbitrary: either(family =>
        fc.record({
          kind: fc.constant('stranger' as const),
          server: fc.constantFrom(...SERVERS[family]),
          client: fc.constantFrom(...CLIENTS[family]),
          fields,
        }),
      ),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncated' as const), family, cut: fc.nat(40) }) },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('other' as const),
        family,
        protocol: fc.constantFrom(1, 6, 47, 58),
        to: fc.constantFrom('us' as const, 'out' as const, 'nobody' as const),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.oneof(fc.nat(500), fc.nat(5000)) }),
    },
  ),
  { maxLength: 60 },
);

/** The real server as PROTOCOL has it. */
class Model {
  readonly flows = new FlowModel();
  readonly counts = readCounters(makeCounters(), REAL_SERVER_COUNTERS);
  delivered: string[] = [];
  acks: string[] = [];
  emitted: string[] = [];
  /** Milliseconds since the beginning. */
  time = 0;
  /** Packets that went nowhere, by right. */
  gone = 0;

  constructor(private readonly translates: boolean) {}

  /** The packet of an event; what has to come of it is noted. */
  take(event: Exclude<Event, { kind: 'wait' }>): Uint8Array {
    const { counts } = this;
    switch (event.kind) {
      case 'truncated': {
        counts.dropped_malformed++;
        this.gone++;
        const packet = datagram({
          from: LBS[event.family][0],
          to: SERVERS[event.family][0],
          payload: payloadOf(20),
        });
        return packet.slice(0, packet.length - 1 - event.cut);
      }
      case 'other': {
        const packet = otherPacket(event);
        if (event.to === 'us') this.delivered.push(toHex(packet));
        else if (event.to === 'out') this.emitted.push(toHex(packet));
        else {
          counts.packets_ignored++;
          this.gone++;
        }
        return packet;
      }
      case 'stranger': {
        const { client, server: to } = event;
        const from = inFamily(familyOf(to), '198.51.100.200:7');
        const packet = datagram({ ...marked(event.fields, to), from, to, client });
        counts.packets_delivered++;
        this.delivered.push(toHex(packet));
        return packet;
      }
      case 'reply':
        return this.reply(event.from, event.to, plain(event.fields));
      case 'broken':
        return this.broken(event);
      default:
        return this.inbound(event);
    }
  }

  /** A flow whose client is surely the same still. */
  private valid(key: FlowKey): ModelFlow | undefined {
    const flow = this.flows.get(key);
    if (flow === undefined || !isShort(textOf(key.lb))) return flow;
    return this.time - flow.lastInbound < 3000 ? flow : undefined;
  }

  private inbound({ kind, lb, server, client, fields }: Extract<Event, { lb: string }>): Uint8Array {
    const { flows, counts } = this;
    const key = { lb: endpoint(lb), server: endpoint(server) };
    const rest = { ...plain(fields), to: server };
    const isServed = !Object.values(UNSERVED).includes(server);
    if (kind === 'unmarked') {
      counts.uoa_none++;
      const known = this.valid(key);
      if (known !== undefined) flows.recordInbound(known, this.time);
      else if (isServed) counts.uoa_miss++;
      this.deliverAs(known === undefined ? lb : textOf(known.client), lb, rest);
      return datagram({ ...rest, from: lb });
    }

    const packet = datagram({ ...marked(fields, lb), from: lb, to: server, client });
    counts.uoa_got++;
    const possible = isServed && !IMPOSSIBLE.includes(client);
    if (possible) {
      const outcome = flows.learn(key, endpoint(client), 0, this.time);
      if (outcome !== 'refreshed') counts.uoa_saved++;
      if (outcome === 'replaced') counts.uoa_replaced++;
      const flow = flows.get(key);
      if (flow !== undefined) flows.recordInbound(flow, this.time);
      if (hasAck(lb)) {
        counts.uoa_ack_sent++;
        const { carrier } = marked(fields, lb);
        this.acks.push(toHex(datagram({ from: server, to: lb, carrier, client, dontFragment: true })));
      }
    } else if (isServed) counts.uoa_invalid++;
    if (fields.payload.length === 0 && !deliversEmpty(lb)) {
      counts.uoa_standalone++;
      this.gone++;
    } else this.deliverAs(possible ? client : lb, lb, rest);
    return packet;
  }

  /** A mark of a length that there is none of: an option stays in the packet, opp comes off. */
  private broken({ lb, server, fields }: Extract<Event, { lb: string }>): Uint8Array {
    const { flows, counts } = this;
    const known = this.valid({ lb: endpoint(lb), server: endpoint(server) });
    if (known !== undefined) flows.recordInbound(known, this.time);
    counts.uoa_invalid++;
    const isOpp = fields.carrier === 'opp';
    const mark = [31, 12, ...payloadOf(10)];
    const option = familyOf(lb) === 4 ? { options: mark } : { extensions: [destinationOptions(mark)] };
    const rest = { ...plain(fields), to: server };
    this.deliverAs(known === undefined ? lb : textOf(known.client), lb, {
      ...rest,
      ...(isOpp ? {} : option),
    });
    return datagram({ ...rest, ...(isOpp ? { carrier: 'opp', mark } : option), from: lb });
  }

  private reply(from: string, to: string, rest: Omit<Fields, 'carrier'>): Uint8Array {
    const { flows, counts } = this;
    const packet = datagram({ ...rest, from, to });
    const { address, port } = endpoint(from);
    // A wildcard socket may answer for another service with that port, and for one of the other family.
    const others = serving(port)
      .filter(other => (familyOf(other) === familyOf(from) ? isWildcard(address) : this.translates))
      .map(other => textOf({ address: other, port }));
    const candidates = [from, ...others];
    for (const candidate of candidates) {
      const owner = flows.owner(endpoint(candidate), endpoint(to));
      if (owner === undefined) continue;
      flows.recordReply(owner, this.time);
      counts.replies_translated++;
      const fields = familyOf(candidate) === familyOf(from) ? rest : translated(rest);
      this.emitted.push(toHex(datagram({ ...fields, from: candidate, to: textOf(owner.key.lb) })));
      return packet;
    }
    counts.replies_passed++;
    this.emitted.push(toHex(packet));
    return packet;
  }

  /** As from the client, if that is of the load balancer's family, or can be made a packet of its own. */
  private deliverAs(client: string, lb: string, fields: Omit<DatagramFields, 'from'>): void {
    this.counts.packets_delivered++;
    const isOtherFamily = familyOf(client) !== familyOf(lb);
    const packet =
      isOtherFamily && this.translates
        ? { ...translated(fields), from: client, to: partnerOf(fields.to) }
        : { ...fields, from: isOtherFamily ? lb : client };
    this.delivered.push(toHex(datagram(packet)));
  }
}

/** What comes along to the other family. */
function translated<T extends Partial<DatagramFields>>(fields: T) {
  const { options: _, extensions: __, udpChecksum: ___, ...rest } = fields;
  return { ...rest, id: 0, dontFragment: false };
}

/** With the carrier's name in the family of an address. */
function marked(
  { carrier, ...rest }: Fields,
  text: string,
): Omit<Fields, 'carrier'> & { carrier: CarrierName } {
  return { ...rest, carrier: carrier === 'ipo' && familyOf(text) === 6 ? 'dstopt' : carrier };
}

function otherPacket({ family, protocol, to }: Extract<Event, { kind: 'other' }>): Uint8Array {
  const ends = {
    us: ['10.10.1.1', '10.10.1.2'],
    out: ['10.10.1.2', '10.10.1.1'],
    nobody: ['10.10.1.1', '10.10.1.9'],
  }[to];
  const [source, destination] = ends.map(text => inFamily(family, text));
  const body = payloadOf(40);
  return family === 4
    ? ipv4({ source, destination, protocol, body })
    : ipv6({ source, destination, next: protocol, body });
}

function plain({ carrier: _, ...rest }: Fields): Omit<Fields, 'carrier'> {
  return rest;
}

/** The longest run of packets that one batch of the device takes. */
const BATCH = 16;

it('RealServerRole does with random traffic what its model does', () => {
  fc.assert(
    fc.property(
      events,
      fc.boolean(),
      fc.integer({ min: 1, max: BATCH }),
      fc.integer(),
      fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.constant(CROWD) }),
      (events, translates, batch, start, crowd) => {
        const size = { maxFlows: 100 + crowd, timeoutMs: 3_600_000 };
        const options = { ...OPTIONS, loadBalancers: LOAD_BALANCERS, translates };
        const rig = new Rig({ start, size, crowd, options });
        const model = new Model(translates);
        let packets: Uint8Array[] = [];
        let sent = 0;
        let out = 0;
        const flush = () => {
          const { delivered, emitted } = rig.send(...packets);
          // The ACKs of a batch go first, before the rest in its order.
          expect(delivered).toEqual(model.delivered);
          expect(emitted).toEqual([...model.acks, ...model.emitted]);
          sent += packets.length;
          out += delivered.length + emitted.length - model.acks.length;
          packets = [];
          model.delivered = [];
          model.acks = [];
          model.emitted = [];
        };
        for (const event of events) {
          if (event.kind === 'wait') {
            flush();
            rig.wait(event.ms);
            model.time += event.ms;
            continue;
          }
          packets.push(model.take(event));
          if (packets.length === batch) flush();
        }
        flush();
        rig.wait(100);
        expect(out + model.gone).toBe(sent);
        expect(readCounters(rig.counters, REAL_SERVER_COUNTERS)).toEqual({
          ...model.counts,
          flows: crowd + model.flows.flows.size,
        });
      },
    ),
    { numRuns: 400 },
  );
});

it('RealServerRole delivers, emits or counts any bytes at all', () => {
  const packet = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 80 }),
    fc
      .tuple(
        family.chain(family =>
          fc.record({
            from: fc.constantFrom(...LBS[family], ...OWN[family]),
            to: fc.constantFrom(...SERVERS[family]),
            client: fc.constantFrom(...CLIENTS[family]),
          }),
        ),
        fields,
        fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 3 }),
      )
      .map(([ends, rest, patches]) => {
        const bytes = datagram({ ...marked(rest, ends.from), ...ends });
        for (const [offset, value] of patches) if (offset < bytes.length) bytes[offset] = value;
        return bytes;
      }),
  );
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 40 }), fc.boolean(), (packets, translates) => {
      const rig = new Rig({ options: { ...OPTIONS, translates } });
      const { delivered, emitted } = rig.send(...packets);
      // What is held for a first fragment that never comes is dropped in the end.
      rig.wait(3000);
      const counts = readCounters(rig.counters, REAL_SERVER_COUNTERS);
      const out = delivered.length + emitted.length - counts.uoa_ack_sent;
      const gone =
        counts.uoa_standalone + counts.dropped_malformed + counts.packets_ignored + counts.fragments_dropped;
      expect(out + gone).toBe(packets.length);
      expect(counts.uoa_ack_sent).toBeLessThanOrEqual(counts.uoa_got);
    }),
    { numRuns: 500 },
  );
});
