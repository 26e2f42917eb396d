/** ACKs: which of them count, and what they end. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { LoadBalancerOptions } from '../../../../src/role/load-balancer/settings.js';
import { alertIn, CARRIERS, inFamily, markIn } from '../../support/families.js';
import type { Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  CLIENTS_OF_OTHER_FAMILY,
  type Fields,
  LB,
  makeRig,
  NOTHING,
  OTHER,
  PAYLOAD,
  packetsIn,
  type RigSettings,
  SERVER,
} from '../../support/load-balancer-packets.js';
import {
  destinationOption,
  destinationOptions,
  fragment,
  type Octets,
  payloadOf,
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

/** A mark with the same port and the same beginning of an address, in an option for the other family. */
function otherLength([type, length, ...rest]: readonly number[]): number[] {
  const isLong = rest.length > 6;
  return [
    type,
    length + (isLong ? -12 : 12),
    ...(isLong ? rest.slice(0, 6) : [...rest, ...new Array(12).fill(0)]),
  ];
}

describe.each(CARRIERS)('ACKs by %s, IPv%i', (carrier, family) => {
  const { outgoing, arriving, asHex, ack, tuple: TUPLE } = packetsIn(family);
  const remake = (options: Partial<LoadBalancerOptions> = {}) =>
    make({ family, options: { carrier, ...options } });

  const marked = (fields: Fields = {}) => asHex({ carrier, client: CLIENT, ...fields });
  const ackOf = (fields: Fields = {}) => ack({ carrier, ...fields });
  const ownMark = markIn(family, carrier, CLIENT);

  beforeEach(() => {
    remake();
  });

  it('an ACK ends the marks, and the next packet releases the connection once', () => {
    rig.send(arriving());
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.connections.releases).toEqual([]);
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.connections.releases).toEqual([TUPLE]);
    expect(rig.counts()).toEqual({
      packets_seen: 4,
      marks_inserted: 1,
      packets_unmarked: 2,
      acks_received: 1,
      flows: 1,
      flows_acked: 1,
      flows_released: 1,
    });
  });

  it('an ACK ends the marks in the same batch', () => {
    expect(rig.send(arriving(), ackOf(), arriving()).emitted).toEqual([marked(), asHex()]);
  });

  it('an ACK releases its own connection, whichever was asked about last', () => {
    const second = '10.10.1.9:41000';
    rig.connections.track(second, '10.10.1.3:54', OTHER);
    rig.send(arriving(), arriving({ from: second, to: '10.10.1.3:54' }));
    const both = () => rig.send(arriving(), arriving({ from: second, to: '10.10.1.3:54' }));
    rig.send(ackOf({ from: '10.10.1.3:54', to: second, client: OTHER }));
    both();
    expect(rig.connections.releases).toEqual([rig.connections.tuple(second, '10.10.1.3:54')]);
    rig.send(ackOf());
    both();
    expect(rig.connections.releases).toEqual([rig.connections.tuple(second, '10.10.1.3:54'), TUPLE]);
  });

  it('ACKs for several marks count each, and the flow as acknowledged once', () => {
    rig.send(arriving(), arriving(), arriving());
    expect(rig.send(ackOf(), ackOf(), ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 3, flows_acked: 1 });
    expect(rig.counts()).not.toHaveProperty('acks_unmatched');
    expect(rig.connections.releases).toEqual([TUPLE]);
  });

  it('an ACK after the last mark counts', () => {
    rig.send(arriving(), arriving(), arriving(), arriving());
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1, flows_acked: 1 });
    expect(rig.connections.releases).toEqual([TUPLE]);
  });

  it('an ACK counts whatever its TOS, TTL, id, checksum and other options', () => {
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

  it('an ACK for a standalone ends the marks', () => {
    rig.send(arriving({ payload: [] }));
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.send(arriving({ payload: [] })).emitted).toEqual([asHex({ payload: [] })]);
    expect(rig.counts()).toMatchObject({ marks_standalone: 1, acks_received: 1, flows_acked: 1 });
  });

  it('an ACK for a connection that the kernel has forgotten counts', () => {
    rig.send(arriving());
    rig.connections.forget(LB, SERVER);
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1, flows_acked: 1 });
  });

  it.each<[string, Octets]>([
    ['with another client address', ackOf({ client: '203.0.113.8:5555' })],
    ['with another client port', ackOf({ client: '203.0.113.7:5556' })],
    ['with no address', ackOf({ client: '0.0.0.0:5555' })],
    ['with no port', ackOf({ client: '203.0.113.7:0' })],
    ['with a client of the other family', ackOf({ named: CLIENTS_OF_OTHER_FAMILY[family] })],
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
  ])('an ACK %s is consumed and ends no marks', (_, forged) => {
    rig.send(arriving());
    expect(rig.send(forged)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ packets_seen: 2, marks_inserted: 1, acks_unmatched: 1, flows: 1 });
    expect(rig.connections.releases).toEqual([]);
    expect(rig.send(arriving(), arriving(), arriving()).emitted).toEqual([marked(), marked(), asHex()]);
  });

  it('an ACK before its mark is consumed and unmatched', () => {
    expect(rig.send(ackOf(), arriving())).toEqual({ delivered: [], emitted: [marked()] });
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1, marks_inserted: 1 });
    expect(rig.connections.releases).toEqual([]);
  });

  it('an ACK for a flow without marks is consumed and unmatched', () => {
    remake({ marksPerFlow: 0 });
    rig.send(arriving());
    expect(rig.counts()).toMatchObject({ flows: 1 });
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1 });
    expect(rig.connections.releases).toEqual([]);
  });

  it('an ACK for a forgotten flow is consumed and unmatched', () => {
    rig.send(arriving());
    rig.wait(62_000);
    expect(rig.counts()).toMatchObject({ flows_expired: 1 });
    expect(rig.send(ackOf())).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1 });
    expect(rig.connections.releases).toEqual([]);
  });

  it('later fragments of what looks like an ACK are consumed and unmatched', () => {
    rig.send(arriving());
    const later = fragment(ackOf({ payload: payloadOf(32) }), 24).slice(1);
    for (const piece of later) expect(rig.send(piece)).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: later.length });
    expect(rig.connections.releases).toEqual([]);
  });

  it('a flood of forged ACKs releases nothing', () => {
    const forged = Array.from({ length: 500 }, (_, i) =>
      ackOf({ client: `203.0.113.${i % 256}:${i}`, to: `10.10.1.1:${40_000 + (i % 3)}` }),
    );
    rig.send(arriving());
    expect(rig.send(...forged)).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 500, packets_seen: 501 });
    expect(rig.connections.releases).toEqual([]);
  });

  it('a client that gets the ports of an earlier one has its own marks and ACKs', () => {
    rig.send(arriving(), ackOf(), arriving());
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

  it('an answer of a real server is delivered without its mark', () => {
    const answer = { from: SERVER, to: LB, payload: PAYLOAD, ttl: 63, tos: 4, id: 5 };
    expect(rig.send(outgoing({ ...answer, carrier, client: CLIENT }))).toEqual({
      delivered: [toHex(outgoing(answer))],
      emitted: [],
    });
    expect(
      rig.send(outgoing({ ...answer, carrier, named: CLIENTS_OF_OTHER_FAMILY[family] })).delivered,
    ).toEqual([toHex(outgoing(answer))]);
    expect(rig.counts()).toEqual({ packets_seen: 2, packets_unmarked: 2 });
  });

  it('an answer with the right mark and a payload is no ACK', () => {
    rig.send(arriving());
    rig.send(outgoing({ from: SERVER, to: LB, carrier, client: CLIENT, payload: [1] }));
    expect(rig.connections.releases).toEqual([]);
    expect(rig.send(arriving()).emitted).toEqual([marked()]);
  });
});

describe('ACKs and IPv6 extension headers', () => {
  const { arriving, ack } = packetsIn(6);
  const other = [0x1e, 4, 1, 2, 3, 4];

  beforeEach(() => {
    make({ family: 6 });
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
