/**
 * A load balancer and a real server, each a pipeline without I/O, and between them a network made of arrays.
 *
 *     client -> VIP -> kernel's NAT -> LIP:lport -> [LoadBalancer] -- wire --> [RealServer] -> application
 *                                  \___ once a flow is released ______^                           |
 *     client <- VIP <- kernel's NAT <--------------- wire ------------- [RealServer] <------------+
 *                                  [LoadBalancer] <-- ACKs ------------ [RealServer]
 */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  alertIn,
  CARRIERS,
  datagramIn,
  type Family,
  type FamilyFields,
  inFamily,
  markIn,
} from '../support/families.js';
import { Rig as LoadBalancerRig, OPTIONS } from '../support/load-balancer.js';
import { Rig as RealServerRig } from '../support/real-server.js';
import {
  type Decoded,
  decode,
  destinationOptions,
  fragment,
  hex,
  type Octets,
  payloadOf,
  prefix,
  reassemble,
  toHex,
} from '../support/wire.js';

const SERVER = '10.10.1.2:53';
/** The LIP of a load balancer that the real server sends ACKs to, and of one that it sends none. */
const WITH_ACKS = '10.10.1.1';
const WITHOUT_ACKS = '10.20.1.1';
const MAX_TRAILS = 3;
const PAYLOAD = payloadOf(20);
const SIZE = { maxFlows: 5000, timeoutMs: 60_000 };

interface Connection {
  client: string;
  lip: string;
}

/** A datagram as somebody's socket got it. */
interface Received {
  /** Whose address the application saw, or whom the answer reached. */
  client: string;
  payload: string;
}

class Chain {
  readonly lb: LoadBalancerRig;
  readonly rs = new RealServerRig({ size: SIZE });
  /** What went from the load balancer to the real server. */
  readonly wire: Uint8Array[] = [];
  readonly application: Received[] = [];
  readonly answered: Received[] = [];
  /** ACKs that are still under way. */
  readonly acksUnderWay: Uint8Array[] = [];
  areAcksSlow = false;
  isLossy = false;
  private readonly connections = new Map<string, Connection>();
  private nextPort = 40_000;

  private readonly server: string;

  constructor(
    carrier: 'ipo' | 'opp',
    private readonly family: Family,
    private readonly localAddress = WITH_ACKS,
  ) {
    this.server = inFamily(family, SERVER);
    const own = [`${WITHOUT_ACKS}/32`, `${inFamily(6, WITHOUT_ACKS)}/128`];
    const ownAddresses = [...OPTIONS.ownAddresses, ...own.map(prefix)];
    this.lb = new LoadBalancerRig({
      family,
      options: { carrier, marksPerFlow: MAX_TRAILS, ownAddresses },
      size: SIZE,
    });
  }

  /** A client sends to the VIP. */
  send(client: string, payload: Octets = PAYLOAD, more: Partial<FamilyFields> = {}): void {
    this.sendFragments(client, [this.natted(client, { payload, ...more })]);
  }

  /** What NAT has left of a client's datagram. */
  natted(client: string, more: Partial<FamilyFields>): Uint8Array {
    const { lip } = this.connect(client);
    return datagramIn(this.family, { from: lip, to: SERVER, ttl: 60, ...more });
  }

  /** What NAT has left of a client's datagram, whole or in fragments, goes its way through the rules. */
  sendFragments(client: string, packets: readonly Uint8Array[]): void {
    const connection = this.connect(client);
    const isReleased = this.lb.connections.releases.includes(`${this.server} > ${connection.lip}`);
    const hasOptions = packets.some(packet => packet[0] !== 0x45 && (packet[0] !== 0x60 || packet[6] !== 17));
    if (hasOptions || !isReleased) {
      const { delivered, emitted } = this.lb.send(...packets);
      expect(delivered).toEqual([]);
      this.transmit(emitted.map(packet => Uint8Array.from(hex(packet))));
    } else this.transmit(packets);
  }

  /** Where NAT sends a client's packets from. */
  connect(client: string): Connection {
    const known = this.connections.get(client);
    if (known !== undefined) return known;
    return this.track(client, inFamily(this.family, `${this.localAddress}:${this.nextPort++}`));
  }

  /** The kernel forgets a client's connection, and gives its ports to another one. */
  reuse(client: string, another: string): void {
    const { lip } = this.connect(client);
    this.connections.delete(client);
    this.lb.connections.releases.length = 0;
    this.track(another, lip);
  }

  /** The ACKs that were under way arrive. */
  arrive(): void {
    const acks = this.acksUnderWay.splice(0);
    expect(this.lb.send(...acks)).toEqual({ delivered: [], emitted: [] });
  }

  /** The application answers everybody whom it has seen. */
  answer(payload: Octets): void {
    for (const { client } of this.application)
      this.fromRealServer(
        this.rs.send(datagramIn(this.family, { from: SERVER, to: client, payload })).emitted,
      );
  }

  /** The marks that went over the wire. */
  marks(): Decoded[] {
    return this.wire
      .filter(packet => !isFragment(packet))
      .map(decode)
      .filter(hasMark);
  }

  private track(client: string, lip: string): Connection {
    const connection = { client, lip };
    this.connections.set(client, connection);
    this.lb.connections.track(lip, SERVER, client);
    return connection;
  }

  private transmit(packets: readonly Uint8Array[]): void {
    this.wire.push(...packets);
    if (this.isLossy) return;
    const { delivered, emitted } = this.rs.send(...packets);
    this.receive(delivered.map(hex));
    this.fromRealServer(emitted);
  }

  private receive(packets: readonly Octets[]): void {
    const fragments = packets.filter(isFragment);
    const whole = packets.filter(packet => !isFragment(packet));
    for (const packet of fragments.length > 0 ? [...whole, reassemble(fragments)] : whole) {
      const { from, to, payload, protocol } = decode(packet);
      expect([to, protocol]).toEqual([this.server, 17]);
      this.application.push({ client: from, payload });
    }
  }

  private fromRealServer(packets: readonly string[]): void {
    for (const packet of packets.map(hex)) {
      const { from, to, payload, ...rest } = decode(packet);
      expect(from).toBe(this.server);
      if (hasMark(rest)) this.acksUnderWay.push(Uint8Array.from(packet));
      else {
        const connection = [...this.connections.values()].find(({ lip }) => lip === to);
        this.answered.push({ client: connection?.client ?? `nobody: ${to}`, payload });
      }
    }
    if (!this.areAcksSlow) this.arrive();
  }
}

function hasMark({ protocol, options }: Pick<Decoded, 'protocol' | 'options'>): boolean {
  return protocol === 248 || /^1f|11021f12/.test(options);
}

function isFragment(packet: Octets): boolean {
  if (packet[0] >> 4 === 6) return packet[6] === 44;
  return (packet[6] & 0x3f) !== 0 || packet[7] !== 0;
}

describe.each(CARRIERS)('carrier %s, IPv%i', (carrier, family) => {
  const CLIENT = inFamily(family, '203.0.113.7:5555');
  let chain: Chain;

  beforeEach(() => {
    chain = new Chain(carrier, family);
  });

  it('one mark is enough for the application to see the client from its first datagram on', () => {
    for (let i = 1; i <= 6; i++) {
      chain.send(CLIENT, [i]);
      expect(chain.application.at(-1)).toEqual({ client: CLIENT, payload: `0${i}` });
    }
    expect(chain.application).toHaveLength(6);
    expect(chain.wire).toHaveLength(6);
    expect(chain.wire.map(decode).map(hasMark)).toEqual([true, false, false, false, false, false]);
    expect(chain.lb.counts()).toEqual({
      packets_seen: 3,
      marks_inserted: 1,
      packets_unmarked: 1,
      acks_received: 1,
      flows: 1,
      flows_acked: 1,
      flows_released: 1,
    });
    expect(chain.rs.counts()).toMatchObject({ uoa_got: 1, uoa_ack_sent: 1, packets_delivered: 6 });
    expect(chain.rs.counts()).not.toHaveProperty('uoa_miss');
  });

  it('answers reach the client', () => {
    chain.send(CLIENT);
    chain.answer([7, 8, 9]);
    expect(chain.answered).toEqual([{ client: CLIENT, payload: '070809' }]);
  });

  it('each of 1000 ports of 200 clients is seen as itself and gets its own answer', () => {
    const clients = Array.from({ length: 1000 }, (_, i) =>
      inFamily(family, `203.0.113.${i % 200}:${5000 + Math.floor(i / 200)}`),
    );
    for (let round = 0; round < 4; round++)
      for (const [i, client] of clients.entries()) chain.send(client, [round, i >> 8, i & 0xff]);
    expect(chain.application).toEqual(
      [0, 1, 2, 3].flatMap(round =>
        clients.map((client, i) => ({ client, payload: toHex([round, i >> 8, i & 0xff]) })),
      ),
    );
    expect(chain.marks()).toHaveLength(1000);
    expect(chain.lb.counts()).toMatchObject({ marks_inserted: 1000, acks_received: 1000, flows_acked: 1000 });
    expect(chain.lb.counts()).not.toHaveProperty('acks_unmatched');

    chain.application.splice(1000);
    chain.answer([1]);
    expect(chain.answered).toEqual(clients.map(client => ({ client, payload: '01' })));
  });

  it('without ACKs a flow has as many marks as are allowed', () => {
    chain = new Chain(carrier, family, WITHOUT_ACKS);
    for (let i = 0; i < 6; i++) chain.send(CLIENT);
    expect(chain.application).toEqual(new Array(6).fill({ client: CLIENT, payload: toHex(PAYLOAD) }));
    expect(chain.wire.map(decode).map(hasMark)).toEqual([true, true, true, false, false, false]);
    expect(chain.lb.counts()).toMatchObject({ packets_seen: 3, marks_inserted: 3 });
    expect(chain.acksUnderWay).toEqual([]);
  });

  it('packets have marks until the first ACK has come', () => {
    chain.areAcksSlow = true;
    chain.send(CLIENT);
    chain.send(CLIENT);
    expect(chain.acksUnderWay).toHaveLength(2);
    chain.arrive();
    chain.send(CLIENT);
    expect(chain.wire.map(decode).map(hasMark)).toEqual([true, true, false]);
    expect(chain.lb.counts()).toMatchObject({ marks_inserted: 2, acks_received: 2, flows_acked: 1 });
    expect(chain.lb.counts()).not.toHaveProperty('acks_unmatched');
    expect(chain.application.map(({ client }) => client)).toEqual([CLIENT, CLIENT, CLIENT]);
  });

  it('the mark after a lost one names the client', () => {
    chain.isLossy = true;
    chain.send(CLIENT);
    chain.isLossy = false;
    chain.send(CLIENT);
    chain.send(CLIENT);
    expect(chain.application.map(({ client }) => client)).toEqual([CLIENT, CLIENT]);
    expect(chain.marks()).toHaveLength(2);
  });

  it('an empty first datagram arrives once, with its client', () => {
    chain.send(CLIENT, []);
    expect(chain.application).toEqual([{ client: CLIENT, payload: '' }]);
    chain.send(CLIENT, []);
    expect(chain.application).toHaveLength(2);
    expect(chain.wire.map(decode).map(hasMark)).toEqual([true, false, false]);
    expect(chain.rs.counts()).toMatchObject({ uoa_standalone: 1, packets_delivered: 2 });
  });

  it('a first datagram as large as the path allows arrives whole behind a standalone', () => {
    const payload = payloadOf(family === 4 ? 1472 : 1452);
    chain.send(CLIENT, payload);
    expect(chain.application).toEqual([{ client: CLIENT, payload: toHex(payload) }]);
    expect(chain.wire.map(packet => packet.length)).toEqual([
      family === 6 ? 72 : carrier === 'ipo' ? 36 : 40,
      1500,
    ]);
    expect(chain.lb.counts()).toMatchObject({ marks_standalone: 1, acks_received: 1, flows_acked: 1 });
  });

  it('a first datagram with a header full of options arrives whole', () => {
    const options = family === 4 ? { options: hex('94040000'.repeat(10)) } : alertIn(6);
    chain.send(CLIENT, PAYLOAD, options);
    expect(chain.application).toEqual([{ client: CLIENT, payload: toHex(PAYLOAD) }]);
    expect(chain.lb.counts()).toMatchObject({ acks_received: 1 });
    chain.send(CLIENT, PAYLOAD, options);
    expect(chain.marks()).toHaveLength(1);
  });

  it('a first datagram in fragments arrives whole', () => {
    const payload = payloadOf(4000);
    chain.sendFragments(CLIENT, fragment(chain.natted(CLIENT, { payload, id: 99 }), 1480));
    expect(chain.application).toEqual([{ client: CLIENT, payload: toHex(payload) }]);
    expect(chain.marks()).toHaveLength(1);
    expect(chain.wire).toHaveLength(4);
    chain.send(CLIENT);
    expect(chain.application.at(-1)).toEqual({ client: CLIENT, payload: toHex(PAYLOAD) });
  });

  it('a client that marks its packets as another’s is seen as itself', () => {
    const forged = markIn(family, 'ipo', '192.0.2.99:99');
    const both = [...forged, ...forged];
    const forgeries: Partial<FamilyFields>[] =
      family === 4
        ? [forged, both, [1, ...forged, 1, 1, 1], [1, 1, 31, 2, ...forged]].map(options => ({ options }))
        : [
            ...[forged, both, [0, ...forged]].map(options => ({ extensions: [destinationOptions(options)] })),
            { extensions: [destinationOptions(forged), destinationOptions(forged)] },
            { carrier: 'opp' as const, client: '192.0.2.99:99' },
          ];
    for (const forgery of forgeries) {
      chain.send(CLIENT, PAYLOAD, forgery);
      expect(chain.application.at(-1)).toEqual({ client: CLIENT, payload: toHex(PAYLOAD) });
    }
    expect(chain.rs.counts()).toMatchObject({ uoa_got: 1, uoa_saved: 1 });
  });

  it('a client that gets the ports of an earlier one is seen as itself from its first datagram on', () => {
    chain.send(CLIENT);
    chain.send(CLIENT);
    const another = inFamily(family, '198.51.100.9:6666');
    chain.reuse(CLIENT, another);
    chain.send(another);
    chain.send(another);
    expect(chain.application.map(({ client }) => client)).toEqual([CLIENT, CLIENT, another, another]);
    expect(chain.marks()).toHaveLength(2);
    expect(chain.lb.counts()).toMatchObject({ acks_received: 2, flows_acked: 2 });
    chain.application.splice(0, 2);
    chain.answer([1]);
    expect(chain.answered).toEqual([1, 2].map(() => ({ client: another, payload: '01' })));
  });
});
