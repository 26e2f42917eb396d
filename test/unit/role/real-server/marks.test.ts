/** Packets with a mark: delivery, learning, ACKs. */
import { beforeEach, describe, expect, it } from 'vitest';
import { alertIn, CARRIERS, inFamily } from '../../support/families.js';
import { Rig } from '../../support/real-server.js';
import {
  CLIENT,
  CLIENTS_OF_OTHER_FAMILY,
  LB,
  PAYLOAD,
  packetsIn,
  SERVER,
} from '../../support/real-server-packets.js';
import {
  decode,
  destinationOption,
  destinationOptions,
  hex,
  hopByHop,
  payloadOf,
  routing,
  toHex,
} from '../../support/wire.js';

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
    const named = CLIENTS_OF_OTHER_FAMILY[family];
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
    const named = CLIENTS_OF_OTHER_FAMILY[family];
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
