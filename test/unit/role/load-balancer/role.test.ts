/** What passes through the load balancer beside marks and ACKs, unplugged from everything. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { LoadBalancerOptions } from '../../../../src/role/load-balancer/settings.js';
import { CARRIERS } from '../../support/families.js';
import { OPTIONS, type Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  type Fields,
  LB,
  makeRig,
  NOTHING,
  OTHER,
  packetsIn,
  type RigSettings,
  SERVER,
} from '../../support/load-balancer-packets.js';
import {
  decode,
  hex,
  ipv4,
  ipv6,
  type Octets,
  option,
  payloadOf,
  prefix,
  toHex,
} from '../../support/wire.js';

let rig: Rig;

/** A new load balancer, with one client's connection in conntrack. */
function make(settings: RigSettings = {}): void {
  rig = makeRig(settings);
}

beforeEach(() => {
  make();
});

describe.each(CARRIERS)('packets by %s, IPv%i', (carrier, family) => {
  const { outgoing, arriving, ack } = packetsIn(family);
  const remake = (options: Partial<LoadBalancerOptions> = {}) =>
    make({ family, options: { carrier, ...options } });

  const ackOf = (fields: Fields = {}) => ack({ carrier, ...fields });

  beforeEach(() => {
    remake();
  });

  it('every truncation of a packet is dropped and counted, either way', () => {
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

  it('refused packets and standalones are counted', () => {
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

describe('hops', () => {
  const { outgoing, arriving, asHex } = packetsIn(4);

  it('a packet has the hop back that it lost, at every TTL, with the checksum right', () => {
    make({ options: { marksPerFlow: 0 } });
    for (let ttl = 1; ttl <= 255; ttl++) {
      const [sent] = rig.send(arriving({ ttl })).emitted;
      expect(sent).toBe(asHex({ ttl }));
      expect(decode(hex(sent)).ttl).toBe(ttl);
    }
  });

  it('a packet that lost no hop keeps its TTL of 255', () => {
    expect(rig.sendUnforwarded(outgoing({ ttl: 255 })).emitted).toEqual([
      asHex({ ttl: 255, carrier: 'ipo', client: CLIENT }),
    ]);
  });
});

describe('hops over IPv6', () => {
  const { outgoing, arriving, asHex } = packetsIn(6);

  beforeEach(() => {
    make({ family: 6 });
  });

  it('an IPv6 packet has the hop back that it lost, at every hop limit', () => {
    make({ family: 6, options: { marksPerFlow: 0 } });
    for (let ttl = 1; ttl <= 255; ttl++)
      expect(rig.send(arriving({ ttl })).emitted).toEqual([asHex({ ttl })]);
    expect(rig.sendUnforwarded(outgoing({ ttl: 255 })).emitted).toEqual([asHex({ ttl: 255 })]);
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
  ])('a packet that is no UDP is dropped and counted: %s', (_, packet) => {
    expect(rig.send(packet)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ packets_seen: 1, packets_ignored: 1 });
  });

  it.each<[string, Octets]>([
    ['an ACK of another host’s to another host', ack({ carrier: 'opp', to: '10.10.5.5:1' })],
    [
      'a datagram of another host’s to another host',
      outgoing({ from: '10.10.5.5:1', carrier: 'ipo', client: OTHER }),
    ],
  ])('a packet that is not ours leaves without its mark: %s', (_, packet) => {
    const { delivered, emitted } = rig.send(packet);
    expect(delivered).toEqual([]);
    expect(emitted.map(sent => decode(hex(sent)))).toMatchObject([{ protocol: 17, opp: '' }]);
    expect(emitted[0]).not.toContain(toHex(option(OTHER)));
    expect(rig.counts()).toEqual({ packets_seen: 1, marks_forged: 1, packets_unmarked: 1 });
  });

  it('a packet whose lengths contradict each other is dropped and counted', () => {
    const packet = arriving();
    packet[25] += 1;
    expect(rig.send(packet)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ packets_seen: 1, dropped_malformed: 1 });
  });
});

describe('configure', () => {
  const { arriving, asHex, ack } = packetsIn(4);

  it('another carrier holds from the next packet on, for ACKs too', () => {
    rig.send(arriving());
    rig.role.configure({ carrier: 'opp', marksPerFlow: 3, ownAddresses: OPTIONS.ownAddresses });
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'opp', client: CLIENT })]);
    expect(rig.send(ack({ carrier: 'opp' }))).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });

  it('another number of marks holds for flows under way too', () => {
    rig.send(arriving(), arriving());
    rig.role.configure({ carrier: 'ipo', marksPerFlow: 1, ownAddresses: OPTIONS.ownAddresses });
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    rig.role.configure({ carrier: 'ipo', marksPerFlow: 4, ownAddresses: OPTIONS.ownAddresses });
    const mark = asHex({ carrier: 'ipo', client: CLIENT });
    expect(rig.send(arriving(), arriving(), arriving()).emitted).toEqual([mark, mark, asHex()]);
  });

  it('more marks per flow than its record can count are an error', () => {
    const configure = (marksPerFlow: number) =>
      rig.role.configure({ carrier: 'ipo', marksPerFlow, ownAddresses: OPTIONS.ownAddresses });
    expect(() => configure(127)).not.toThrow();
    expect(() => configure(128)).toThrow(RangeError);
  });

  it('other own addresses hold for the next packet', () => {
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
