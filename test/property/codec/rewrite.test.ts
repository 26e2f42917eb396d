/** Whatever is put in comes out again, and what is in between is what the slow builder makes of it. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Carrier, MAX_STANDALONE } from '../../../src/codec/carriers.js';
import { insertMark, strip, stripQuoted } from '../../../src/codec/marks.js';
import { Kind, Packet } from '../../../src/codec/packet.js';
import {
  setDestination,
  setErrorDestination,
  setFragmentAddresses,
  setQuotedDestination,
  setQuotedSource,
  setSource,
} from '../../../src/codec/rewrite.js';
import { writeAck, writeStandalone } from '../../../src/codec/standalone.js';
import { GROWTH, toIpv4, toIpv6 } from '../../../src/codec/translate.js';
import * as arbitrary from '../../unit/support/arbitraries.js';
import { bytesOf, load } from '../../unit/support/place.js';
import {
  type DatagramFields,
  datagram,
  decode,
  decodeIcmp,
  destinationOption,
  destinationOptions,
  endpoint,
  fragment,
  icmp,
  int32,
  type Octets,
  option,
  toHex,
  words,
} from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

/** Room for the largest mark. */
const HEADROOM = 24;

const carrier4 = fc.constantFrom('ipo' as const, 'opp' as const);

function named(client: string) {
  const { address, port } = endpoint(client);
  return { v6: address.includes(':'), words: words(address), port };
}

/** Datagrams of either family with IP options or extension headers, and addresses of theirs. */
const moving = fc.oneof(
  fc.record({
    fields: arbitrary.datagram4(40),
    source: arbitrary.ipv4Address,
    destination: arbitrary.ipv4Address,
    ports: fc.tuple(arbitrary.port, arbitrary.port),
  }),
  fc.record({
    fields: arbitrary.datagram6,
    source: arbitrary.ipv6Address,
    destination: arbitrary.ipv6Address,
    ports: fc.tuple(arbitrary.port, arbitrary.port),
  }),
);
const end = (address: string, port: number) =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** An error about (a part of) a packet of its own family. */
function error(quote: Octets, destination?: string): Uint8Array {
  return quote[0] >> 4 === 6
    ? icmp({ source: 'fd00::250', destination: destination ?? 'fd00::1', type: 2, code: 0, quote })
    : icmp({ source: '192.0.2.250', destination: destination ?? '10.10.1.1', type: 3, code: 4, quote });
}

describe('marks', () => {
  it('insertMark makes what the slow builder makes, and strip undoes it', () => {
    fc.assert(
      fc.property(arbitrary.toBeMarked, arbitrary.client, ({ fields, carrier }, client) => {
        const before = datagram(fields);
        const packet = load(before, HEADROOM);
        insertMark(packet, Carrier[carrier], named(client));
        const marked = bytesOf(packet);
        expect(toHex(marked)).toBe(toHex(datagram({ ...fields, carrier, client })));
        expect(decode(marked).udpChecksum).toBe(decode(before).udpChecksum);
        expect(toHex(packet.bytes.slice(0, packet.start))).toBe('a5'.repeat(packet.start));

        strip(packet);
        expect(toHex(bytesOf(packet))).toBe(toHex(before));
      }),
      { numRuns: 800 },
    );
  });

  it('inserting and stripping a mark leaves another one as it was', () => {
    fc.assert(
      fc.property(
        arbitrary.toBeMarked.filter(({ carrier, fields }) => carrier !== 'opp' && !fields.options?.length),
        arbitrary.client,
        ({ fields, carrier }, client) => {
          const before = datagram({ ...fields, carrier, client });
          const packet = load(before, HEADROOM);
          insertMark(packet, Carrier[carrier], named('203.0.113.7:5555'));
          expect(packet.start).toBe(HEADROOM - (carrier === 'ipo' ? 8 : 16));
          strip(packet);
          expect(toHex(bytesOf(packet))).toBe(toHex(before));
        },
      ),
    );
  });

  it('strip makes a marked packet the one that the slow builder makes without a mark', () => {
    fc.assert(
      fc.property(
        arbitrary.datagram4(12),
        arbitrary.otherOptions(8, [1]),
        arbitrary.client,
        carrier4,
        (fields, ahead, client, by) => {
          const rest = Array.from(fields.options ?? []);
          const packet =
            by === 'opp'
              ? load(datagram({ ...fields, carrier: 'opp', client }))
              : load(datagram({ ...fields, options: [...ahead, ...option(client), ...rest] }));
          strip(packet);
          const left = by === 'opp' ? rest : [...ahead, ...rest];
          expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...fields, options: left })));
        },
      ),
      { numRuns: 300 },
    );
  });

  it('strip leaves other destination options at their place modulo 8', () => {
    /** Options but padding, with their places modulo 8. */
    function placed(header: Octets): string[] {
      const found: string[] = [];
      for (let at = 2; at < header.length; ) {
        const length = header[at] === 0 ? 1 : 2 + header[at + 1];
        if (header[at] > 1) found.push(`${at % 8}: ${toHex(Array.from(header).slice(at, at + length))}`);
        at += length;
      }
      return found;
    }
    fc.assert(
      fc.property(
        arbitrary.datagram6,
        arbitrary.otherOptions6(30),
        arbitrary.otherOptions6(30),
        arbitrary.client,
        (fields, before, after, client) => {
          const mark = destinationOption(client);
          const header = destinationOptions([...before, ...mark, ...after]);
          const extensions = [...(fields.extensions ?? []), header];
          const whole = datagram({ ...fields, extensions });
          const packet = load(whole);
          const others = placed([17, ...Array.from(header[1])]).filter(each => !each.endsWith(toHex(mark)));
          const removed = strip(packet);
          const bytes = bytesOf(packet);
          expect(bytes.length).toBe(whole.length - removed);
          const { options, ...rest } = decode(bytes);
          const plain = decode(datagram(fields));
          expect(rest).toEqual({ ...plain, options: undefined });
          if (others.length === 0) expect(options).toBe(plain.options);
          else expect(placed(packet.bytes.slice(packet.optionsHeader, packet.udp))).toEqual(others);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('stripQuoted makes an error one about the unmarked packet', () => {
    fc.assert(
      fc.property(
        arbitrary.toBeMarked,
        arbitrary.client,
        fc.nat(60),
        ({ fields, carrier }, client, behind) => {
          const before = datagram(fields);
          const marked = datagram({ ...fields, carrier, client });
          const removed = marked.length - before.length;
          const length = load(before).udp + 8 + behind;
          const packet = load(error(marked.slice(0, length + removed)), 3);
          expect(packet.kind).toBe(Kind.error);
          expect(stripQuoted(packet)).toBe(removed);
          expect(toHex(bytesOf(packet))).toBe(toHex(error(before.slice(0, length))));
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('addresses', () => {
  it('a packet with changed ends is the one that the slow builder makes for them', () => {
    fc.assert(
      fc.property(moving, ({ fields, source, destination, ports: [sourcePort, destinationPort] }) => {
        const packet = load(datagram(fields));
        const ends = int32(source, destination);
        const from = end(source, sourcePort);
        setSource(packet, ends, 0, sourcePort);
        expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...fields, from })));
        setDestination(packet, ends, 4, destinationPort);
        const to = end(destination, destinationPort);
        expect(toHex(bytesOf(packet))).toBe(toHex(datagram({ ...fields, from, to })));
        decode(bytesOf(packet));
      }),
      { numRuns: 800 },
    );
  });

  it('changing ends before or after strip gives the same packet', () => {
    fc.assert(
      fc.property(arbitrary.toBeMarked, arbitrary.client, ({ fields, carrier }, client) => {
        const marked = datagram({ ...fields, carrier, client });
        const from = fields.from.startsWith('[') ? '[2001:db8::7]:5555' : '203.0.113.7:5555';
        const source = int32(endpoint(from).address);
        const one = load(marked);
        strip(one);
        setSource(one, source, 0, 5555);
        const other = load(marked);
        setSource(other, source, 0, 5555);
        strip(other);
        expect(toHex(bytesOf(one))).toBe(toHex(bytesOf(other)));
        expect(toHex(bytesOf(one))).toBe(toHex(datagram({ ...fields, from })));
      }),
      { numRuns: 200 },
    );
  });

  it('setFragmentAddresses changes the addresses of later fragments and nothing else', () => {
    fc.assert(
      fc.property(
        moving.filter(({ fields }) => (fields.payload?.length ?? 0) > 100),
        ({ fields, source, destination }) => {
          const plain: DatagramFields = { ...fields, options: [], extensions: [] };
          const pieces = fragment(datagram(plain), 48);
          const moved = fragment(datagram({ ...plain, from: end(source, 1), to: end(destination, 1) }), 48);
          for (let i = 1; i < pieces.length; i++) {
            const packet = load(pieces[i]);
            setFragmentAddresses(packet, int32(source, destination), 0);
            expect(toHex(bytesOf(packet))).toBe(toHex(moved[i]));
          }
        },
      ),
      { numRuns: 100 },
    );
  });

  it('an error with changed ends is the one that the slow builder makes for them', () => {
    fc.assert(
      fc.property(moving, fc.nat(60), ({ fields, source, destination, ports }, behind) => {
        const length = load(datagram(fields)).udp + 8 + behind;
        const packet = load(error(datagram(fields).slice(0, length)), 3);
        const ends = int32(source, destination);
        const moved = { ...fields, from: end(source, ports[0]), to: end(destination, ports[1]) };
        setQuotedSource(packet, ends, 0, ports[0]);
        setQuotedDestination(packet, ends, 4, ports[1]);
        setErrorDestination(packet, ends, 0);
        const expected = error(datagram(moved).slice(0, length), source);
        // A sum of 0 has two ways to be written; the slow reader takes the one that the builder makes.
        expect(decodeIcmp(bytesOf(packet))).toEqual(decodeIcmp(expected));
        expect(toHex(bytesOf(packet))).toBe(toHex(expected));
      }),
      { numRuns: 500 },
    );
  });
});

describe('translated to the other family', () => {
  const both = fc.record({
    fields: arbitrary.datagram6.map(fields => ({ ...fields, extensions: [], flow: 0 })),
    source: arbitrary.ipv4Address,
    destination: arbitrary.ipv4Address,
    hasChecksum: fc.boolean(),
  });

  it('a datagram translated there and back is what the slow builder makes', () => {
    fc.assert(
      fc.property(both, ({ fields, source, destination, hasChecksum }) => {
        const [from, to] = [fields.from, fields.to].map(endpoint);
        const six = datagram(fields);
        const four4 = {
          ...fields,
          from: end(source, from.port),
          to: end(destination, to.port),
          dontFragment: six.length - 20 > 1260,
        };
        const packet = load(six, GROWTH);
        toIpv4(packet, int32(source, destination), 0);
        expect(toHex(bytesOf(packet))).toBe(toHex(datagram(four4)));

        const back = load(datagram(hasChecksum ? four4 : { ...four4, udpChecksum: 0 }), GROWTH);
        expect(toIpv6(back, int32(from.address, to.address), 0)).toBe(true);
        expect(toHex(bytesOf(back))).toBe(toHex(six));
      }),
      { numRuns: 500 },
    );
  });

  it('fragments translated there and back are what the slow builder makes', () => {
    fc.assert(
      fc.property(both, fc.nat(0xffff), ({ fields, source, destination }, id) => {
        const [from, to] = [fields.from, fields.to].map(endpoint);
        const payload = [...Array.from(fields.payload ?? []), ...new Array<number>(100).fill(7)];
        const six = fragment(datagram({ ...fields, payload }), 64, id);
        const ends = { from: end(source, from.port), to: end(destination, to.port) };
        const four = fragment(datagram({ ...fields, ...ends, payload, id }), 64);
        six.forEach((piece, i) => {
          const packet = load(piece, GROWTH);
          toIpv4(packet, int32(source, destination), 0);
          expect(toHex(bytesOf(packet))).toBe(toHex(four[i]));
          expect(toIpv6(packet, int32(from.address, to.address), 0)).toBe(true);
          expect(toHex(bytesOf(packet))).toBe(toHex(piece));
        });
      }),
      { numRuns: 50 },
    );
  });
});

describe('standalone packets', () => {
  it('a standalone is a datagram that the slow reader takes, and names the client', () => {
    fc.assert(
      fc.property(arbitrary.toBeMarked, arbitrary.client, ({ fields, carrier }, client) => {
        const packet = load(datagram(fields));
        const out = new Uint8Array(MAX_STANDALONE).fill(0xa5);
        const length = writeStandalone(packet, Carrier[carrier], named(client), new DataView(out.buffer), 0);
        const { from, to } = fields;
        expect(toHex(out.slice(0, length))).toBe(
          toHex(datagram({ from, to, carrier, client, dontFragment: true })),
        );
        expect(decode(out.slice(0, length)).payload).toBe('');
      }),
      { numRuns: 200 },
    );
  });

  it('an ACK goes back to the sender and echoes the mark', () => {
    fc.assert(
      fc.property(arbitrary.toBeMarked, arbitrary.client, ({ fields, carrier }, client) => {
        const packet = load(datagram({ ...fields, carrier, client }));
        const out = new Uint8Array(MAX_STANDALONE).fill(0xa5);
        const length = writeAck(packet, new DataView(out.buffer), 0);
        expect(toHex(out.slice(0, length))).toBe(
          toHex(datagram({ from: fields.to, to: fields.from, carrier, client, dontFragment: true })),
        );
        const ack = new Packet(out.buffer);
        expect(ack.parse(0, length)).toBe(Kind.udp);
        expect(ack.payloadLength).toBe(0);
      }),
      { numRuns: 200 },
    );
  });
});
