/** Marks and ACKs on the load balancer's side, unplugged from everything. Packets come as NAT has left them. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { LoadBalancerOptions } from '../../../../src/role/load-balancer/settings.js';
import {
  alertIn,
  CARRIERS,
  datagramIn,
  FAMILIES,
  type Family,
  type FamilyFields,
  inFamily,
  markIn,
} from '../../support/families.js';
import { OPTIONS, Rig } from '../../support/load-balancer.js';
import {
  decode,
  destinationOption,
  destinationOptions,
  type Extension,
  forwarded,
  fragment,
  hex,
  hopByHop,
  ipv4,
  ipv6,
  type Octets,
  option,
  payloadOf,
  prefix,
  reassemble,
  routing,
  toHex,
} from '../../support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const OTHER = '198.51.100.9:6666';
const PAYLOAD = payloadOf(33);
const TTL = 60;
/** Milliseconds for which conntrack is not asked again about a flow that still wants marks. */
const SURE = 1000;

type Fields = Partial<FamilyFields>;

/** The packets of these tests in a family. */
function packetsIn(family: Family) {
  /** A datagram to the real server as the network has to get it. */
  const outgoing = (fields: Fields = {}) =>
    datagramIn(family, { from: LB, to: SERVER, payload: PAYLOAD, ttl: TTL, ...fields });
  /** The same as NAT has left it; the rig takes the hop that forwarding takes. */
  const arriving = outgoing;
  const asHex = (fields: Fields = {}) => toHex(outgoing(fields));
  /** An empty datagram with a mark, as the shim writes one itself. */
  const standalone = (fields: Fields = {}) =>
    toHex(datagramIn(family, { from: LB, to: SERVER, client: CLIENT, dontFragment: true, ...fields }));
  /** The real server's ACK. */
  const ack = (fields: Fields = {}) =>
    datagramIn(family, { from: SERVER, to: LB, client: CLIENT, dontFragment: true, ttl: 63, ...fields });
  const at = (text: string) => inFamily(family, text);
  const tuple = `${at(SERVER)} > ${at(LB)}`;
  return { outgoing, arriving, asHex, standalone, ack, at, tuple };
}

const NOTHING = { delivered: [], emitted: [] };

/** Clients of the other family than the packets'. */
const FOREIGN = { 4: '[::ffff:cb00:7107]:5555', 6: '203.0.113.7:5555' } as const;

/** A mark with the same port and the same beginning of an address, in an option for the other family. */
function otherLength([type, length, ...rest]: readonly number[]): number[] {
  const isLong = rest.length > 6;
  return [
    type,
    length + (isLong ? -12 : 12),
    ...(isLong ? rest.slice(0, 6) : [...rest, ...new Array(12).fill(0)]),
  ];
}

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

describe.each(CARRIERS)('carrier %s, IPv%i', (carrier, family) => {
  const { outgoing, arriving, asHex, standalone, ack, at, tuple: TUPLE } = packetsIn(family);
  /** What a mark adds to a packet, and what its headers take without one. */
  const added = family === 6 ? 24 : carrier === 'ipo' ? 8 : 12;
  const headers = family === 6 ? 48 : 28;
  const remake = (options: Partial<LoadBalancerOptions> = {}) =>
    make({ family, options: { carrier, ...options } });

  const marked = (fields: Fields = {}) => asHex({ carrier, client: CLIENT, ...fields });
  const ackOf = (fields: Fields = {}) => ack({ carrier, ...fields });
  const ownMark = markIn(family, carrier, CLIENT);

  beforeEach(() => {
    remake();
  });

  it('puts the mark into the first packets of a flow, and into no other', () => {
    for (let i = 0; i < 3; i++) expect(rig.send(arriving())).toEqual({ delivered: [], emitted: [marked()] });
    for (let i = 0; i < 5; i++) expect(rig.send(arriving())).toEqual({ delivered: [], emitted: [asHex()] });
    expect(rig.counts()).toEqual({ packets_seen: 8, marks_inserted: 3, packets_unmarked: 5, flows: 1 });
    expect(rig.flowOf(LB, SERVER)).toMatchObject({ packets: 8 });
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
    const ends = `fd00 0001 0000 0000 0000 0000 0000 0001 fd00 0001 0000 0000 0000 0000 0000 0002`;
    const client = `15b3 2001 0db8 0203 0000 0000 0000 0113 0007`;
    const arrived6 = `6000 0000 000b 113b ${ends} 9c40 0035 000b 655a 010203`;
    const golden6 = {
      ipo: `6000 0000 0023 3c3c ${ends} 1102 1f12 ${client} 0100 9c40 0035 000b 655a 010203`,
      opp: `6000 0000 0023 f83c ${ends} 2011 0018 1f14 ${client} 9c40 0035 000b 655a 010203`,
    };
    const packet = arriving({ payload: [1, 2, 3], id: 7, dontFragment: true });
    expect(toHex(forwarded(packet))).toBe(toHex(hex(family === 4 ? arrived : arrived6)));
    const wanted = (family === 4 ? golden : golden6)[carrier];
    expect(rig.send(packet).emitted).toEqual([toHex(hex(wanted))]);
  });

  it('leaves all else as it was: TOS, id, DF, other options, a checksum of 0, any payload', () => {
    rig.role.configure({ carrier, marksPerFlow: 100, ownAddresses: [] });
    // IPv6 has `opp` without extension headers only.
    const alert = family === 6 && carrier === 'opp' ? { flow: 1 } : { ...alertIn(family), flow: 0xfedcb };
    for (const length of [1, 2, 499, 500, 501, 1400])
      for (const rest of [{}, { udpChecksum: 0 }, { udpChecksum: 0xffff }, alert]) {
        const fields = { tos: 0xb9, id: 0xfedc, dontFragment: true, payload: payloadOf(length), ...rest };
        expect(rig.send(arriving(fields)).emitted, `${length} bytes`).toEqual([marked(fields)]);
      }
  });

  it.each([0, 1, 2, 99, 100])('sends no more than %i marks', marksPerFlow => {
    remake({ marksPerFlow });
    const { emitted } = rig.send(...Array.from({ length: marksPerFlow + 3 }, () => arriving()));
    expect(emitted).toEqual([
      ...new Array<string>(marksPerFlow).fill(marked()),
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
    expect(rig.connections.releases).toEqual([TUPLE, rig.connections.tuple(second, '10.10.1.3:54')]);
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
    for (const fields of [
      { tos: 0xff },
      { ttl: 1 },
      { id: 9 },
      { udpChecksum: 0 },
      { dontFragment: false },
      alertIn(family),
    ]) {
      remake();
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
    ['with a client of the other family', ackOf({ named: FOREIGN[family] })],
    [
      'with an option of the other family’s length that begins the same',
      ackOf({ mark: otherLength(ownMark) }),
    ],
    ['with an option of 9 bytes', ackOf({ mark: [31, 9, ...ownMark.slice(2), 1, 1, 1, 1] })],
    ['with an option past its end', ackOf({ mark: [31, 44, ...ownMark.slice(2)] })],
    ['with an option of length 0', ackOf({ mark: [31, 0, ...ownMark.slice(2)] })],
    ['with another option', ackOf({ mark: [30, ...ownMark.slice(1)] })],
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
    remake({ marksPerFlow: 0 });
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
    const fields = (total: number) => ({ payload: payloadOf(total - headers) });
    for (const mtu of [family === 4 ? 553 : 1281, 1290, 1500, 9000, 65_535]) {
      remake();
      rig.mtu = mtu;
      expect(rig.send(arriving(fields(mtu - added))).emitted).toEqual([marked(fields(mtu - added))]);
      expect(rig.send(arriving(fields(mtu - added + 1))).emitted).toEqual([
        standalone({ carrier }),
        asHex(fields(mtu - added + 1)),
      ]);
      expect(rig.mtuQuestions).toEqual([at('10.10.1.2'), at('10.10.1.2')]);
    }
  });

  it('does not ask for the MTU of what fits any path', () => {
    rig.mtu = 0;
    const smallest = family === 4 ? 552 : 1280;
    const fields = { payload: payloadOf(smallest - added - headers) };
    expect(rig.send(arriving(fields)).emitted).toEqual([marked(fields)]);
    expect(rig.mtuQuestions).toEqual([]);
  });

  it('sends a standalone ahead where there is no route to ask for', () => {
    rig.mtu = 0;
    const fields = { payload: payloadOf(1300) };
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
    rig.send(arriving({ to: '10.10.1.3:53', payload: payloadOf(1300) }));
    expect(rig.mtuQuestions).toEqual([at('10.10.1.3')]);
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
    expect(rig.send(outgoing({ ...answer, carrier, client: CLIENT }))).toEqual({
      delivered: [toHex(outgoing(answer))],
      emitted: [],
    });
    expect(rig.send(outgoing({ ...answer, carrier, named: FOREIGN[family] })).delivered).toEqual([
      toHex(outgoing(answer)),
    ]);
    expect(rig.counts()).toEqual({ packets_seen: 2, packets_unmarked: 2 });
  });

  it('does not take an answer with the right mark for an ACK', () => {
    rig.send(arriving());
    rig.send(outgoing({ from: SERVER, to: LB, carrier, client: CLIENT, payload: [1] }));
    expect(rig.connections.releases).toEqual([]);
    expect(rig.send(arriving()).emitted).toEqual([marked()]);
  });

  it('drops and counts every truncation of a packet, either way', () => {
    for (const packet of [arriving({ payload: [1, 2, 3] }), ackOf(), arriving({ carrier, client: CLIENT })]) {
      remake();
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
    rig.send(outgoing({ from: SERVER, to: LB, carrier, client: CLIENT, payload: [1] }));
    expect(rig.counts()).toMatchObject({ dropped_io: 4 });
    rig.send(ackOf());
    expect(rig.counts()).toMatchObject({ dropped_io: 4 });
  });
});

describe('the IPv4 header', () => {
  const { outgoing, arriving, asHex, standalone } = packetsIn(4);
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
    make({ options: { carrier: 'opp' } });
    const options = alerts(10);
    expect(rig.send(arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'opp', client: CLIENT }),
    ]);
  });

  it('gets back the hop that it lost, at every TTL, with the checksum right', () => {
    make({ options: { marksPerFlow: 0 } });
    for (let ttl = 1; ttl <= 255; ttl++) {
      const [sent] = rig.send(arriving({ ttl })).emitted;
      expect(sent).toBe(asHex({ ttl }));
      expect(decode(hex(sent)).ttl).toBe(ttl);
    }
  });

  it('of a packet that never lost one keeps its 255', () => {
    expect(rig.sendUnforwarded(outgoing({ ttl: 255 })).emitted).toEqual([
      asHex({ ttl: 255, carrier: 'ipo', client: CLIENT }),
    ]);
  });
});

describe.each(FAMILIES)('conntrack, IPv%i', family => {
  const { arriving, asHex, ack, tuple: TUPLE } = packetsIn(family);
  beforeEach(() => {
    make({ family });
  });

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
    make({ family, start });
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

    make({ family });
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
      make({ family });
      rig.connections.track(LB, SERVER, client);
      expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client })]);
      rig.send(ack({ carrier: 'ipo', client }));
      expect(rig.counts()).toMatchObject({ acks_received: 1 });
    }
  });
});

describe('marks that a client put there itself', () => {
  const { outgoing, arriving, asHex, standalone, ack } = packetsIn(4);
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
    make({ options: { marksPerFlow: 0 } });
    const { emitted } = rig.send(arriving({ options }));
    expect(emitted).toEqual([asHex({ options: erased })]);
    expect(rig.counts()).toEqual({ packets_seen: 1, marks_forged: count, packets_unmarked: 1, flows: 1 });
  });

  it.each(cases)('%s: overwritten beside opp', (_, options, erased, count) => {
    make({ options: { carrier: 'opp' } });
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
    make({ options: { carrier } });
    const packet = arriving({ carrier: 'opp', mark: forged, options: forged });
    const options = nops(8);
    expect(rig.send(packet).emitted).toEqual([asHex({ options, carrier, client: CLIENT })]);
    expect(rig.counts()).toMatchObject({ marks_forged: 2, marks_inserted: 1 });
    make({ options: { marksPerFlow: 0 } });
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
    make({ options: { marksPerFlow: 1 } });
    expect(rig.send(arriving({ options }), arriving({ options })).emitted).toEqual([
      asHex({ options, carrier: 'ipo', client: CLIENT }),
      asHex({ options }),
    ]);
    expect(rig.counts()).not.toHaveProperty('marks_forged');
  });
});

describe('a packet that is no datagram to a real server', () => {
  const { outgoing, arriving, ack } = packetsIn(4);

  it.each<[string, Octets]>([
    ['TCP', ipv4({ source: '10.10.1.1', destination: '10.10.1.2', protocol: 6, body: payloadOf(40) })],
    [
      'TCP from a real server',
      ipv4({ source: '10.10.1.2', destination: '10.10.1.1', protocol: 6, body: payloadOf(40) }),
    ],
    ['ICMP', ipv4({ source: '10.10.1.1', destination: '10.10.1.2', protocol: 1, body: payloadOf(40) })],
    ['TCP over IPv6', ipv6({ source: 'fd00:1::1', destination: 'fd00:1::2', next: 6, body: payloadOf(40) })],
    [
      'TCP over IPv6, back',
      ipv6({ source: 'fd00:1::2', destination: 'fd00:1::1', next: 6, body: payloadOf(40) }),
    ],
    ['ICMPv6', ipv6({ source: 'fd00:1::1', destination: 'fd00:1::2', next: 58, body: payloadOf(40) })],
    ['neither IPv4 nor IPv6', [0x50, ...new Array<number>(60).fill(0)]],
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

describe.each(FAMILIES)('the table, IPv%i', family => {
  const { arriving, asHex, ack } = packetsIn(family);
  beforeEach(() => {
    make({ family });
  });

  it('evicts the flow that has been idle longest when it is full, and counts it', () => {
    make({ family, size: { maxFlows: 2, timeoutMs: 60_000 } });
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
    make({ family, options: { marksPerFlow: 100 } });
    for (let i = 0; i < 3; i++) {
      rig.send(arriving());
      rig.wait(50_000);
    }
    rig.send(ack({ carrier: 'ipo' }));
    rig.wait(50_000);
    expect(rig.counts()).toMatchObject({ flows: 1, acks_received: 1 });
    expect(rig.flowOf(LB, SERVER)).toMatchObject({ packets: 3, replies: 1 });
  });
});

describe('configure', () => {
  const { arriving, asHex, ack } = packetsIn(4);

  it('takes another carrier from the next packet on; ACKs come by that one', () => {
    rig.send(arriving());
    rig.role.configure({ carrier: 'opp', marksPerFlow: 3, ownAddresses: OPTIONS.ownAddresses });
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'opp', client: CLIENT })]);
    expect(rig.send(ack({ carrier: 'opp' }))).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });

  it('takes another number of trails for flows under way, too', () => {
    rig.send(arriving(), arriving());
    rig.role.configure({ carrier: 'ipo', marksPerFlow: 1, ownAddresses: OPTIONS.ownAddresses });
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    rig.role.configure({ carrier: 'ipo', marksPerFlow: 4, ownAddresses: OPTIONS.ownAddresses });
    const mark = asHex({ carrier: 'ipo', client: CLIENT });
    expect(rig.send(arriving(), arriving(), arriving()).emitted).toEqual([mark, mark, asHex()]);
  });

  it('takes other addresses for its own', () => {
    const to = '10.10.1.77:40000';
    const late = ack({ carrier: 'ipo', to });
    rig.connections.track(to, SERVER, CLIENT);
    rig.role.configure({
      carrier: 'ipo',
      marksPerFlow: 3,
      ownAddresses: [...OPTIONS.ownAddresses, prefix('10.10.1.77/32')],
    });
    rig.send(arriving({ from: to }));
    expect(rig.send(late)).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });
});

describe('both families at once', () => {
  it('get marks by the option of their own headers, and are let go by their own ACKs', () => {
    for (const family of FAMILIES)
      rig.connections.track(inFamily(family, LB), inFamily(family, SERVER), inFamily(family, CLIENT));
    const [four, six] = FAMILIES.map(packetsIn);
    const mark = { carrier: 'ipo', client: CLIENT } as const;
    expect(rig.send(four.arriving(), six.arriving()).emitted).toEqual([four.asHex(mark), six.asHex(mark)]);
    expect(rig.send(six.ack({ carrier: 'ipo' }), four.arriving(), six.arriving()).emitted).toEqual([
      four.asHex(mark),
      six.asHex(),
    ]);
    expect(rig.connections.releases).toEqual([six.tuple]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 3, acks_received: 1, flows: 2 });
  });
});

describe('IPv6 extension headers', () => {
  const { outgoing, arriving, asHex, standalone, ack } = packetsIn(6);
  const forged = destinationOption('[2001:db8:bad::99]:99');
  const other = [0x1e, 4, 1, 2, 3, 4];
  const filler = (options: Octets) => ({ extensions: [destinationOptions(options)] });

  beforeEach(() => {
    make({ family: 6 });
  });

  it('stay where they are: the mark goes behind them, right before UDP', () => {
    for (const extensions of [
      [hopByHop()],
      [routing()],
      [hopByHop(), routing()],
      [destinationOptions(other), routing()],
    ]) {
      make({ family: 6 });
      expect(rig.send(arriving({ extensions })).emitted).toEqual([
        asHex({ extensions, carrier: 'ipo', client: CLIENT }),
      ]);
    }
  });

  it('leave no room for opp: a standalone goes ahead', () => {
    make({ family: 6, options: { carrier: 'opp' } });
    const extensions = [hopByHop()];
    expect(rig.send(arriving({ extensions })).emitted).toEqual([
      standalone({ carrier: 'opp' }),
      asHex({ extensions }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_standalone: 1 });
  });

  it('give back the hop that was lost, at every hop limit', () => {
    make({ family: 6, options: { marksPerFlow: 0 } });
    for (let ttl = 1; ttl <= 255; ttl++)
      expect(rig.send(arriving({ ttl })).emitted).toEqual([asHex({ ttl })]);
    expect(rig.sendUnforwarded(outgoing({ ttl: 255 })).emitted).toEqual([asHex({ ttl: 255 })]);
  });

  const cases: [string, Extension[], Extension[], number][] = [
    ['one', [destinationOptions(forged)], [], 1],
    ['one of an IPv4 client', [destinationOptions(destinationOption('192.0.2.99:99'))], [], 1],
    [
      'one behind another option',
      [destinationOptions([...other, ...forged])],
      [destinationOptions(other)],
      1,
    ],
    [
      'one in front of another option',
      [destinationOptions([...forged, ...other])],
      [destinationOptions(other)],
      1,
    ],
    ['two in one header', [destinationOptions([...forged, ...forged])], [], 2],
    [
      'two, another option between',
      [destinationOptions([...forged, ...other, ...forged])],
      [destinationOptions(other)],
      2,
    ],
    ['two in two headers', [destinationOptions(forged), destinationOptions(forged)], [], 2],
    [
      'one behind other headers',
      [hopByHop(), routing(), destinationOptions(forged)],
      [hopByHop(), routing()],
      1,
    ],
  ];

  describe.each(cases)('marks that a client put there itself: %s', (_, extensions, left, count) => {
    it('come off, and ours goes in', () => {
      const [sent] = rig.send(arriving({ extensions })).emitted;
      expectSame(sent, outgoing({ extensions: left, carrier: 'ipo', client: CLIENT }));
      expect(sent).not.toContain(toHex(forged));
      expect(rig.counts()).toMatchObject({ marks_forged: count, marks_inserted: 1 });
    });

    it('come off packets that get no mark', () => {
      make({ family: 6, options: { marksPerFlow: 0 } });
      const [sent] = rig.send(arriving({ extensions })).emitted;
      expectSame(sent, outgoing({ extensions: left }));
      expect(rig.counts()).toMatchObject({ marks_forged: count, packets_unmarked: 1 });
    });
  });

  it.each(['ipo', 'opp'] as const)('a client’s own opp comes off, before %s goes in', carrier => {
    make({ family: 6, options: { carrier } });
    const packet = arriving({ carrier: 'opp', named: '[2001:db8:bad::99]:99' });
    expect(rig.send(packet).emitted).toEqual([asHex({ carrier, client: CLIENT })]);
    expect(rig.counts()).toMatchObject({ marks_forged: 1, marks_inserted: 1 });
  });

  it.each<[string, number[]]>([
    ['past the end of the header', [31, 60, ...forged.slice(2)]],
    ['inside another option', [0x1e, 22, ...forged, 0, 0]],
  ])('%s is no mark to anybody: left alone', (_, options) => {
    const [sent] = rig.send(arriving(filler(options))).emitted;
    expect(sent).toContain(toHex(options));
    expect(rig.counts().marks_forged).toBeUndefined();
  });

  it('a client’s own mark in an empty datagram comes off, the standalone ahead', () => {
    expect(rig.send(arriving({ payload: [], ...filler(forged) })).emitted).toEqual([
      standalone({ carrier: 'ipo' }),
      asHex({ payload: [] }),
    ]);
  });

  it.each<[string, (mark: number[]) => Extension[]]>([
    ['of a length that no mark has', ([type]) => [destinationOptions([type, 3, 1, 2, 3])]],
    ['in a header that is not right before UDP', mark => [destinationOptions(mark), routing()]],
  ])('a client’s own mark %s is one no more', (_, extensionsWith) => {
    const [, ...rest] = forged;
    expect(rig.send(arriving({ extensions: extensionsWith(forged) })).emitted).toEqual([
      asHex({ extensions: extensionsWith([0x1e, ...rest]), carrier: 'ipo', client: CLIENT }),
    ]);
    expect(rig.counts()).toMatchObject({ marks_forged: 1, marks_inserted: 1 });
  });

  it('a client’s own mark in a fragment is one no more, and the fragments still fit together', () => {
    const payload = payloadOf(200);
    const pieces = fragment(arriving({ payload, ...filler(forged) }), 64);
    const { emitted } = rig.send(...pieces);
    expect(emitted[0]).toBe(standalone({ carrier: 'ipo' }));
    const whole = toHex(reassemble(emitted.slice(1).map(hex)));
    expect(whole).not.toContain(toHex(forged));
    expect(decode(hex(whole))).toMatchObject({ payload: toHex(payload), ttl: TTL });
    expect(whole).toBe(asHex({ payload, ...filler([0x1e, ...forged.slice(1)]) }));
    expect(rig.counts()).toMatchObject({ marks_forged: 1, marks_standalone: 1 });
  });

  it('an ACK with more than the mark in its header counts', () => {
    rig.send(arriving());
    const mark = destinationOption(inFamily(6, CLIENT));
    expect(rig.send(ack({ extensions: [destinationOptions([...other, ...mark])], named: '' }))).toEqual(
      NOTHING,
    );
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });
});

/** The same but for the padding that takes the place of options: not much. */
function expectSame(sent: string, wanted: Octets): void {
  const [a, b] = [hex(sent), wanted].map(decode);
  const { options: theirs, ...rest } = a;
  const { options: ours, ...expected } = b;
  expect(rest).toEqual(expected);
  expect((theirs.length - ours.length) / 2).toBeOneOf([0, 8]);
}
