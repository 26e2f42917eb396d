/** Marks and ACKs on the load balancer's side, unplugged from everything. Packets come as NAT has left them. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Carrier } from '../../src/codec/uoa.js';
import { OPTIONS, Rig } from './support/load-balancer.js';
import {
  type DatagramFields,
  datagram,
  decode,
  fragment,
  hex,
  ipv4,
  type Octets,
  option,
  payloadOf,
  prefix,
  reassemble,
  toHex,
} from './support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const OTHER = '198.51.100.9:6666';
const TUPLE = `${SERVER} > ${LB}`;
const PAYLOAD = payloadOf(33);
const TTL = 60;
/** Milliseconds for which conntrack is not asked again about a flow that still wants marks. */
const SURE = 1000;

type Fields = Partial<DatagramFields>;

/** A datagram to the real server as the network has to get it. */
const outgoing = (fields: Fields = {}) =>
  datagram({ from: LB, to: SERVER, payload: PAYLOAD, ttl: TTL, ...fields });
/** The same as it gets here: forwarding to the TUN has taken a hop. */
const arriving = (fields: Fields = {}) => outgoing({ ...fields, ttl: (fields.ttl ?? TTL) - 1 });
const asHex = (fields: Fields = {}) => toHex(outgoing(fields));
/** An empty datagram with a mark, as the shim writes one itself. */
const standalone = (fields: Fields = {}) =>
  toHex(datagram({ from: LB, to: SERVER, client: CLIENT, dontFragment: true, ...fields }));
/** The real server's ACK. */
const ack = (fields: Fields = {}) =>
  datagram({ from: SERVER, to: LB, client: CLIENT, dontFragment: true, ttl: 63, ...fields });

const NOTHING = { delivered: [], emitted: [] };

let rig: Rig;

/** A new load balancer, with one client's connection in conntrack. */
function make(settings: ConstructorParameters<typeof Rig>[0] = {}): Rig {
  rig = new Rig(settings);
  rig.connections.track(LB, SERVER, CLIENT);
  return rig;
}

beforeEach(() => {
  make();
});

describe.each(['ipo', 'opp'] as const)('carrier %s', carrier => {
  const marked = (fields: Fields = {}) => asHex({ carrier, client: CLIENT, ...fields });
  const ackOf = (fields: Fields = {}) => ack({ carrier, ...fields });

  beforeEach(() => {
    make({ options: { carrier: Carrier[carrier] } });
  });

  it('puts the mark into the first packets of a flow, and into no other', () => {
    for (let i = 0; i < 3; i++) expect(rig.send(arriving())).toEqual({ delivered: [], emitted: [marked()] });
    for (let i = 0; i < 5; i++) expect(rig.send(arriving())).toEqual({ delivered: [], emitted: [asHex()] });
    expect(rig.counts()).toEqual({ packets_seen: 8, marks_inserted: 3, packets_unmarked: 5, flows: 1 });
    expect(rig.flows.packets(0)).toBe(8);
  });

  it('does so in one batch as well', () => {
    const { emitted } = rig.send(arriving(), arriving(), arriving(), arriving());
    expect(emitted).toEqual([marked(), marked(), marked(), asHex()]);
  });

  it('puts these very bytes in', () => {
    const arrived = `4500 001f 0007 4000 3b11 29b1 0a0a0101 0a0a0102
                     9c40 0035 000b 494a 010203`;
    const golden = {
      ipo: `4700 0027 0007 4000 3c11 b5e5 0a0a0101 0a0a0102
            1f08 15b3 cb007107
            9c40 0035 000b 494a 010203`,
      opp: `4500 002b 0007 4000 3cf8 27be 0a0a0101 0a0a0102
            1011 000c 1f08 15b3 cb007107
            9c40 0035 000b 494a 010203`,
    };
    const packet = arriving({ payload: [1, 2, 3], id: 7, dontFragment: true });
    expect(toHex(packet)).toBe(toHex(hex(arrived)));
    expect(rig.send(packet).emitted).toEqual([toHex(hex(golden[carrier]))]);
  });

  it('leaves all else as it was: TOS, id, DF, other options, a checksum of 0, any payload', () => {
    rig.role.configure({ carrier: Carrier[carrier], maxTrails: 100, ownAddresses: [] });
    const options = hex('94040000 01010100');
    for (const length of [1, 2, 499, 500, 501, 1400])
      for (const rest of [{}, { udpChecksum: 0 }, { udpChecksum: 0xffff }, { options }]) {
        const fields = { tos: 0xb9, id: 0xfedc, dontFragment: true, payload: payloadOf(length), ...rest };
        expect(rig.send(arriving(fields)).emitted, `${length} bytes`).toEqual([marked(fields)]);
      }
  });

  it.each([0, 1, 2, 99, 100])('sends no more than %i marks', maxTrails => {
    make({ options: { carrier: Carrier[carrier], maxTrails } });
    const { emitted } = rig.send(...Array.from({ length: maxTrails + 3 }, () => arriving()));
    expect(emitted).toEqual([
      ...new Array<string>(maxTrails).fill(marked()),
      ...new Array<string>(3).fill(asHex()),
    ]);
  });

  it('marks each flow by itself', () => {
    const flows = [LB, '10.10.1.1:40001', '10.10.1.9:40000'].flatMap(from =>
      [SERVER, '10.10.1.2:54', '10.10.1.3:53'].map((to, i) => ({
        from,
        to,
        client: `203.0.113.${i}:${i + 7}`,
      })),
    );
    for (const { from, to, client } of flows) rig.connections.track(from, to, client);
    for (let trail = 0; trail < 4; trail++)
      for (const { from, to, client } of flows)
        expect(rig.send(arriving({ from, to })).emitted).toEqual([
          trail < 3 ? asHex({ from, to, carrier, client }) : asHex({ from, to }),
        ]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 27, packets_unmarked: 9, flows: 9 });
  });

  // ---- ACKs ------------------------------------------------------------------------------------------------

  it('stops at the ACK, and lets the connection go once', () => {
    rig.send(arriving());
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.connections.releases).toEqual([TUPLE]);
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.connections.releases).toEqual([TUPLE]);
    expect(rig.counts()).toEqual({
      packets_seen: 4,
      marks_inserted: 1,
      packets_unmarked: 2,
      acks_received: 1,
      flows: 1,
      flows_acked: 1,
    });
  });

  it('stops at the ACK in the same batch', () => {
    expect(rig.send(arriving(), ackOf(), arriving()).emitted).toEqual([marked(), asHex()]);
  });

  it('lets go the connection that the ACK is for, whichever was asked about last', () => {
    const second = '10.10.1.9:41000';
    rig.connections.track(second, '10.10.1.3:54', OTHER);
    rig.send(arriving(), arriving({ from: second, to: '10.10.1.3:54' }));
    rig.send(ackOf());
    rig.send(ackOf({ from: '10.10.1.3:54', to: second, client: OTHER }));
    expect(rig.connections.releases).toEqual([TUPLE, `10.10.1.3:54 > ${second}`]);
  });

  it('takes an ACK for each trail, and the flow as acknowledged once', () => {
    rig.send(arriving(), arriving(), arriving());
    expect(rig.send(ackOf(), ackOf(), ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 3, flows_acked: 1 });
    expect(rig.counts()).not.toHaveProperty('acks_unmatched');
    expect(rig.connections.releases).toEqual([TUPLE]);
  });

  it('takes an ACK after the last trail', () => {
    rig.send(arriving(), arriving(), arriving(), arriving());
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1, flows_acked: 1 });
    expect(rig.connections.releases).toEqual([TUPLE]);
  });

  it('takes an ACK whatever its TOS, TTL, id, checksum and other options', () => {
    const options = hex('94040000');
    for (const fields of [
      { tos: 0xff },
      { ttl: 1 },
      { id: 9 },
      { udpChecksum: 0 },
      { dontFragment: false },
      { options },
    ]) {
      make({ options: { carrier: Carrier[carrier] } });
      rig.send(arriving());
      expect(rig.send(ackOf(fields))).toEqual(NOTHING);
      expect(rig.counts()).toMatchObject({ acks_received: 1, flows_acked: 1 });
    }
  });

  it('acknowledges a standalone as any mark', () => {
    rig.send(arriving({ payload: [] }));
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.send(arriving({ payload: [] })).emitted).toEqual([asHex({ payload: [] })]);
    expect(rig.counts()).toMatchObject({ marks_standalone: 1, acks_received: 1, flows_acked: 1 });
  });

  it('takes an ACK for a connection that the kernel has forgotten meanwhile', () => {
    rig.send(arriving());
    rig.connections.forget(LB, SERVER);
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1, flows_acked: 1 });
  });

  it.each<[string, Octets]>([
    ['with another client address', ackOf({ client: '203.0.113.8:5555' })],
    ['with another client port', ackOf({ client: '203.0.113.7:5556' })],
    ['with no client', ackOf({ client: '0.0.0.0:0' })],
    ['with an IPv6 client', ackOf({ client: '[::ffff:cb00:7107]:5555' })],
    [
      'with an option of 20 bytes that begins the same',
      ackOf({ mark: [31, 20, ...option(CLIENT).slice(2), ...new Array(12).fill(0)] }),
    ],
    ['with an option of 9 bytes', ackOf({ mark: [31, 9, ...option(CLIENT).slice(2), 1, 1, 1, 1] })],
    ['with an option past its end', ackOf({ mark: [31, 44, ...option(CLIENT).slice(2)] })],
    ['with an option of length 0', ackOf({ mark: [31, 0, ...option(CLIENT).slice(2)] })],
    ['with another option', ackOf({ mark: [30, 8, ...option(CLIENT).slice(2)] })],
    ['by the other carrier', ackOf({ carrier: carrier === 'ipo' ? 'opp' : 'ipo' })],
    ['to another port', ackOf({ to: '10.10.1.1:40001' })],
    ['to another LIP', ackOf({ to: '10.10.1.9:40000' })],
    ['to the VIP', ackOf({ to: '198.51.100.10:40000' })],
    ['from another port', ackOf({ from: '10.10.1.2:54' })],
    ['from another real server', ackOf({ from: '10.10.1.3:53' })],
    ['from the LIP itself', ackOf({ from: LB })],
    ['from another own address', ackOf({ from: '10.10.1.9:53' })],
    ['with ports exchanged', ackOf({ from: '10.10.1.2:40000', to: '10.10.1.1:53' })],
    ['without a mark', ackOf({ mark: [] })],
  ])('consumes an ACK %s, and goes on marking', (_, forged) => {
    rig.send(arriving());
    expect(rig.send(forged)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ packets_seen: 2, marks_inserted: 1, acks_unmatched: 1, flows: 1 });
    expect(rig.connections.releases).toEqual([]);
    expect(rig.send(arriving(), arriving(), arriving()).emitted).toEqual([marked(), marked(), asHex()]);
  });

  it('consumes an ACK that comes before its mark', () => {
    expect(rig.send(ackOf(), arriving())).toEqual({ delivered: [], emitted: [marked()] });
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1, marks_inserted: 1 });
    expect(rig.connections.releases).toEqual([]);
  });

  it('consumes an ACK for a known flow that got no mark', () => {
    make({ options: { carrier: Carrier[carrier], maxTrails: 0 } });
    rig.send(arriving());
    expect(rig.counts()).toMatchObject({ flows: 1 });
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1 });
    expect(rig.connections.releases).toEqual([]);
  });

  it('consumes an ACK that comes after its flow was forgotten', () => {
    rig.send(arriving());
    rig.wait(62_000);
    expect(rig.counts()).toMatchObject({ flows_expired: 1 });
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1 });
    expect(rig.connections.releases).toEqual([]);
  });

  it('consumes later fragments of whatever looks like an ACK', () => {
    rig.send(arriving());
    const later = fragment(ackOf({ payload: payloadOf(32) }), 24).slice(1);
    for (const piece of later) expect(rig.send(piece)).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: later.length });
    expect(rig.connections.releases).toEqual([]);
  });

  it('a flood of forged ACKs gets nowhere', () => {
    const forged = Array.from({ length: 500 }, (_, i) =>
      ackOf({ client: `203.0.113.${i % 256}:${i}`, to: `10.10.1.1:${40_000 + (i % 3)}` }),
    );
    rig.send(arriving());
    expect(rig.send(...forged)).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 500, packets_seen: 501 });
    expect(rig.connections.releases).toEqual([]);
  });

  // ---- no room ---------------------------------------------------------------------------------------------

  it('sends a standalone ahead of an empty datagram, which stays as it was', () => {
    for (let trail = 0; trail < 3; trail++)
      expect(rig.send(arriving({ payload: [] })).emitted).toEqual([
        standalone({ carrier }),
        asHex({ payload: [] }),
      ]);
    expect(rig.send(arriving({ payload: [] })).emitted).toEqual([asHex({ payload: [] })]);
    expect(rig.counts()).toEqual({ packets_seen: 4, marks_standalone: 3, packets_unmarked: 1, flows: 1 });
    expect(rig.mtuQuestions).toEqual([]);
  });

  it('counts a standalone as one trail, like an inserted mark', () => {
    const { emitted } = rig.send(
      arriving({ payload: [] }),
      arriving(),
      arriving({ payload: [] }),
      arriving(),
    );
    expect(emitted).toEqual([
      standalone({ carrier }),
      standalone({ carrier }),
      asHex({ payload: [] }),
      marked(),
      asHex({ payload: [] }),
      asHex(),
    ]);
  });

  it('a batch full of standalones keeps them apart', () => {
    const ports = Array.from({ length: 16 }, (_, i) => 41_000 + i);
    for (const port of ports)
      rig.connections.track(`10.10.1.1:${port}`, SERVER, `203.0.113.7:${port - 1000}`);
    const { emitted } = rig.send(...ports.map(port => arriving({ from: `10.10.1.1:${port}`, payload: [] })));
    expect(emitted).toEqual([
      ...ports.map(port =>
        standalone({ from: `10.10.1.1:${port}`, carrier, client: `203.0.113.7:${port - 1000}` }),
      ),
      ...ports.map(port => asHex({ from: `10.10.1.1:${port}`, payload: [] })),
    ]);
  });

  it('fills the path MTU to the byte, and sends a standalone ahead of what is longer', () => {
    const added = carrier === 'ipo' ? 8 : 12;
    const fields = (total: number) => ({ payload: payloadOf(total - 28) });
    for (const mtu of [553, 1280, 1500, 9000, 65_535]) {
      make({ options: { carrier: Carrier[carrier] } });
      rig.mtu = mtu;
      expect(rig.send(arriving(fields(mtu - added))).emitted).toEqual([marked(fields(mtu - added))]);
      expect(rig.send(arriving(fields(mtu - added + 1))).emitted).toEqual([
        standalone({ carrier }),
        asHex(fields(mtu - added + 1)),
      ]);
      expect(rig.mtuQuestions).toEqual(['10.10.1.2', '10.10.1.2']);
    }
  });

  it('does not ask for the MTU of what fits any path', () => {
    const added = carrier === 'ipo' ? 8 : 12;
    rig.mtu = 0;
    const fields = { payload: payloadOf(552 - added - 28) };
    expect(rig.send(arriving(fields)).emitted).toEqual([marked(fields)]);
    expect(rig.mtuQuestions).toEqual([]);
  });

  it('sends a standalone ahead where there is no route to ask for', () => {
    rig.mtu = 0;
    const fields = { payload: payloadOf(1000) };
    expect(rig.send(arriving(fields)).emitted).toEqual([standalone({ carrier }), asHex(fields)]);
  });

  it('follows the path MTU from packet to packet', () => {
    const fields = { payload: payloadOf(1400) };
    expect(rig.send(arriving(fields)).emitted).toEqual([marked(fields)]);
    rig.mtu = 1300;
    expect(rig.send(arriving(fields)).emitted).toEqual([standalone({ carrier }), asHex(fields)]);
    rig.mtu = 1500;
    expect(rig.send(arriving(fields)).emitted).toEqual([marked(fields)]);
    expect(rig.send(arriving(fields)).emitted).toEqual([asHex(fields)]);
    expect(rig.mtuQuestions).toHaveLength(3);
  });

  it('asks for the MTU of the real server that the packet goes to', () => {
    rig.connections.track(LB, '10.10.1.3:53', CLIENT);
    rig.send(arriving({ to: '10.10.1.3:53', payload: payloadOf(1000) }));
    expect(rig.mtuQuestions).toEqual(['10.10.1.3']);
  });

  it('sends a standalone ahead of a first fragment, and lets the others by', () => {
    const whole = { payload: payloadOf(100), id: 77 };
    const pieces = fragment(arriving(whole), 40);
    const { emitted } = rig.send(...pieces);
    expect(emitted[0]).toBe(standalone({ carrier }));
    expect(emitted.slice(1)).toEqual(fragment(outgoing(whole), 40).map(toHex));
    expect(toHex(reassemble(emitted.slice(1).map(hex)))).toBe(asHex(whole));
    expect(rig.counts()).toEqual({ packets_seen: 3, marks_standalone: 1, packets_unmarked: 2, flows: 1 });
    expect(rig.connections.finds).toEqual([TUPLE]);
  });

  it('takes each fragmented datagram for one trail', () => {
    const pieces = fragment(arriving({ payload: payloadOf(100), id: 77 }), 40);
    for (let trail = 0; trail < 3; trail++) expect(rig.send(...pieces).emitted).toHaveLength(4);
    expect(rig.send(...pieces).emitted).toEqual(
      fragment(outgoing({ payload: payloadOf(100), id: 77 }), 40).map(toHex),
    );
    expect(rig.counts()).toMatchObject({ marks_standalone: 3 });
  });

  it('lets later fragments by that come first, or alone', () => {
    const [, second, third] = fragment(outgoing({ payload: payloadOf(100) }), 40);
    const [, arrivedSecond, arrivedThird] = fragment(arriving({ payload: payloadOf(100) }), 40);
    expect(rig.send(arrivedThird, arrivedSecond)).toEqual({
      delivered: [],
      emitted: [third, second].map(toHex),
    });
    expect(rig.counts()).toEqual({ packets_seen: 2, packets_unmarked: 2 });
    expect(rig.connections.finds).toEqual([]);
  });

  // ---- whose packets ---------------------------------------------------------------------------------------

  it('takes another client’s marks after the ports are used again', () => {
    rig.send(arriving(), ackOf());
    rig.connections.track(LB, SERVER, OTHER);
    const otherMark = asHex({ carrier, client: OTHER });
    expect(rig.send(arriving(), arriving(), arriving(), arriving()).emitted).toEqual([
      otherMark,
      otherMark,
      otherMark,
      asHex(),
    ]);
    // The first client's ACK is too late; the other's counts.
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1, flows_acked: 1, flows: 1 });
    expect(rig.send(ackOf({ client: OTHER }))).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 2, flows_acked: 2 });
    expect(rig.connections.releases).toEqual([TUPLE, TUPLE]);
  });

  it('hides an option that a real server’s answer carries', () => {
    const answer = { from: SERVER, to: LB, payload: PAYLOAD, ttl: 63, tos: 4, id: 5 };
    expect(rig.send(datagram({ ...answer, carrier, client: CLIENT }))).toEqual({
      delivered: [toHex(datagram(answer))],
      emitted: [],
    });
    expect(rig.send(datagram({ ...answer, carrier, client: '[2001:db8::7]:5555' })).delivered).toEqual([
      toHex(datagram(answer)),
    ]);
    expect(rig.counts()).toEqual({ packets_seen: 2, packets_unmarked: 2 });
  });

  it('does not take an answer with the right mark for an ACK', () => {
    rig.send(arriving());
    rig.send(datagram({ from: SERVER, to: LB, carrier, client: CLIENT, payload: [1] }));
    expect(rig.connections.releases).toEqual([]);
    expect(rig.send(arriving()).emitted).toEqual([marked()]);
  });

  it('drops and counts every truncation of a packet, either way', () => {
    for (const packet of [arriving({ payload: [1, 2, 3] }), ackOf(), arriving({ carrier, client: CLIENT })]) {
      make({ options: { carrier: Carrier[carrier] } });
      for (let length = 1; length < packet.length; length++)
        expect(rig.send(packet.slice(0, length))).toEqual(NOTHING);
      expect(rig.counts()).toEqual({
        packets_seen: packet.length - 1,
        dropped_malformed: packet.length - 1,
      });
    }
  });

  it('counts what is refused', () => {
    rig.device.refusing = true;
    rig.send(arriving());
    expect(rig.counts()).toMatchObject({ dropped_io: 1 });
    rig.send(arriving({ payload: [] }));
    expect(rig.counts()).toMatchObject({ dropped_io: 3 });
    rig.send(datagram({ from: SERVER, to: LB, carrier, client: CLIENT, payload: [1] }));
    expect(rig.counts()).toMatchObject({ dropped_io: 4 });
    rig.send(ackOf());
    expect(rig.counts()).toMatchObject({ dropped_io: 4 });
  });
});

describe('the IPv4 header', () => {
  /** Options that fill whole words: router alerts. */
  const alerts = (words: number) => hex('94040000'.repeat(words));

  it.each([0, 1, 7, 8])('takes an ipo mark behind %i words of options', words => {
    const options = alerts(words);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'ipo', client: CLIENT }),
    ]);
  });

  it.each([9, 10])('with %i words of options has no room for ipo: a standalone goes ahead', words => {
    const options = alerts(words);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      asHex({ options }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_standalone: 1 });
  });

  it('full of options has room for opp', () => {
    make({ options: { carrier: Carrier.opp } });
    const options = alerts(10);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'opp', client: CLIENT }),
    ]);
  });

  it('gets back the hop that it lost, at every TTL, with the checksum right', () => {
    make({ options: { maxTrails: 0 } });
    for (let ttl = 1; ttl <= 255; ttl++) {
      const [sent] = rig.send(arriving({ ttl })).emitted;
      expect(sent).toBe(asHex({ ttl }));
      expect(decode(hex(sent)).ttl).toBe(ttl);
    }
  });

  it('of a packet that never lost one keeps its 255', () => {
    expect(rig.send(outgoing({ ttl: 255 })).emitted).toEqual([
      asHex({ ttl: 255, carrier: 'ipo', client: CLIENT }),
    ]);
  });
});

describe('conntrack', () => {
  it('is asked once for a flow, by its reply tuple', () => {
    rig.send(arriving(), arriving());
    rig.skip(SURE - 1);
    rig.send(arriving());
    expect(rig.connections.finds).toEqual([TUPLE]);
  });

  it('is asked again about a flow that has been idle', () => {
    rig.send(arriving());
    rig.skip(SURE);
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client: CLIENT })]);
    expect(rig.connections.finds).toEqual([TUPLE, TUPLE]);
    // The same connection goes on where it was.
    rig.skip(SURE);
    rig.send(arriving());
    rig.skip(SURE);
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 3, packets_unmarked: 1, flows: 1 });
  });

  it.each([
    ['the highest number', 0x7fffffff - 500],
    ['zero', -500],
  ])('is not asked too late when the clock passes %s', (_, start) => {
    make({ start });
    rig.send(arriving());
    rig.skip(SURE - 1);
    rig.send(arriving());
    expect(rig.connections.finds).toHaveLength(1);
    rig.skip(SURE);
    rig.send(arriving());
    expect(rig.connections.finds).toHaveLength(2);
  });

  it('is asked again after the last trail, and after the ACK: the same connection gets no more marks', () => {
    rig.send(arriving(), arriving(), arriving());
    expect(rig.connections.finds).toHaveLength(1);
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.connections.finds).toHaveLength(3);

    make();
    rig.send(arriving(), ack({ carrier: 'ipo' }));
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.connections.finds).toHaveLength(3);
  });

  it('names the same client with another connection: it gets marks anew', () => {
    const mark = asHex({ carrier: 'ipo', client: CLIENT });
    rig.send(arriving(), arriving(), arriving(), arriving());
    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving(), arriving(), arriving(), arriving()).emitted).toEqual([
      mark,
      mark,
      mark,
      asHex(),
    ]);

    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving(), ack({ carrier: 'ipo' }), arriving()).emitted).toEqual([mark, asHex()]);
    expect(rig.connections.releases).toEqual([TUPLE]);

    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving(), ack({ carrier: 'ipo' }), arriving()).emitted).toEqual([mark, asHex()]);
    expect(rig.connections.releases).toEqual([TUPLE, TUPLE]);
    expect(rig.counts()).toMatchObject({ flows_acked: 2, flows: 1 });
  });

  it('names another client after a pause, in the middle of the first one’s marks', () => {
    rig.send(arriving(), arriving());
    rig.skip(SURE);
    rig.connections.track(LB, SERVER, OTHER);
    const mark = asHex({ carrier: 'ipo', client: OTHER });
    expect(rig.send(arriving(), arriving(), arriving(), arriving()).emitted).toEqual([
      mark,
      mark,
      mark,
      asHex(),
    ]);
  });

  it.each([0, -1, 0x7fffffff, -0x80000000])('may call a connection %i', id => {
    rig.connections.track(LB, SERVER, CLIENT, id);
    rig.send(arriving(), arriving(), arriving());
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    rig.connections.track(LB, SERVER, OTHER, id ^ 0x10000);
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client: OTHER })]);
  });

  it('knows nothing: the packet goes as it is, and is no flow', () => {
    rig.connections.forget(LB, SERVER);
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.send(arriving({ payload: [] })).emitted).toEqual([asHex({ payload: [] })]);
    expect(rig.counts()).toEqual({ packets_seen: 3, packets_unmarked: 3 });
    expect(rig.connections.finds).toEqual([TUPLE, TUPLE, TUPLE]);
    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client: CLIENT })]);
  });

  it('knows nothing of a flow any more: no marks with what it said before', () => {
    rig.send(arriving());
    rig.skip(SURE);
    rig.connections.forget(LB, SERVER);
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 1, packets_unmarked: 1 });
  });

  it('names clients with all kinds of addresses and ports', () => {
    for (const client of ['255.255.255.254:65535', '1.0.0.0:1', '128.0.0.1:32768', '10.10.1.2:53']) {
      make();
      rig.connections.track(LB, SERVER, client);
      expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client })]);
      rig.send(ack({ carrier: 'ipo', client }));
      expect(rig.counts()).toMatchObject({ acks_received: 1 });
    }
  });
});

describe('marks that a client put there itself', () => {
  const forged = option('192.0.2.99:99');
  const nops = (length: number) => new Array<number>(length).fill(1);
  const alert = hex('94040000');

  const cases: [string, number[], number[], number][] = [
    ['one, at the front', forged, nops(8), 1],
    ['one of an IPv6 client', option('[2001:db8::99]:99'), nops(20), 1],
    ['one behind another option', [...alert, ...forged], [...alert, ...nops(8)], 1],
    ['one in front of another option', [...forged, ...alert], [...nops(8), ...alert], 1],
    ['one behind NOPs, at an odd place', [1, ...forged, 1, 1, 0], [1, ...nops(8), 1, 1, 0], 1],
    ['two', [...forged, ...forged], nops(16), 2],
    [
      'four, with others between',
      [...forged, ...alert, ...forged, 1, 31, 3, 9],
      [...nops(8), ...alert, ...nops(12)],
      3,
    ],
    ['of 2 bytes, as many as there is room for', [31, 2, 31, 2], nops(4), 2],
    ['of 3 bytes', [31, 3, 0xee, 0], [1, 1, 1, 0], 1],
    ['of 9 bytes', [31, 9, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0], [...nops(9), 0, 0, 0], 1],
    ['of 31 bytes', [31, 31, ...payloadOf(29), 0], [...nops(31), 0], 1],
    ['one inside of which there is another', [31, 12, ...forged, 31, 8], nops(12), 1],
    ['one whose end says the list has ended', [...forged, 0, 31, 8, 7], [...nops(8), 0, 31, 8, 7], 1],
  ];

  it.each(cases)('%s: overwritten, and ours goes in', (_, options, erased, count) => {
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options: erased, carrier: 'ipo', client: CLIENT }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: count, marks_inserted: 1 });
  });

  it.each(cases)('%s: overwritten in packets that get no mark', (_, options, erased, count) => {
    make({ options: { maxTrails: 0 } });
    const { emitted } = rig.send(arriving({ options }));
    expect(emitted).toEqual([asHex({ options: erased })]);
    expect(rig.counts()).toEqual({ packets_seen: 1, marks_forged: count, packets_unmarked: 1, flows: 1 });
  });

  it.each(cases)('%s: overwritten beside opp', (_, options, erased, count) => {
    make({ options: { carrier: Carrier.opp } });
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options: erased, carrier: 'opp', client: CLIENT }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: count });
  });

  it('five of them, which fill the header: a standalone with the right client goes ahead', () => {
    const options = [1, 2, 3, 4, 5].flatMap(() => forged);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      asHex({ options: nops(40) }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: 5, marks_standalone: 1 });
  });

  it('in an empty datagram, or in a fragmented one: overwritten, the standalone ahead', () => {
    expect(rig.send(arriving({ payload: [], options: forged })).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      asHex({ payload: [], options: nops(8) }),
    ]);
    const whole = { payload: payloadOf(100), id: 7 };
    expect(rig.send(...fragment(arriving({ ...whole, options: forged }), 40)).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      ...fragment(outgoing({ ...whole, options: nops(8) }), 40).map(toHex),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: 2, marks_standalone: 2 });
  });

  it.each(['ipo', 'opp'] as const)('behind protocol 248: comes off, before %s goes in', carrier => {
    make({ options: { carrier: Carrier[carrier] } });
    const packet = arriving({ carrier: 'opp', mark: forged, options: forged });
    const options = nops(8);
    expect(rig.send(packet).emitted).toEqual([asHex({ options, carrier, client: CLIENT })]);
    expect(rig.counts()).toMatchObject({ marks_forged: 2, marks_inserted: 1 });
    make({ options: { maxTrails: 0 } });
    expect(rig.send(packet).emitted).toEqual([asHex({ options })]);
  });

  it('of a flow that conntrack does not know: overwritten', () => {
    rig.connections.forget(LB, SERVER);
    expect(rig.send(arriving({ options: forged })).emitted).toEqual([asHex({ options: nops(8) })]);
    expect(rig.counts()).toEqual({ packets_seen: 1, marks_forged: 1, packets_unmarked: 1 });
  });

  it('in a flow’s later packets: overwritten', () => {
    rig.send(arriving(), ack({ carrier: 'ipo' }));
    expect(rig.send(arriving({ options: forged })).emitted).toEqual([asHex({ options: nops(8) })]);
  });

  it.each<[string, number[]]>([
    ['behind the end of the list', [0, ...forged, 0, 0, 0]],
    ['of length 0', [31, 0, ...forged.slice(2)]],
    ['of length 1', [31, 1, ...forged.slice(2)]],
    ['past the end of the header', [31, 9, ...forged.slice(2)]],
    ['behind an option that is past the end', [7, 99, ...forged, 1, 1]],
    ['cut off in its first byte', [1, 1, 1, 31]],
    ['inside another option', [7, 12, ...forged, 1, 1]],
  ])('%s are no marks to anybody: left alone', (_, options) => {
    make({ options: { maxTrails: 1 } });
    expect(rig.send(arriving({ options }), arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'ipo', client: CLIENT }),
      asHex({ options }),
    ]);
    expect(rig.counts()).not.toHaveProperty('marks_forged');
  });
});

describe('a packet that is no datagram to a real server', () => {
  it.each<[string, Octets]>([
    ['TCP', ipv4({ source: '10.10.1.1', destination: '10.10.1.2', protocol: 6, body: payloadOf(40) })],
    [
      'TCP from a real server',
      ipv4({ source: '10.10.1.2', destination: '10.10.1.1', protocol: 6, body: payloadOf(40) }),
    ],
    ['ICMP', ipv4({ source: '10.10.1.1', destination: '10.10.1.2', protocol: 1, body: payloadOf(40) })],
    ['IPv6', [0x60, ...new Array<number>(60).fill(0)]],
  ])('is ignored and counted: %s', (_, packet) => {
    expect(rig.send(packet)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ packets_seen: 1, packets_ignored: 1 });
  });

  it.each<[string, Octets]>([
    ['an ACK of another host’s to another host', ack({ carrier: 'opp', to: '10.10.5.5:1' })],
    [
      'a datagram of another host’s to another host',
      outgoing({ from: '10.10.5.5:1', carrier: 'ipo', client: OTHER }),
    ],
  ])('leaves without a mark: %s', (_, packet) => {
    const { delivered, emitted } = rig.send(packet);
    expect(delivered).toEqual([]);
    expect(emitted.map(sent => decode(hex(sent)))).toMatchObject([{ protocol: 17, opp: '' }]);
    expect(emitted[0]).not.toContain(toHex(option(OTHER)));
    expect(rig.counts()).toEqual({ packets_seen: 1, marks_forged: 1, packets_unmarked: 1 });
  });

  it('is dropped and counted where its lengths contradict each other', () => {
    const packet = arriving();
    packet[25] += 1;
    expect(rig.send(packet)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ packets_seen: 1, dropped_malformed: 1 });
  });
});

describe('the table', () => {
  it('evicts the flow that has been idle longest when it is full, and counts it', () => {
    make({ size: { maxFlows: 2, timeout: 60_000 } });
    for (const port of [1, 2, 3]) {
      const from = `10.10.1.1:${port}`;
      const client = `203.0.113.7:${port}`;
      rig.connections.track(from, SERVER, client);
      expect(rig.send(arriving({ from })).emitted).toEqual([asHex({ from, carrier: 'ipo', client })]);
      rig.wait(100);
    }
    expect(rig.counts()).toMatchObject({ flows: 2, flows_evicted: 1 });
    rig.send(ack({ to: '10.10.1.1:1', carrier: 'ipo', client: '203.0.113.7:1' }));
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1 });
    rig.send(ack({ to: '10.10.1.1:3', carrier: 'ipo', client: '203.0.113.7:3' }));
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });

  it('forgets a flow that nobody uses, and counts it', () => {
    rig.send(arriving());
    rig.wait(59_900);
    expect(rig.counts()).toMatchObject({ flows: 1 });
    rig.wait(1_300);
    expect(rig.counts()).toMatchObject({ flows_expired: 1 });
    expect(rig.counts()).not.toHaveProperty('flows');
  });

  it('keeps a flow that packets or ACKs come for', () => {
    make({ options: { maxTrails: 100 } });
    for (let i = 0; i < 3; i++) {
      rig.send(arriving());
      rig.wait(50_000);
    }
    rig.send(ack({ carrier: 'ipo' }));
    rig.wait(50_000);
    expect(rig.counts()).toMatchObject({ flows: 1, acks_received: 1 });
    expect([rig.flows.packets(0), rig.flows.replyCount(0)]).toEqual([3, 1]);
  });
});

describe('configure', () => {
  it('takes another carrier from the next packet on; ACKs come by that one', () => {
    rig.send(arriving());
    rig.role.configure({ carrier: Carrier.opp, maxTrails: 3, ownAddresses: OPTIONS.ownAddresses });
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'opp', client: CLIENT })]);
    expect(rig.send(ack({ carrier: 'opp' }))).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });

  it('takes another number of trails for flows under way, too', () => {
    rig.send(arriving(), arriving());
    rig.role.configure({ carrier: Carrier.ipo, maxTrails: 1, ownAddresses: OPTIONS.ownAddresses });
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    rig.role.configure({ carrier: Carrier.ipo, maxTrails: 4, ownAddresses: OPTIONS.ownAddresses });
    const mark = asHex({ carrier: 'ipo', client: CLIENT });
    expect(rig.send(arriving(), arriving(), arriving()).emitted).toEqual([mark, mark, asHex()]);
  });

  it('takes other addresses for its own', () => {
    const to = '10.10.1.77:40000';
    const late = ack({ carrier: 'ipo', to });
    rig.connections.track(to, SERVER, CLIENT);
    rig.role.configure({
      carrier: Carrier.ipo,
      maxTrails: 3,
      ownAddresses: [...OPTIONS.ownAddresses, prefix('10.10.1.77/32')],
    });
    rig.send(arriving({ from: to }));
    expect(rig.send(late)).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });
});
