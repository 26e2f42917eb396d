/** Datagrams in fragments, both ways. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Rig } from './support/real-server.js';
import {
  type DatagramFields,
  datagram,
  decode,
  fragment,
  hex,
  type Octets,
  payloadOf,
  reassemble,
  toHex,
} from './support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const PAYLOAD = payloadOf(4000);

const inbound = (fields: Partial<DatagramFields> = {}) =>
  datagram({ from: LB, to: SERVER, payload: PAYLOAD, id: 77, ...fields });
const reply = (fields: Partial<DatagramFields> = {}) =>
  datagram({ from: SERVER, to: CLIENT, payload: PAYLOAD, id: 78, ...fields });

/** A fragment's offset, in units of 8 bytes. */
const offsetOf = (piece: string) => Number.parseInt(piece.slice(12, 16), 16) & 0x1fff;

/** What fragments, as they came out, make up together. */
const whole = (pieces: readonly string[]) => toHex(reassemble(pieces.map(hex)));

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
});

describe('from a load balancer', () => {
  it.each([8, 64, 1480])('marked by ipo, in pieces of %i bytes, the client is the source of all', size => {
    const pieces = fragment(inbound({ carrier: 'ipo', client: CLIENT }), size);
    const { delivered, emitted } = rig.send(...pieces);
    expect(delivered).toHaveLength(pieces.length);
    expect(whole(delivered)).toBe(toHex(inbound({ from: CLIENT })));
    expect(emitted).toHaveLength(1);
    expect(decode(hex(emitted[0]))).toMatchObject({ from: SERVER, to: LB, payload: '' });
    expect(rig.counts()).toMatchObject({ uoa_got: 1, uoa_saved: 1, uoa_ack_sent: 1 });
  });

  it('without a mark, of a known flow, too', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT, payload: [1] }));
    const { delivered } = rig.send(...fragment(inbound(), 1480));
    expect(whole(delivered)).toBe(toHex(inbound({ from: CLIENT })));
  });

  it('without a mark, of an unknown flow, the load balancer stays the source of all', () => {
    const { delivered } = rig.send(...fragment(inbound(), 1480));
    expect(whole(delivered)).toBe(toHex(inbound()));
    expect(rig.counts()).toMatchObject({ uoa_none: 1, uoa_miss: 1 });
  });

  it('of an IPv6 client, the load balancer stays the source of all', () => {
    const { delivered } = rig.send(
      ...fragment(inbound({ carrier: 'ipo', client: '[2001:db8::7]:5555' }), 1480),
    );
    expect(whole(delivered)).toBe(toHex(inbound()));
  });

  it('of two datagrams at once keep to their own first one', () => {
    const other = { from: '10.10.1.1:40001', id: 79 };
    const first = fragment(inbound({ carrier: 'ipo', client: CLIENT }), 1480);
    const second = fragment(inbound({ ...other, carrier: 'ipo', client: '198.51.100.9:9' }), 1480);
    const { delivered } = rig.send(...first.flatMap((piece, i) => [piece, second[i]]));
    expect(whole(delivered.filter((_, i) => i % 2 === 0))).toBe(toHex(inbound({ from: CLIENT })));
    expect(whole(delivered.filter((_, i) => i % 2 === 1))).toBe(
      toHex(inbound({ ...other, from: '198.51.100.9:9' })),
    );
  });

  it('of the next datagram with the same id follow the new one', () => {
    rig.send(...fragment(inbound({ carrier: 'ipo', client: CLIENT }), 1480));
    const other = '198.51.100.9:9';
    const { delivered } = rig.send(...fragment(inbound({ carrier: 'ipo', client: other }), 1480));
    expect(whole(delivered)).toBe(toHex(inbound({ from: other })));
  });

  it.each([
    ['the first one last', (pieces: Octets[]) => [...pieces.slice(1), pieces[0]]],
    ['all of them reversed', (pieces: Octets[]) => pieces.toReversed()],
    ['the first one in the middle', ([first, second, ...rest]: Octets[]) => [second, first, ...rest]],
  ])('in another order, %s, wait for the first one', (_, shuffle) => {
    const pieces = fragment(inbound({ carrier: 'ipo', client: CLIENT }), 1480);
    const shuffled = shuffle(pieces);
    const early = shuffled.indexOf(pieces[0]);
    const before = shuffled.slice(0, early);
    expect(rig.send(...before)).toEqual({ delivered: [], emitted: [] });
    const { delivered } = rig.send(...shuffled.slice(early));
    const order = [...delivered].sort((one, two) => offsetOf(one) - offsetOf(two));
    expect(whole(order)).toBe(toHex(inbound({ from: CLIENT })));
    expect(offsetOf(delivered[0])).toBe(0);
    const heldOnes = before.map(toHex);
    expect(
      delivered.filter(piece => heldOnes.some(held => offsetOf(held) === offsetOf(piece))).map(offsetOf),
    ).toEqual(heldOnes.map(offsetOf));
    expect(rig.counts()).toMatchObject({ fragments_held: before.length });
    expect(rig.counts().fragments_dropped).toBeUndefined();
  });

  it('of a flow without a client wait for their first one too, and go with it', () => {
    const [first, ...later] = fragment(inbound(), 1480);
    expect(rig.send(...later).delivered).toEqual([]);
    expect(rig.send(first).delivered).toEqual([first, ...later].map(toHex));
  });

  it('are dropped and counted when their first one never comes', () => {
    const [, ...later] = fragment(inbound({ carrier: 'ipo', client: CLIENT }), 1480);
    rig.send(...later);
    rig.wait(1900);
    expect(rig.counts()).toEqual({ fragments_held: later.length });
    rig.wait(300);
    expect(rig.counts()).toEqual({ fragments_held: later.length, fragments_dropped: later.length });
    expect(rig.send()).toEqual({ delivered: [], emitted: [] });
  });

  it('do not follow one that came too long ago', () => {
    const [first, ...later] = fragment(inbound({ carrier: 'ipo', client: CLIENT }), 1480);
    rig.send(first);
    rig.wait(30_000);
    expect(rig.send(...later).delivered).toEqual([]);
  });

  it('are held up to a bound; the good ones go on', () => {
    const endless = Array.from({ length: 500 }, (_, id) => fragment(inbound({ id: 1000 + id }), 1480)[1]);
    rig.send(...endless);
    expect(rig.counts()).toEqual({ fragments_held: 128, fragments_dropped: 372 });
    const { delivered } = rig.send(...fragment(inbound({ carrier: 'ipo', client: CLIENT }), 1480));
    expect(whole(delivered)).toBe(toHex(inbound({ from: CLIENT })));
    rig.wait(3000);
    expect(rig.counts()).toMatchObject({ fragments_held: 128, fragments_dropped: 500 });
    const { length } = rig.send(...endless.slice(0, 100)).delivered;
    expect(length).toBe(0);
    expect(rig.counts()).toMatchObject({ fragments_held: 228 });
  });

  it('larger than a jumbo frame are not held', () => {
    const [, later] = fragment(inbound({ payload: payloadOf(30_000) }), 10_000);
    rig.send(later);
    expect(rig.counts()).toEqual({ fragments_dropped: 1 });
  });

  it('marked by opp are dropped and counted, all of them', () => {
    const pieces = fragment(inbound({ carrier: 'opp', client: CLIENT }), 1480);
    expect(rig.send(...pieces)).toEqual({ delivered: [], emitted: [] });
    expect(rig.counts()).toEqual({ fragments_dropped: pieces.length });
  });

  it('from outside the prefixes pass as they came', () => {
    const pieces = fragment(inbound({ from: '198.51.100.1:1', carrier: 'ipo', client: CLIENT }), 1480);
    expect(rig.send(...pieces)).toEqual({ delivered: pieces.map(toHex), emitted: [] });
  });
});

describe('replies', () => {
  beforeEach(() => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT, payload: [1] }));
  });

  it.each([8, 64, 1480])('in pieces of %i bytes go to the load balancer', size => {
    const pieces = fragment(reply(), size);
    const { delivered, emitted } = rig.send(...pieces);
    expect(delivered).toEqual([]);
    expect(emitted).toHaveLength(pieces.length);
    expect(whole(emitted)).toBe(toHex(reply({ to: LB })));
    expect(rig.counts()).toMatchObject({ replies_translated: 1 });
  });

  it('of a wildcard socket get the address that was asked', () => {
    const asked = '10.10.1.3:53';
    const client = '203.0.113.8:5555';
    rig.send(inbound({ to: asked, carrier: 'ipo', client, payload: [1] }));
    const { emitted } = rig.send(...fragment(reply({ to: client }), 1480));
    expect(whole(emitted)).toBe(toHex(reply({ from: asked, to: LB })));
  });

  it('to somebody else pass as they are', () => {
    const pieces = fragment(reply({ to: '203.0.113.9:1' }), 1480);
    expect(rig.send(...pieces).emitted).toEqual(pieces.map(toHex));
  });

  it('and a datagram of the same id the other way do not meet', () => {
    const outwards = fragment(reply({ id: 5 }), 1480);
    const inwards = fragment(inbound({ id: 5 }), 1480);
    const { delivered, emitted } = rig.send(...outwards.flatMap((piece, i) => [piece, inwards[i]]));
    expect(whole(delivered)).toBe(toHex(inbound({ id: 5, from: CLIENT })));
    expect(whole(emitted)).toBe(toHex(reply({ id: 5, to: LB })));
  });
});
