/**
 * Random traffic through the real server, against a model that knows the protocol and nothing of the code: every
 * packet that comes out is the one that the slow builder makes, the counters agree, and no packet gets lost.
 */
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { makeCounters, REAL_SERVER_COUNTERS, readCounters } from '../../src/role/counters.js';
import { FlowModel, text } from '../unit/support/flow-model.js';
import { Rig } from '../unit/support/real-server.js';
import { type DatagramFields, datagram, endpoint, ipv4, payloadOf, toHex } from '../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

const LBS = ['10.10.1.1:40000', '10.10.1.1:40001', '10.10.1.9:40000', '10.20.0.1:40000', '10.30.0.1:40000'];
const SERVERS = ['10.10.1.2:53', '10.10.1.2:7005', '10.10.1.3:53', '10.10.1.4:53', '10.10.1.2:99'];
const CLIENTS = ['203.0.113.7:5555', '203.0.113.7:5556', '198.51.100.9:53', '[2001:db8::7]:5555'];
const IMPOSSIBLE = ['127.0.0.1:5', '203.0.113.7:0', '10.10.1.255:5', '[ff02::1]:5'];

const UNSERVED = '10.10.1.2:99';
/** As the rig is set up. */
const hasAck = (lb: string) => !lb.startsWith('10.20.');
const deliversEmpty = (lb: string) => lb.startsWith('10.30.');

type Event =
  | { kind: 'marked' | 'unmarked' | 'broken'; lb: string; server: string; client: string; fields: Fields }
  | { kind: 'reply'; from: string; to: string; fields: Fields }
  | { kind: 'stranger'; server: string; client: string; fields: Fields }
  | { kind: 'truncated'; cut: number }
  | { kind: 'other'; protocol: number }
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

const lb = fc.constantFrom(...LBS);
const server = fc.constantFrom(...SERVERS);
const client = fc.constantFrom(...CLIENTS, ...CLIENTS, ...IMPOSSIBLE);
const events: fc.Arbitrary<Event[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('marked' as const), lb, server, client, fields }) },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('unmarked' as const), lb, server, client, fields }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('broken' as const), lb, server, client, fields }) },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant('reply' as const),
        from: server,
        to: fc.oneof(fc.constantFrom(...CLIENTS.slice(0, 3)), lb),
        fields,
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('stranger' as const), server, client, fields }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('truncated' as const), cut: fc.nat(40) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('other' as const), protocol: fc.constantFrom(1, 6, 47, 58) }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(500) }) },
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
  /** Packets that went nowhere, by right. */
  gone = 0;

  /** The packet of an event; what has to come of it is noted. */
  take(event: Exclude<Event, { kind: 'wait' }>): Uint8Array {
    const { counts } = this;
    switch (event.kind) {
      case 'truncated': {
        counts.dropped_malformed++;
        this.gone++;
        const packet = datagram({ from: LBS[0], to: SERVERS[0], payload: payloadOf(20) });
        return packet.slice(0, packet.length - 1 - event.cut);
      }
      case 'other': {
        const packet = ipv4({
          source: '10.10.1.1',
          destination: '10.10.1.2',
          protocol: event.protocol,
          body: payloadOf(40),
        });
        if (event.protocol === 1) this.delivered.push(toHex(packet));
        else {
          counts.packets_ignored++;
          this.gone++;
        }
        return packet;
      }
      case 'stranger': {
        const { client } = event;
        const packet = datagram({ ...event.fields, from: '198.51.100.200:7', to: event.server, client });
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

  private inbound({ kind, lb, server, client, fields }: Extract<Event, { lb: string }>): Uint8Array {
    const { flows, counts } = this;
    const key = { lb: endpoint(lb), server: endpoint(server) };
    const rest = { ...plain(fields), to: server };
    if (kind === 'unmarked') {
      counts.uoa_none++;
      const known = flows.get(key);
      if (known !== undefined) flows.heard(known, 0);
      else if (server !== UNSERVED) counts.uoa_miss++;
      this.deliver({ ...rest, from: known === undefined ? lb : asSource(text(known.client), lb) });
      return datagram({ ...rest, from: lb });
    }

    const packet = datagram({ ...fields, from: lb, to: server, client });
    counts.uoa_got++;
    const isServed = server !== UNSERVED;
    const possible = isServed && CLIENTS.includes(client);
    if (possible) {
      if (flows.learn(key, endpoint(client), 0, 0) !== 'refreshed') counts.uoa_saved++;
      const flow = flows.get(key);
      if (flow !== undefined) flows.heard(flow, 0);
      if (hasAck(lb)) {
        counts.uoa_ack_sent++;
        const { carrier } = fields;
        this.acks.push(toHex(datagram({ from: server, to: lb, carrier, client, dontFragment: true })));
      }
    } else if (isServed) counts.uoa_invalid++;
    if (fields.payload.length === 0 && !deliversEmpty(lb)) {
      counts.uoa_standalone++;
      this.gone++;
    } else this.deliver({ ...rest, from: possible ? asSource(text(endpoint(client)), lb) : lb });
    return packet;
  }

  /** A mark of a length that there is none of: ipo stays in the packet, opp comes off. */
  private broken({ lb, server, fields }: Extract<Event, { lb: string }>): Uint8Array {
    const { flows, counts } = this;
    const mark = [31, 12, ...payloadOf(10)];
    const known = flows.get({ lb: endpoint(lb), server: endpoint(server) });
    if (known !== undefined) flows.heard(known, 0);
    counts.uoa_invalid++;
    this.deliver({
      ...plain(fields),
      ...(fields.carrier === 'ipo' ? { options: mark } : {}),
      from: known === undefined ? lb : asSource(text(known.client), lb),
      to: server,
    });
    return datagram({ ...fields, mark, from: lb, to: server });
  }

  private reply(from: string, to: string, rest: Omit<Fields, 'carrier'>): Uint8Array {
    const { flows, counts } = this;
    const packet = datagram({ ...rest, from, to });
    const { address, port } = endpoint(from);
    // A wildcard socket on the first service's address may answer for another service with that port.
    const candidates = [from];
    if (address === '10.10.1.2') {
      if (port === 53) candidates.push('10.10.1.3:53');
      candidates.push(`10.10.1.4:${port}`);
    }
    for (const candidate of candidates) {
      const owner = flows.owner(endpoint(candidate), endpoint(to));
      if (owner === undefined) continue;
      flows.answered(owner, 0);
      counts.replies_translated++;
      const { lb } = owner.key;
      this.emitted.push(toHex(datagram({ ...rest, from: candidate, to: `${lb.address}:${lb.port}` })));
      return packet;
    }
    counts.replies_passed++;
    this.emitted.push(toHex(packet));
    return packet;
  }

  private deliver(fields: DatagramFields): void {
    this.counts.packets_delivered++;
    this.delivered.push(toHex(datagram(fields)));
  }
}

function plain({ carrier: _, ...rest }: Fields): Omit<Fields, 'carrier'> {
  return rest;
}

/** A client as the source of a delivered packet: an IPv6 one can't be that. */
function asSource(client: string, lb: string): string {
  return client.includes(':') ? lb : client.replace(' ', ':');
}

/** The longest run of packets that one batch of the device takes. */
const BATCH = 16;

it('random traffic comes out as the model says, packet by packet and counter by counter', () => {
  fc.assert(
    fc.property(events, fc.integer({ min: 1, max: BATCH }), fc.integer(), (events, batch, start) => {
      const rig = new Rig({ start });
      const model = new Model();
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
        flows: model.flows.flows.size,
      });
    }),
    { numRuns: 400 },
  );
});

it('any bytes at all are delivered, sent on, or counted', () => {
  const packet = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 80 }),
    fc
      .tuple(
        fc.constantFrom(...LBS, ...CLIENTS.slice(0, 3)),
        server,
        fc.constantFrom(...CLIENTS),
        fields,
        fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 3 }),
      )
      .map(([from, to, client, rest, patches]) => {
        const bytes = datagram({ ...rest, from, to, client });
        for (const [offset, value] of patches) if (offset < bytes.length) bytes[offset] = value;
        return bytes;
      }),
  );
  fc.assert(
    fc.property(fc.array(packet, { maxLength: 40 }), packets => {
      const rig = new Rig();
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
