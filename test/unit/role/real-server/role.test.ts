/** The exchange between a load balancer and a real server, unplugged from everything. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  alertIn,
  CARRIERS,
  datagramIn,
  FAMILIES,
  type Family,
  type FamilyFields,
  inFamily,
} from '../../support/families.js';
import { OPTIONS, Rig } from '../../support/real-server.js';
import {
  decode,
  destinationOption,
  destinationOptions,
  hex,
  hopByHop,
  ipv4,
  ipv6,
  opp,
  option,
  payloadOf,
  prefix,
  routing,
  toHex,
  udp,
  words,
} from '../../support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const PAYLOAD = payloadOf(33);

/** The packets of these tests in a family. */
function packetsIn(family: Family) {
  /** A datagram from the load balancer. */
  const inbound = (fields: Partial<FamilyFields> = {}) =>
    datagramIn(family, { from: LB, to: SERVER, payload: PAYLOAD, ttl: 60, ...fields });
  /** The same as text, as it has to come out. */
  const asHex = (fields: Partial<FamilyFields> = {}) => toHex(inbound(fields));
  /** The ACK for a mark. */
  const ackFor = (fields: Partial<FamilyFields>) =>
    toHex(datagramIn(family, { from: SERVER, to: LB, client: CLIENT, dontFragment: true, ...fields }));
  /** An answer of the application. */
  const reply = (fields: Partial<FamilyFields> = {}) =>
    datagramIn(family, { from: SERVER, to: CLIENT, payload: [4, 5, 6], ttl: 64, id: 9, ...fields });
  return { inbound, asHex, ackFor, reply };
}

/** Clients of the other family than the packets'. */
const FOREIGN = { 4: '[2001:db8::7]:5555', 6: '203.0.113.7:5555' } as const;

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
});

describe.each(CARRIERS)('a packet marked by %s in IPv%i', (carrier, family) => {
  const { inbound, asHex, ackFor, reply } = packetsIn(family);
  it('a marked packet is delivered with its client as source, and acknowledged', () => {
    expect(rig.send(inbound({ carrier, client: CLIENT, tos: 0xb8, id: 7 }))).toEqual({
      delivered: [asHex({ from: CLIENT, tos: 0xb8, id: 7 })],
      emitted: [ackFor({ carrier })],
    });
    expect(rig.counts()).toEqual({
      uoa_got: 1,
      uoa_saved: 1,
      uoa_ack_sent: 1,
      packets_delivered: 1,
      flows: 1,
    });
  });

  it('the ACK for a known client has the golden bytes', () => {
    const golden4 = {
      ipo: `4700 0024 0000 4000 4011 b1ef 0a0a0102 0a0a0101 1f08 15b3 cb007107 0035 9c40 0008 4d52`,
      opp: `4500 0028 0000 4000 40f8 23c8 0a0a0102 0a0a0101 1011 000c 1f08 15b3 cb007107 0035 9c40 0008 4d52`,
    };
    const ends = `fd00 0001 0000 0000 0000 0000 0000 0002 fd00 0001 0000 0000 0000 0000 0000 0001`;
    const client = `15b3 2001 0db8 0203 0000 0000 0000 0113 0007`;
    const golden6 = {
      ipo: `6000 0000 0020 3c40 ${ends} 1102 1f12 ${client} 0100 0035 9c40 0008 6962`,
      opp: `6000 0000 0020 f840 ${ends} 2011 0018 1f14 ${client} 0035 9c40 0008 6962`,
    };
    const golden = family === 4 ? golden4 : golden6;
    expect(rig.send(inbound({ carrier, client: CLIENT })).emitted).toEqual([toHex(hex(golden[carrier]))]);
  });

  it('a marked packet keeps its other options, a checksum of 0 and payloads of any size', () => {
    for (const length of [1, 2, 1399, 1400, 9000]) {
      const fields = { ...alertIn(family), flow: 0x12345, payload: payloadOf(length), udpChecksum: 0 };
      const { delivered } = rig.send(inbound({ ...fields, carrier, client: CLIENT }));
      expect(delivered).toEqual([asHex({ ...fields, from: CLIENT })]);
    }
  });

  it('packets after a mark have the client as source, in the same batch too', () => {
    const { delivered, emitted } = rig.send(inbound({ carrier, client: CLIENT }), inbound(), inbound());
    expect(delivered).toEqual([1, 2, 3].map(() => asHex({ from: CLIENT })));
    expect(emitted).toHaveLength(1);
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
    expect(rig.counts()).toEqual({
      uoa_got: 1,
      uoa_none: 3,
      uoa_saved: 1,
      uoa_ack_sent: 1,
      packets_delivered: 4,
      flows: 1,
    });
  });

  it('a repeated mark is acknowledged each time and saved once', () => {
    const packet = inbound({ carrier, client: CLIENT });
    expect(rig.send(packet, packet, packet).emitted).toEqual([1, 2, 3].map(() => ackFor({ carrier })));
    expect(rig.counts()).toMatchObject({ uoa_got: 3, uoa_saved: 1, uoa_ack_sent: 3, flows: 1 });
  });

  it('a mark with another client replaces the client of the flow', () => {
    rig.send(inbound({ carrier, client: CLIENT }));
    const other = '198.51.100.9:6666';
    const { delivered, emitted } = rig.send(inbound({ carrier, client: other }), inbound());
    expect(delivered).toEqual([asHex({ from: other }), asHex({ from: other })]);
    expect(emitted).toEqual([ackFor({ carrier, client: other })]);
    expect(rig.counts()).toMatchObject({ uoa_saved: 2, flows: 1 });
    // The first client has nobody to answer through any more.
    expect(rig.send(reply()).emitted).toEqual([toHex(reply())]);
    expect(rig.send(reply({ to: other })).emitted).toEqual([toHex(reply({ to: LB }))]);
  });

  it('a standalone is consumed, acknowledged and learned', () => {
    expect(rig.send(inbound({ carrier, client: CLIENT, payload: [] }))).toEqual({
      delivered: [],
      emitted: [ackFor({ carrier })],
    });
    expect(rig.counts()).toEqual({
      uoa_got: 1,
      uoa_saved: 1,
      uoa_ack_sent: 1,
      uoa_standalone: 1,
      flows: 1,
    });
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
  });

  it('replies go by the flow of a standalone', () => {
    rig.send(inbound({ carrier, client: CLIENT }));
    rig.send(inbound({ from: '10.10.1.1:40001', carrier, client: CLIENT, payload: [] }));
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: '10.10.1.1:40001' }))]);
  });

  it('a mark from a load balancer without ACKs is not acknowledged', () => {
    const from = '10.20.3.4:40000';
    expect(rig.send(inbound({ from, carrier, client: CLIENT }))).toEqual({
      delivered: [asHex({ from: CLIENT })],
      emitted: [],
    });
    expect(rig.send(inbound({ from, carrier, client: CLIENT, payload: [] }))).toEqual({
      delivered: [],
      emitted: [],
    });
    expect(rig.counts()).toEqual({
      uoa_got: 2,
      uoa_saved: 1,
      uoa_standalone: 1,
      packets_delivered: 1,
      flows: 1,
    });
  });

  it('a marked empty datagram from a load balancer that marks those is delivered', () => {
    const from = '10.30.3.4:40000';
    expect(rig.send(inbound({ from, carrier, client: CLIENT, payload: [] }))).toEqual({
      delivered: [asHex({ from: CLIENT, payload: [] })],
      emitted: [ackFor({ carrier, to: from })],
    });
    expect(rig.counts()).toEqual({
      uoa_got: 1,
      uoa_saved: 1,
      uoa_ack_sent: 1,
      packets_delivered: 1,
      flows: 1,
    });
  });

  it('a marked packet to a port without a service is delivered without its mark, and not learned', () => {
    const to = '10.10.1.2:54';
    expect(rig.send(inbound({ to, carrier, client: CLIENT }))).toEqual({
      delivered: [asHex({ to })],
      emitted: [],
    });
    expect(rig.counts()).toEqual({ uoa_got: 1, packets_delivered: 1 });
  });

  it('marks to a range of ports and to any port are learned', () => {
    for (const to of ['10.10.1.2:7000', '10.10.1.2:7010', '10.10.1.4:1', '10.10.1.4:65535']) {
      const { delivered, emitted } = rig.send(inbound({ to, carrier, client: CLIENT }));
      expect(delivered, to).toEqual([asHex({ to, from: CLIENT })]);
      expect(emitted, to).toEqual([ackFor({ from: to, carrier })]);
    }
  });

  it('a marked packet from outside the prefixes is delivered as it came', () => {
    for (const from of ['10.11.1.1:40000', '198.51.100.1:1', '10.19.255.255:40000', '10.21.0.0:40000']) {
      const packet = inbound({ from, carrier, client: CLIENT });
      expect(rig.send(packet), from).toEqual({ delivered: [toHex(packet)], emitted: [] });
    }
    expect(rig.counts()).toEqual({ packets_delivered: 4 });
  });

  it('a marked packet from a service’s own address is emitted as it came', () => {
    const packet = inbound({ from: '10.10.1.3:40000', carrier, client: CLIENT });
    expect(rig.send(packet)).toEqual({ delivered: [], emitted: [toHex(packet)] });
    expect(rig.counts()).toEqual({ replies_passed: 1 });
  });

  it('a marked packet to another host is emitted as it came', () => {
    const packet = inbound({ to: '10.10.1.9:53', carrier, client: CLIENT });
    expect(rig.send(packet)).toEqual({ delivered: [], emitted: [toHex(packet)] });
    expect(rig.counts()).toEqual({ replies_passed: 1 });
  });

  it.each([
    ['0.0.0.0', '0.0.0.0:5555'],
    ['0.0.0.0/8', '0.1.2.3:5555'],
    ['loopback', '127.0.0.1:5555'],
    ['multicast', '224.0.0.1:5555'],
    ['multicast', '239.255.255.255:5555'],
    ['broadcast', '255.255.255.255:5555'],
    ['the broadcast address of its network', '10.10.1.255:5555'],
    ['its own address', '10.10.1.2:5555'],
    ['another own address', '10.10.1.3:5555'],
    ['port 0', '203.0.113.7:0'],
    ['IPv6: ::', '[::]:5555'],
    ['IPv6: loopback', '[::1]:5555'],
    ['IPv6: multicast', '[ff02::1]:5555'],
    ['IPv6: link-local', '[fe80::7]:5555'],
    ['IPv6: an IPv4 address in disguise', '[::ffff:cb00:7107]:5555'],
    ['IPv6: loopback in disguise', '[::ffff:7f00:1]:5555'],
    ['IPv6: its own address', '[fd00:1::2]:5555'],
    ['IPv6: another own address', '[fd00:1::3]:5555'],
    ['IPv6: port 0', '[2001:db8::7]:0'],
  ])(
    'a packet whose mark names an impossible client (%s) is delivered as from the load balancer',
    (_, named) => {
      expect(rig.send(inbound({ carrier, named }))).toEqual({ delivered: [asHex()], emitted: [] });
      expect(rig.counts()).toEqual({ uoa_got: 1, uoa_invalid: 1, packets_delivered: 1 });
      // Alone it is consumed as any other.
      expect(rig.send(inbound({ carrier, named, payload: [] }))).toEqual({ delivered: [], emitted: [] });
      expect(rig.counts()).toEqual({ uoa_got: 2, uoa_invalid: 2, uoa_standalone: 1, packets_delivered: 1 });
      expect(rig.flows.count).toBe(0);
    },
  );

  it('a mark with an impossible client leaves the flow its client', () => {
    rig.send(inbound({ carrier, client: CLIENT }));
    rig.send(inbound({ carrier, named: '127.0.0.1:1' }));
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
  });

  it('a packet of a client of the other family is delivered as from the load balancer, and known to look-ups', () => {
    const named = FOREIGN[family];
    expect(rig.send(inbound({ carrier, named }), inbound())).toEqual({
      delivered: [asHex(), asHex()],
      emitted: [ackFor({ carrier, named })],
    });
    expect(rig.counts()).toEqual({
      uoa_got: 1,
      uoa_none: 1,
      uoa_saved: 1,
      uoa_ack_sent: 1,
      packets_delivered: 2,
      flows: 1,
    });
    expect(rig.flowOf(LB, SERVER, family)).toMatchObject({ packets: 2 });
    expect(rig.clientOf(LB, SERVER, family)).toBe(named);
    // The application sees the load balancer, so it answers that one, and nothing needs to be changed.
    const answer = reply({ to: LB });
    expect(rig.send(answer).emitted).toEqual([toHex(answer)]);
  });

  it('a client of one family replaces one of the other family', () => {
    const named = FOREIGN[family];
    rig.send(inbound({ carrier, named }));
    expect(rig.send(inbound({ carrier, client: CLIENT }), inbound()).delivered).toEqual([
      asHex({ from: CLIENT }),
      asHex({ from: CLIENT }),
    ]);
    expect(rig.send(inbound({ carrier, named }), inbound()).delivered).toEqual([asHex(), asHex()]);
    expect(rig.counts()).toMatchObject({ uoa_saved: 3, flows: 1 });
  });

  it('a packet whose ACK is refused is delivered, and the refusal counted', () => {
    rig.device.refusing = true;
    rig.send(inbound({ carrier, client: CLIENT }));
    expect(rig.counts()).toEqual({
      uoa_got: 1,
      uoa_saved: 1,
      uoa_ack_fail: 1,
      packets_delivered: 1,
      dropped_io: 1,
      flows: 1,
    });
    rig.device.refusing = false;
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
  });
});

describe('a mark among other destination options', () => {
  const { inbound, asHex } = packetsIn(6);
  const mark = destinationOption(inFamily(6, CLIENT));
  const other = [0x1e, 4, 1, 2, 3, 4];

  it.each([
    ['in front of it', [...other, ...mark]],
    ['behind it', [...mark, ...other]],
    ['padded on both sides', [0, 1, 0, ...mark, 1, 1, 0, ...other]],
  ])('a mark beside another destination option comes off alone: %s', (_, options) => {
    const { delivered, emitted } = rig.send(inbound({ extensions: [destinationOptions(options)] }));
    expect(decode(hex(delivered[0]))).toMatchObject({ from: inFamily(6, CLIENT), payload: toHex(PAYLOAD) });
    expect(delivered[0]).toContain(toHex(other));
    expect(delivered[0]).not.toContain(toHex(mark));
    expect(delivered[0].length).toBeLessThan(asHex({ extensions: [destinationOptions(options)] }).length);
    expect(emitted).toHaveLength(1);
  });

  it('a mark behind routing and hop-by-hop headers is read', () => {
    const extensions = [hopByHop(), routing()];
    const { delivered } = rig.send(inbound({ extensions, carrier: 'ipo', client: CLIENT }));
    expect(delivered).toEqual([asHex({ extensions, from: CLIENT })]);
  });

  it('a mark in a header that is not right before UDP is ignored', () => {
    const extensions = [destinationOptions(mark), routing()];
    expect(rig.send(inbound({ extensions })).delivered).toEqual([asHex({ extensions })]);
    expect(rig.counts()).toEqual({ uoa_none: 1, uoa_miss: 1, packets_delivered: 1 });
  });
});

describe('both families at once', () => {
  it('the same client in both families has a flow and answers in each', () => {
    const four = packetsIn(4);
    const six = packetsIn(6);
    const marked = { carrier: 'ipo', client: CLIENT } as const;
    expect(rig.send(four.inbound(marked), six.inbound(marked), four.inbound(), six.inbound())).toEqual({
      delivered: [four, six, four, six].map(({ asHex }) => asHex({ from: CLIENT })),
      emitted: [four.ackFor({ carrier: 'ipo' }), six.ackFor({ carrier: 'ipo' })],
    });
    expect(rig.send(six.reply(), four.reply()).emitted).toEqual(
      [six, four].map(({ reply }) => toHex(reply({ to: LB }))),
    );
    expect(rig.counts()).toMatchObject({ uoa_got: 2, uoa_saved: 2, replies_translated: 2, flows: 2 });
    expect([4, 6].map(family => rig.clientOf(LB, SERVER, family as Family))).toEqual(
      FAMILIES.map(family => inFamily(family, CLIENT)),
    );
  });

  it('a full table forgets flows of either family', () => {
    rig = new Rig({ size: { maxFlows: 2, timeoutMs: 60_000 } });
    for (const family of [4, 6, 6] as const) {
      const { inbound } = packetsIn(family);
      rig.send(inbound({ from: `10.10.1.1:${rig.device.clock[0]}`, carrier: 'ipo', client: CLIENT }));
      rig.wait(100);
    }
    expect(rig.counts()).toMatchObject({ flows: 2, flows_evicted: 1 });
    expect(rig.clientOf('10.10.1.1:1000', SERVER, 4)).toBe('unknown');
    expect(rig.clientOf('10.10.1.1:1100', SERVER, 6)).toBe(inFamily(6, CLIENT));
  });
});

describe.each(FAMILIES)('a packet without a mark, IPv%i', family => {
  const { inbound, asHex } = packetsIn(family);

  it('a packet of an unknown flow is counted as a miss and delivered as it came', () => {
    expect(rig.send(inbound())).toEqual({ delivered: [asHex()], emitted: [] });
    expect(rig.counts()).toEqual({ uoa_none: 1, uoa_miss: 1, packets_delivered: 1 });
  });

  it('a packet to a port without a service is no miss', () => {
    const to = '10.10.1.2:54';
    expect(rig.send(inbound({ to })).delivered).toEqual([asHex({ to })]);
    expect(rig.counts()).toEqual({ uoa_none: 1, packets_delivered: 1 });
  });

  it('an empty datagram without a mark is delivered', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    expect(rig.send(inbound({ payload: [] })).delivered).toEqual([asHex({ from: CLIENT, payload: [] })]);
    expect(rig.counts()).not.toHaveProperty('uoa_standalone');
  });

  it.each([
    ['another LIP', { from: '10.10.1.7:40000' }],
    ['another lport', { from: '10.10.1.1:40001' }],
    ['another RIP', { to: '10.10.1.3:53' }],
    ['another rport', { to: '10.10.1.2:7000' }],
  ])('a packet of another flow does not get the client: %s', (_, fields) => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    expect(rig.send(inbound(fields)).delivered).toEqual([asHex(fields)]);
    expect(rig.counts()).toMatchObject({ uoa_miss: 1 });
  });

  it('packets without a mark keep their flow', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    for (let i = 0; i < 10; i++) {
      rig.wait(50_000);
      expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
    }
    rig.wait(59_900);
    expect(rig.counts()).toMatchObject({ flows: 1 });
    rig.wait(1_300);
    expect(rig.counts()).toMatchObject({ flows_expired: 1 });
    expect(rig.flows.count).toBe(0);
    expect(rig.counts()).not.toHaveProperty('flows');
    expect(rig.send(inbound()).delivered).toEqual([asHex()]);
    expect(rig.counts()).toMatchObject({ uoa_miss: 1 });
  });
});

describe.each(FAMILIES)('replies, IPv%i', family => {
  const { inbound, asHex, ackFor, reply } = packetsIn(family);

  beforeEach(() => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
  });

  it('a reply goes to the load balancer', () => {
    expect(rig.send(reply())).toEqual({ delivered: [], emitted: [toHex(reply({ to: LB }))] });
    expect(rig.counts()).toMatchObject({ replies_translated: 1 });
    expect(rig.flowOf(LB, SERVER, family)).toMatchObject({ packets: 1, replies: 1 });
  });

  it('a reply keeps TOS, TTL, id, options, payload and a checksum of 0', () => {
    const fields = {
      tos: 0x2e,
      ttl: 1,
      id: 0xfffe,
      dontFragment: true,
      ...alertIn(family),
      payload: payloadOf(1472),
      udpChecksum: 0,
    };
    const { emitted } = rig.send(reply(fields));
    expect(emitted).toEqual([toHex(reply({ ...fields, to: LB }))]);
    expect(hex(emitted[0]).slice(-1474, -1472)).toEqual([0, 0]);
  });

  it('a reply to a host that is no client is emitted as it is', () => {
    for (const fields of [
      { to: '203.0.113.7:5556' },
      { to: '203.0.113.8:5555' },
      { from: '10.10.1.2:7000' },
      { from: '10.10.1.9:53' },
    ])
      expect(rig.send(reply(fields)).emitted).toEqual([toHex(reply(fields))]);
    expect(rig.counts()).toMatchObject({ replies_passed: 4 });
    expect(rig.counts()).not.toHaveProperty('replies_translated');
  });

  it('a reply to the load balancer itself is emitted as it is', () => {
    expect(rig.send(reply({ to: LB })).emitted).toEqual([toHex(reply({ to: LB }))]);
    expect(rig.counts()).toMatchObject({ replies_passed: 1 });
  });

  it('replies keep their flow', () => {
    for (let i = 0; i < 5; i++) {
      rig.wait(50_000);
      expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
    }
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
  });

  it('replies of two flows of the same client go by the one whose packet came last', () => {
    const second = '10.10.1.1:40001';
    rig.send(inbound({ from: second, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: second }))]);
    rig.send(inbound());
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
    rig.send(inbound({ from: second }));
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: second }))]);
  });

  it('replies of a flow that is gone go by the next one that has a packet', () => {
    const second = '10.10.1.1:40001';
    rig.send(inbound({ from: second, carrier: 'ipo', client: CLIENT }));
    rig.send(inbound({ from: second, carrier: 'ipo', client: '203.0.113.99:1' }));
    expect(rig.send(reply()).emitted).toEqual([toHex(reply())]);
    rig.send(inbound());
    expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
  });

  it('a reply in the same batch as the packet that it answers goes to the load balancer', () => {
    const other = '203.0.113.50:50';
    const { delivered, emitted } = rig.send(
      inbound({ from: '10.10.1.1:41000', carrier: 'opp', client: other }),
      reply({ to: other }),
    );
    expect(delivered).toEqual([asHex({ from: other })]);
    expect(emitted).toEqual([
      ackFor({ to: '10.10.1.1:41000', carrier: 'opp', client: other }),
      toHex(reply({ to: '10.10.1.1:41000' })),
    ]);
  });

  it('a refused reply is counted', () => {
    rig.device.refusing = true;
    expect(rig.counted(() => rig.send(reply(), reply()))).toEqual({ replies_translated: 2, dropped_io: 2 });
  });
});

describe.each(FAMILIES)('replies of a wildcard socket, IPv%i', family => {
  const { inbound, reply } = packetsIn(family);

  const asked = '10.10.1.3:53';

  it('a wildcard socket’s reply goes out from the address that was asked', () => {
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: SERVER })).emitted).toEqual([toHex(reply({ from: asked, to: LB }))]);
    expect(rig.send(reply({ from: SERVER, udpChecksum: 0 })).emitted).toEqual([
      toHex(reply({ from: asked, to: LB, udpChecksum: 0 })),
    ]);
  });

  it('a wildcard socket’s reply goes out from its own address if that was asked too', () => {
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    rig.send(inbound({ from: '10.10.1.1:40001', to: SERVER, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: SERVER })).emitted).toEqual([toHex(reply({ to: '10.10.1.1:40001' }))]);
  });

  it('a reply from an address that is no wildcard source is emitted as it is', () => {
    rig.send(inbound({ to: SERVER, carrier: 'ipo', client: CLIENT }));
    const answer = reply({ from: asked });
    expect(rig.send(answer).emitted).toEqual([toHex(answer)]);
  });

  it('a wildcard socket’s reply goes by no service that has lost the port', () => {
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    const gone = OPTIONS.services[family === 4 ? 2 : 6];
    const services = OPTIONS.services.map(service =>
      service === gone ? { ...service, from: 54, to: 54 } : service,
    );
    rig.role.configure({ ...OPTIONS, services });
    expect(rig.send(reply()).emitted).toEqual([toHex(reply())]);
  });

  it('a wildcard socket’s replies are known by the address that is configured', () => {
    rig.role.configure({ ...OPTIONS, wildcardSources: [words(inFamily(family, '10.10.1.3'))] });
    rig.send(inbound({ to: SERVER, carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: '10.10.1.3:53' })).emitted).toEqual([toHex(reply({ to: LB }))]);
    const other = '203.0.113.7:6666';
    rig.send(inbound({ to: asked, carrier: 'ipo', client: other }));
    const answer = reply({ to: other });
    expect(rig.send(answer).emitted).toEqual([toHex(answer)]);
  });

  it('an address of the other family with the same end is no wildcard source', () => {
    const [source, service] = family === 4 ? ['fd00:1::a0a:102', 'fd00:1::a0a:104'] : ['0.0.0.2', '0.0.0.4'];
    const services = [{ words: words(service), from: 53, to: 53 }, ...OPTIONS.services];
    rig.send(inbound({ to: asked, carrier: 'ipo', client: CLIENT }));
    rig.role.configure({ ...OPTIONS, services });
    expect(rig.send(reply({ from: SERVER })).emitted).toEqual([toHex(reply({ from: asked, to: LB }))]);
    const answer = reply({ from: '10.10.1.4:53' });
    expect(rig.send(answer).emitted).toEqual([toHex(answer)]);
    rig.role.configure({ ...OPTIONS, wildcardSources: [words(source)] });
    expect(rig.send(reply()).emitted).toEqual([toHex(reply())]);
  });

  it('a wildcard socket’s reply goes by services with its port alone', () => {
    rig.send(inbound({ to: '10.10.1.4:7777', carrier: 'ipo', client: CLIENT }));
    expect(rig.send(reply({ from: '10.10.1.2:7777' })).emitted).toEqual([
      toHex(reply({ from: '10.10.1.4:7777', to: LB })),
    ]);
    const none = reply({ from: '10.10.1.2:7778' });
    expect(rig.send(none).emitted).toEqual([toHex(none)]);
  });
});

describe('broken marks', () => {
  const { inbound, asHex } = packetsIn(4);

  it('broken marks in IP options of every length are delivered as they came, and counted', () => {
    let invalid = 0;
    for (let length = 0; length <= 40; length++) {
      if (length === 8 || length === 20) continue;
      const options = [31, length, ...new Array<number>(38).fill(1)];
      expect(rig.send(inbound({ options })), `length ${length}`).toEqual({
        delivered: [asHex({ options })],
        emitted: [],
      });
      expect(rig.counts()).toEqual({ uoa_invalid: ++invalid, packets_delivered: invalid });
    }
  });

  it('broken marks in IPv6 destination options of every length are delivered as they came, and counted', () => {
    const packets = packetsIn(6);
    let invalid = 0;
    for (let length = 0; length <= 40; length++) {
      if (length === 6 || length === 18) continue;
      const extensions = [destinationOptions([31, length, ...new Array<number>(36).fill(0)])];
      expect(rig.send(packets.inbound({ extensions })), `length ${length}`).toEqual({
        delivered: [packets.asHex({ extensions })],
        emitted: [],
      });
      expect(rig.counts()).toEqual({ uoa_invalid: ++invalid, packets_delivered: invalid });
    }
  });

  it('a broken mark in IPv6 destination options leaves the flow its client', () => {
    const packets = packetsIn(6);
    const extensions = [destinationOptions([31, 7, 1, 1, 1, 1, 1, 1, 1])];
    rig.send(packets.inbound({ carrier: 'ipo', client: CLIENT }));
    expect(rig.send(packets.inbound({ extensions })).delivered).toEqual([
      packets.asHex({ from: CLIENT, extensions }),
    ]);
    expect(rig.counts()).toMatchObject({ uoa_invalid: 1 });
  });

  it('a broken mark in IP options leaves the flow its client', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    const options = [31, 9, 1, 1];
    expect(rig.send(inbound({ options })).delivered).toEqual([asHex({ from: CLIENT, options })]);
    expect(rig.counts()).toMatchObject({ uoa_invalid: 1 });
    expect(rig.counts()).not.toHaveProperty('uoa_none');
  });

  it('broken marks in opp headers of every length are delivered without the header, or dropped', () => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    for (let length = 0; length <= 80; length++) {
      const fresh = new Rig();
      const packet = ipv4({
        source: '10.10.1.1',
        destination: '10.10.1.2',
        protocol: 248,
        ttl: 60,
        body: [0x10, 17, 0, length, 31, 30, 1, 1, 1, 1, 1, 1, ...body],
      });
      const { delivered, emitted } = fresh.send(packet);
      expect(emitted).toEqual([]);
      if (length === 12) {
        expect(delivered).toEqual([asHex()]);
        expect(fresh.counts()).toEqual({ uoa_invalid: 1, packets_delivered: 1 });
      } else if (delivered.length === 0)
        expect(fresh.counts(), `length ${length}`).toMatchObject({ uoa_invalid: 1, dropped_malformed: 1 });
      else expect(fresh.counts(), `length ${length}`).toMatchObject({ uoa_invalid: 1, packets_delivered: 1 });
      // Lengths below a header, or past what is there, lead nowhere.
      if (length < 4 || length > 12 + 8 + 33 - 8) expect(delivered, `length ${length}`).toEqual([]);
    }
  });

  it.each([
    ['no version', [0x00, 17, 0, 12]],
    ['another version', [0x30, 17, 0, 12]],
    ['another protocol behind it', [0x10, 6, 0, 12]],
    ['a length of 0', [0x10, 17, 0, 0]],
    ['a length past the packet', [0x10, 17, 1, 0]],
  ])('opp with %s is dropped and counted', (_, header) => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    const packet = ipv4({
      source: '10.10.1.1',
      destination: '10.10.1.2',
      protocol: 248,
      body: [...header, ...option(CLIENT), ...body],
    });
    expect(rig.send(packet)).toEqual({ delivered: [], emitted: [] });
    expect(rig.counts()).toEqual({ dropped_malformed: 1, uoa_invalid: 1 });
  });

  it('an opp header without a mark comes off', () => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    const packet = ipv4({
      source: '10.10.1.1',
      destination: '10.10.1.2',
      protocol: 248,
      ttl: 60,
      body: [...opp([1, 1, 1, 0]), ...body],
    });
    expect(rig.send(packet).delivered).toEqual([asHex()]);
    expect(rig.counts()).toEqual({ uoa_invalid: 1, packets_delivered: 1 });
  });

  it.each([
    ['no version', [0x00, 17, 0, 24]],
    ['another version', [0x30, 17, 0, 24]],
    ['another protocol behind it', [0x20, 6, 0, 24]],
    ['a length of 0', [0x20, 17, 0, 0]],
    ['a length past the packet', [0x20, 17, 1, 0]],
  ])('opp over IPv6 with %s is dropped and counted', (_, header) => {
    const packet = packetsIn(6).inbound({ carrier: 'opp', client: CLIENT });
    packet.set(header, 40);
    expect(rig.send(packet)).toEqual({ delivered: [], emitted: [] });
    expect(rig.counts()).toEqual({ dropped_malformed: 1, uoa_invalid: 1 });
  });

  it('an opp header without a mark comes off over IPv6 too', () => {
    const { inbound, asHex } = packetsIn(6);
    expect(rig.send(inbound({ carrier: 'opp', mark: [1, 1, 1, 0] })).delivered).toEqual([asHex()]);
    expect(rig.counts()).toEqual({ uoa_invalid: 1, packets_delivered: 1 });
  });

  it('every truncation of a marked packet is dropped and counted', () => {
    for (const [carrier, family] of CARRIERS) {
      const fresh = new Rig();
      const packet = packetsIn(family).inbound({ carrier, client: CLIENT, payload: [1, 2, 3] });
      for (let length = 1; length < packet.length; length++) fresh.send(packet.slice(0, length));
      expect(fresh.counts().dropped_malformed).toBe(packet.length - 1);
      expect(fresh.flows.count).toBe(0);
    }
  });
});

describe('what is not UDP', () => {
  const tcp = { protocol: 6, body: payloadOf(40) };
  const packet4 = (source: string, destination: string) => ipv4({ ...tcp, source, destination });
  const packet6 = (source: string, destination: string) =>
    ipv6({ source, destination, next: tcp.protocol, body: tcp.body });

  it('a packet that is not UDP goes on as it came, to a service or from one', () => {
    const inwards = [packet4('10.10.1.1', '10.10.1.2'), packet6('fd00:1::1', 'fd00:1::2')].map(toHex);
    const outwards = [packet4('10.10.1.2', '10.10.1.1'), packet6('fd00:1::2', 'fd00:1::1')].map(toHex);
    expect(rig.send(...[...inwards, ...outwards].map(hex))).toEqual({
      delivered: inwards,
      emitted: outwards,
    });
    expect(rig.counts()).toEqual({});
  });

  it('a packet that is not UDP and neither to a service nor from one is dropped and counted', () => {
    expect(rig.send(packet4('10.10.1.1', '10.10.1.9'), packet6('fd00:1::1', 'fd00:1::9'))).toEqual({
      delivered: [],
      emitted: [],
    });
    expect(rig.counts()).toEqual({ packets_ignored: 2 });
  });

  it('a packet that is not IP is dropped and counted, whatever came before it', () => {
    for (const family of FAMILIES) {
      const { inbound } = packetsIn(family);
      const foreign = inbound();
      foreign[0] = 0x50;
      expect(rig.send(inbound(), foreign)).toEqual({ delivered: [toHex(inbound())], emitted: [] });
    }
    expect(rig.counts()).toMatchObject({ packets_ignored: 2, packets_delivered: 2 });
  });
});

describe.each(FAMILIES)('a full table, IPv%i', family => {
  const { inbound, asHex } = packetsIn(family);

  it('an eviction for a new flow is counted', () => {
    rig = new Rig({ size: { maxFlows: 2, timeoutMs: 60_000 } });
    for (const port of [1, 2, 3]) {
      rig.send(inbound({ from: `10.10.1.1:${port}`, carrier: 'ipo', client: `203.0.113.7:${port}` }));
      rig.wait(100);
    }
    expect(rig.counts()).toMatchObject({ flows: 2, flows_evicted: 1, uoa_saved: 3 });
    expect(rig.send(inbound({ from: '10.10.1.1:1' })).delivered).toEqual([asHex({ from: '10.10.1.1:1' })]);
    expect(rig.send(inbound({ from: '10.10.1.1:3' })).delivered).toEqual([asHex({ from: '203.0.113.7:3' })]);
  });
});

describe.each(FAMILIES)('configure, IPv%i', family => {
  const { inbound, asHex, ackFor } = packetsIn(family);
  const TWINS = { '10.10.1.1/32': 'fd00:1::1/128', '10.0.0.0/8': 'fd00::/16' };
  const network = (text: keyof typeof TWINS) => (family === 4 ? text : TWINS[text]);

  it('other options hold from the next packet on, and flows stay', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    rig.role.configure({
      ...OPTIONS,
      loadBalancers: [{ prefix: prefix(network('10.10.1.1/32')), ack: false, deliverEmpty: false }],
    });
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
    expect(rig.send(inbound({ carrier: 'ipo', client: CLIENT })).emitted).toEqual([]);
    const stranger = inbound({ from: '10.10.1.7:40000', carrier: 'ipo', client: CLIENT });
    expect(rig.send(stranger)).toEqual({ delivered: [toHex(stranger)], emitted: [] });
  });

  it('the options of the longest prefix hold', () => {
    rig.role.configure({
      ...OPTIONS,
      loadBalancers: [
        { prefix: prefix(network('10.0.0.0/8')), ack: false, deliverEmpty: true },
        { prefix: prefix(network('10.10.1.1/32')), ack: true, deliverEmpty: false },
      ],
    });
    const empty = { carrier: 'ipo', client: CLIENT, payload: [] } as const;
    expect(rig.send(inbound(empty))).toEqual({ delivered: [], emitted: [ackFor({ carrier: 'ipo' })] });
    expect(rig.send(inbound({ ...empty, from: '10.10.1.7:1' }))).toEqual({
      delivered: [asHex({ from: CLIENT, payload: [] })],
      emitted: [],
    });
  });
});
