/** Datagrams in fragments, both ways. */
import { beforeEach, describe, expect, it } from 'vitest';
import { datagramIn, FAMILIES, type Family, type FamilyFields, inFamily } from '../../support/families.js';
import { Rig } from '../../support/real-server.js';
import {
  decode,
  destinationOption,
  destinationOptions,
  fragment,
  fragmentHeader,
  hex,
  ipv6,
  type Octets,
  payloadOf,
  reassemble,
  toHex,
  udp,
} from '../../support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const PAYLOAD = payloadOf(4000);

type Fields = Partial<FamilyFields>;

/** Datagrams in a family, and the same in pieces. */
function packetsIn(family: Family) {
  const inbound = (fields: Fields = {}) =>
    datagramIn(family, { from: LB, to: SERVER, payload: PAYLOAD, id: 77, ...fields });
  const reply = (fields: Fields = {}) =>
    datagramIn(family, { from: SERVER, to: CLIENT, payload: PAYLOAD, id: 78, ...fields });
  const inboundPieces = (fields: Fields = {}, size = 1480) =>
    fragment(inbound(fields), size, fields.id ?? 77);
  const replyPieces = (fields: Fields = {}, size = 1480) => fragment(reply(fields), size, fields.id ?? 78);
  return { inbound, reply, inboundPieces, replyPieces };
}

/** A fragment's offset, in units of 8 bytes. */
function offsetOf(piece: string): number {
  if (piece.startsWith('6')) return Number.parseInt(piece.slice(84, 88), 16) >> 3;
  return Number.parseInt(piece.slice(12, 16), 16) & 0x1fff;
}

/** What fragments, as they came out, make up together. */
const whole = (pieces: readonly string[]) => toHex(reassemble(pieces.map(hex)));

const NOTHING = { delivered: [], emitted: [] };

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
});

describe.each(FAMILIES)('from a load balancer in IPv%i', family => {
  const { inbound, inboundPieces } = packetsIn(family);
  /** By how many units the mark of an IPv6 client moves later fragments up: it stands in what they are counted in. */
  const moved = family === 4 ? 0 : 3;
  const named = family === 4 ? '[2001:db8::7]:5555' : '203.0.113.7:5555';

  // The first one has to hold all of the headers.
  it.each([family === 4 ? 8 : 32, 64, 1480])(
    'marked, in pieces of %i bytes, the client is the source of all',
    size => {
      const pieces = inboundPieces({ carrier: 'ipo', client: CLIENT }, size);
      const { delivered, emitted } = rig.send(...pieces);
      expect(delivered).toHaveLength(pieces.length);
      expect(whole(delivered)).toBe(toHex(inbound({ from: CLIENT })));
      expect(emitted).toHaveLength(1);
      const [from, to] = [SERVER, LB].map(text => inFamily(family, text));
      expect(decode(hex(emitted[0]))).toMatchObject({ from, to, payload: '' });
      expect(rig.counts()).toMatchObject({ uoa_got: 1, uoa_saved: 1, uoa_ack_sent: 1 });
    },
  );

  it('fragments of a known flow without a mark come from its client', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT, payload: [1] }));
    const { delivered } = rig.send(...inboundPieces());
    expect(whole(delivered)).toBe(toHex(inbound({ from: CLIENT })));
  });

  it('fragments of an unknown flow keep the load balancer as source', () => {
    const { delivered } = rig.send(...inboundPieces());
    expect(whole(delivered)).toBe(toHex(inbound()));
    expect(rig.counts()).toMatchObject({ uoa_none: 1, uoa_miss: 1 });
  });

  it('fragments of a client of the other family keep the load balancer as source', () => {
    const { delivered } = rig.send(...inboundPieces({ carrier: 'ipo', named }));
    expect(whole(delivered)).toBe(toHex(inbound()));
  });

  it('fragments of two datagrams at once follow their own first one', () => {
    const other = { from: '10.10.1.1:40001', id: 79 };
    const first = inboundPieces({ carrier: 'ipo', client: CLIENT });
    const second = inboundPieces({ ...other, carrier: 'ipo', client: '198.51.100.9:9' });
    const { delivered } = rig.send(...first.flatMap((piece, i) => [piece, second[i]]));
    expect(whole(delivered.filter((_, i) => i % 2 === 0))).toBe(toHex(inbound({ from: CLIENT })));
    expect(whole(delivered.filter((_, i) => i % 2 === 1))).toBe(
      toHex(inbound({ ...other, from: '198.51.100.9:9' })),
    );
  });

  it('fragments of the next datagram with the same id follow its first one', () => {
    rig.send(...inboundPieces({ carrier: 'ipo', client: CLIENT }));
    const other = '198.51.100.9:9';
    const { delivered } = rig.send(...inboundPieces({ carrier: 'ipo', client: other }));
    expect(whole(delivered)).toBe(toHex(inbound({ from: other })));
  });

  it.each([
    ['the first one last', (pieces: Octets[]) => [...pieces.slice(1), pieces[0]]],
    ['all of them reversed', (pieces: Octets[]) => pieces.toReversed()],
    ['the first one in the middle', ([first, second, ...rest]: Octets[]) => [second, first, ...rest]],
  ])('fragments in another order, %s, wait for the first one', (_, shuffle) => {
    const pieces = inboundPieces({ carrier: 'ipo', client: CLIENT });
    const shuffled = shuffle(pieces);
    const early = shuffled.indexOf(pieces[0]);
    const before = shuffled.slice(0, early);
    expect(rig.send(...before)).toEqual({ delivered: [], emitted: [] });
    const { delivered } = rig.send(...shuffled.slice(early));
    const order = [...delivered].sort((one, two) => offsetOf(one) - offsetOf(two));
    expect(whole(order)).toBe(toHex(inbound({ from: CLIENT })));
    expect(offsetOf(delivered[0])).toBe(0);
    const held = before.map(piece => offsetOf(toHex(piece)) - moved);
    expect(delivered.map(offsetOf).filter(offset => held.includes(offset))).toEqual(held);
    expect(rig.counts()).toMatchObject({ fragments_held: before.length });
    expect(rig.counts().fragments_dropped).toBeUndefined();
  });

  it('fragments of a flow without a client wait for their first one', () => {
    const [first, ...later] = inboundPieces();
    expect(rig.send(...later).delivered).toEqual([]);
    expect(rig.send(first).delivered).toEqual([first, ...later].map(toHex));
  });

  it('fragments whose first one never comes are dropped and counted', () => {
    const [, ...later] = inboundPieces({ carrier: 'ipo', client: CLIENT });
    rig.send(...later);
    rig.wait(1900);
    expect(rig.counts()).toEqual({ fragments_held: later.length });
    rig.wait(300);
    expect(rig.counts()).toEqual({ fragments_held: later.length, fragments_dropped: later.length });
    expect(rig.send()).toEqual({ delivered: [], emitted: [] });
  });

  it('fragments don’t follow a first one of too long ago', () => {
    const [first, ...later] = inboundPieces({ carrier: 'ipo', client: CLIENT });
    rig.send(first);
    rig.wait(30_000);
    expect(rig.send(...later).delivered).toEqual([]);
  });

  it('a flood of fragments without a first one stops no other fragments', () => {
    const endless = Array.from({ length: 500 }, (_, id) => inboundPieces({ id: 1000 + id })[1]);
    rig.send(...endless);
    expect(rig.counts()).toEqual({ fragments_held: 128, fragments_dropped: 372 });
    const { delivered } = rig.send(...inboundPieces({ carrier: 'ipo', client: CLIENT }));
    expect(whole(delivered)).toBe(toHex(inbound({ from: CLIENT })));
    rig.wait(3000);
    expect(rig.counts()).toMatchObject({ fragments_held: 128, fragments_dropped: 500 });
    const { length } = rig.send(...endless.slice(0, 100)).delivered;
    expect(length).toBe(0);
    expect(rig.counts()).toMatchObject({ fragments_held: 228 });
  });

  it('fragments larger than a jumbo frame are dropped, not held', () => {
    const [, later] = inboundPieces({ payload: payloadOf(30_000) }, 10_000);
    rig.send(later);
    expect(rig.counts()).toEqual({ fragments_dropped: 1 });
  });

  it('fragments from outside the prefixes are delivered as they came', () => {
    const pieces = inboundPieces({ from: '198.51.100.1:1', carrier: 'ipo', client: CLIENT });
    expect(rig.send(...pieces)).toEqual({ delivered: pieces.map(toHex), emitted: [] });
  });
});

describe.each(FAMILIES)('replies in IPv%i', family => {
  const { inbound, reply, inboundPieces, replyPieces } = packetsIn(family);

  beforeEach(() => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT, payload: [1] }));
  });

  it.each([8, 64, 1480])('replies in pieces of %i bytes go to the load balancer', size => {
    const pieces = replyPieces({}, size);
    const { delivered, emitted } = rig.send(...pieces);
    expect(delivered).toEqual([]);
    expect(emitted).toHaveLength(pieces.length);
    expect(whole(emitted)).toBe(toHex(reply({ to: LB })));
    expect(rig.counts()).toMatchObject({ replies_translated: 1 });
  });

  it('fragments of a wildcard socket’s reply come from the address that was asked', () => {
    const asked = '10.10.1.3:53';
    const client = '203.0.113.8:5555';
    rig.send(inbound({ to: asked, carrier: 'ipo', client, payload: [1] }));
    const { emitted } = rig.send(...replyPieces({ to: client }));
    expect(whole(emitted)).toBe(toHex(reply({ from: asked, to: LB })));
  });

  it('fragments to other hosts are emitted as they are', () => {
    const pieces = replyPieces({ to: '203.0.113.9:1' });
    expect(rig.send(...pieces).emitted).toEqual(pieces.map(toHex));
  });

  it('fragments of a reply don’t follow a datagram of the same id the other way', () => {
    const outwards = replyPieces({ id: 5 });
    const inwards = inboundPieces({ id: 5 });
    const { delivered, emitted } = rig.send(...outwards.flatMap((piece, i) => [piece, inwards[i]]));
    expect(whole(delivered)).toBe(toHex(inbound({ id: 5, from: CLIENT })));
    expect(whole(emitted)).toBe(toHex(reply({ id: 5, to: LB })));
  });
});

describe('marked by opp over IPv4', () => {
  const { inbound, inboundPieces } = packetsIn(4);
  const pieces = inboundPieces({ carrier: 'opp', client: CLIENT });
  const delivered = [toHex(inbound({ from: CLIENT }))];

  it.each(permutations([0, 1, 2]).map(order => [order]))(
    'in the order %j are delivered as one datagram',
    order => {
      for (const i of order.slice(0, -1)) expect(rig.send(pieces[i])).toEqual(NOTHING);
      const out = rig.send(pieces[order[2]]);
      expect(out.delivered).toEqual(delivered);
      expect(out.emitted).toHaveLength(1);
      expect(decode(hex(out.emitted[0]))).toMatchObject({ from: SERVER, to: LB, payload: '', protocol: 248 });
      expect(rig.counts()).toEqual({
        ...{ fragments_held: 3, uoa_got: 1, uoa_saved: 1, uoa_ack_sent: 1 },
        ...{ packets_delivered: 1, flows: 1 },
      });
    },
  );

  // The first one has to hold UDP’s header.
  it.each([24, 64, 1480])('a datagram marked by opp in pieces of %i bytes keeps its options', size => {
    const options = hex('94040000');
    const fields = { payload: payloadOf(1500), tos: 0xb9, ttl: 9, options };
    const { delivered } = rig.send(...inboundPieces({ ...fields, carrier: 'opp', client: CLIENT }, size));
    expect(delivered).toEqual([toHex(inbound({ ...fields, from: CLIENT }))]);
  });

  it('a datagram marked by opp as large as can be is delivered', () => {
    const payload = payloadOf(65_535 - 20 - 12 - 8);
    const { delivered } = rig.send(...inboundPieces({ payload, carrier: 'opp', client: CLIENT }));
    expect(delivered).toEqual([toHex(inbound({ payload, from: CLIENT }))]);
  });

  it('pieces marked by opp may come twice', () => {
    const [first, second, third] = pieces;
    expect(rig.send(first, first, second, second, first, third).delivered).toEqual(delivered);
    expect(rig.counts().fragments_dropped).toBeUndefined();
  });

  it('pieces marked by opp that overlap spoil their datagram and no other', () => {
    const other = { id: 78, carrier: 'opp', client: '198.51.100.9:9' } as const;
    const [, overlapping] = inboundPieces({ carrier: 'opp', client: CLIENT }, 1472);
    const others = inboundPieces(other);
    expect(rig.send(pieces[0], others[0], overlapping, others[1], pieces[1], others[2]).delivered).toEqual([
      toHex(inbound({ id: 78, from: '198.51.100.9:9' })),
    ]);
    // What is left of it waits in vain.
    rig.wait(2200);
    expect(rig.counts()).toMatchObject({ fragments_held: 5, fragments_dropped: 3 });
  });

  it('pieces marked by opp that contradict each other about the end spoil their datagram', () => {
    const [, , longer] = inboundPieces({ carrier: 'opp', client: CLIENT, payload: payloadOf(4100) });
    expect(rig.send(pieces[2], longer)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ fragments_held: 1, fragments_dropped: 2 });
    expect(rig.send(...pieces.slice(0, 2))).toEqual(NOTHING);
  });

  it('pieces marked by opp of which one is lost are dropped and counted', () => {
    rig.send(pieces[0], pieces[2]);
    rig.wait(1900);
    expect(rig.counts()).toEqual({ fragments_held: 2 });
    rig.wait(300);
    expect(rig.counts()).toEqual({ fragments_held: 2, fragments_dropped: 2 });
    expect(rig.send(pieces[1])).toEqual(NOTHING);
  });

  it('a flood of pieces marked by opp is dropped, and afterwards datagrams are put together again', () => {
    const endless = Array.from({ length: 100 }, (_, id) =>
      inboundPieces({ id: 1000 + id, carrier: 'opp', client: CLIENT }).slice(0, 2),
    ).flat();
    expect(rig.send(...endless)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ fragments_held: 16, fragments_dropped: 184 });
    rig.wait(2200);
    expect(rig.counts()).toEqual({ fragments_held: 16, fragments_dropped: 200 });
    expect(rig.send(...pieces).delivered).toEqual(delivered);
  });

  it('pieces marked by opp of several load balancers with the same id keep apart', () => {
    const sources = ['10.10.1.1:40000', '10.10.1.7:40000', '10.10.1.8:40000'];
    const all = sources.map(from => inboundPieces({ from, carrier: 'opp', client: CLIENT }));
    const out = rig.send(...[0, 1, 2].flatMap(i => all.map(those => those[i])));
    expect(out.delivered).toEqual([1, 2, 3].map(() => delivered[0]));
    expect(out.emitted.map(sent => decode(hex(sent)).to)).toEqual(sources);
  });

  it('a datagram in pieces with a broken mark keeps the load balancer as source', () => {
    expect(
      rig.send(...inboundPieces({ carrier: 'opp', mark: [31, 12, ...payloadOf(10)] })).delivered,
    ).toEqual([toHex(inbound())]);
    expect(rig.counts()).toMatchObject({ uoa_invalid: 1 });
  });
});

it('pieces marked by opp over IPv6, which has no such thing, are dropped and counted', () => {
  const pieces = packetsIn(6).inboundPieces({ carrier: 'opp', client: CLIENT });
  expect(rig.send(...pieces)).toEqual(NOTHING);
  expect(rig.counts()).toEqual({ fragments_dropped: pieces.length });
});

describe('over IPv6', () => {
  const { inbound, inboundPieces } = packetsIn(6);

  it.each([
    [24, CLIENT, {}],
    [16, undefined, { named: '203.0.113.7:5555' }],
  ])('later fragments over IPv6 move up by the %i bytes of the mark', (bytes, client, more) => {
    const fields = { carrier: 'ipo', ...more, ...(client === undefined ? {} : { client }) } as const;
    const pieces = inboundPieces(fields).map(toHex);
    const { delivered } = rig.send(...pieces.map(hex));
    expect(delivered.slice(1).map(offsetOf)).toEqual(
      pieces.slice(1).map(piece => offsetOf(piece) - bytes / 8),
    );
    expect(whole(delivered)).toBe(toHex(inbound(client === undefined ? {} : { from: client })));
  });

  it('a mark in front of the fragment header moves no later fragment', () => {
    const mark = destinationOptions(destinationOption(inFamily(6, CLIENT)));
    const extensions = [mark, fragmentHeader(0, true, 7)];
    const [source, destination] = ['fd00:1::1', 'fd00:1::2'];
    const body = udp({ address: source, port: 40_000 }, { address: destination, port: 53 }, payloadOf(100));
    const first = ipv6({ source, destination, extensions, next: 17, body: body.slice(0, 64) });
    const second = ipv6({
      ...{ source, destination, next: 17, body: body.slice(64) },
      extensions: [mark, fragmentHeader(8, false, 7)],
    });
    // Nobody sends that: before UDP, behind everything else, is the mark's place.
    expect(rig.send(first, second).delivered).toEqual([first, second].map(toHex));
    expect(rig.counts()).toEqual({ uoa_none: 1, uoa_miss: 1, packets_delivered: 1 });
  });

  it('a fragment that is a whole datagram is handled as one, mark or not', () => {
    const [only, ...others] = inboundPieces({ carrier: 'ipo', client: CLIENT }, 8000);
    expect(others).toEqual([]);
    const [unmarked] = inboundPieces({ from: CLIENT }, 8000);
    expect(rig.send(only).delivered).toEqual([toHex(unmarked)]);
    expect(rig.counts()).toMatchObject({ uoa_got: 1, packets_delivered: 1 });
  });

  it('fragments over IPv6 are told apart by all 32 bits of their id', () => {
    const ids = [0x00010007, 0x00020007, 0x80000007];
    const clients = ['203.0.113.7:7', '203.0.113.8:8', '203.0.113.9:9'];
    const all = ids.map((id, i) => inboundPieces({ id, carrier: 'ipo', client: clients[i] }));
    const { delivered } = rig.send(...[0, 1, 2].flatMap(i => all.map(those => those[i])));
    clients.forEach((client, k) => {
      expect(whole(delivered.filter((_, i) => i % 3 === k))).toBe(toHex(inbound({ from: client })));
    });
  });
});

function permutations(items: readonly number[]): number[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap(item =>
    permutations(items.filter(other => other !== item)).map(rest => [item, ...rest]),
  );
}
