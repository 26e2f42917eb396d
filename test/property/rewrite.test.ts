/** Whatever is put in comes out again, and what is in between is what the slow builder makes of it. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { Kind, Packet } from '../../src/codec/packet.js';
import {
  insertOpp,
  insertOption,
  setDestination,
  setFragmentAddresses,
  setSource,
  strip,
} from '../../src/codec/rewrite.js';
import { writeAck, writeStandalone } from '../../src/codec/standalone.js';
import { Carrier } from '../../src/codec/uoa.js';
import * as arbitrary from '../unit/support/arbitraries.js';
import { bytesOf, load } from '../unit/support/place.js';
import {
  type DatagramFields,
  datagram,
  decode,
  endpoint,
  fragment,
  option,
  toHex,
  word,
  words,
} from '../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

/** Room for the largest mark. */
const HEADROOM = 24;

const carrier = fc.constantFrom('ipo' as const, 'opp' as const);

/** A datagram without a mark; its UDP checksum right, or none. */
function plain(options: number): fc.Arbitrary<DatagramFields> {
  return fc
    .record({
      header: arbitrary.header,
      fromPort: arbitrary.port,
      toPort: arbitrary.port,
      payload: arbitrary.payload(),
      options: arbitrary.otherOptions(options),
      hasChecksum: fc.boolean(),
    })
    .map(({ header, fromPort, toPort, payload, options, hasChecksum }) => ({
      ...header,
      from: `${header.source}:${fromPort}`,
      to: `${header.destination}:${toPort}`,
      payload,
      options,
      ...(hasChecksum ? {} : { udpChecksum: 0 }),
    }));
}

function named(client: string) {
  const { address, port } = endpoint(client);
  return { v6: address.includes(':'), words: words(address), port };
}

describe('marks', () => {
  it('inserted, they are what the slow builder makes; stripped, the packet is what it was', () => {
    fc.assert(
      fc.property(plain(20), arbitrary.client, carrier, (fields, client, by) => {
        const before = datagram(fields);
        const packet = load(before, HEADROOM);
        if (by === 'ipo') insertOption(packet, named(client));
        else insertOpp(packet, named(client));
        const marked = bytesOf(packet);
        expect(toHex(marked)).toBe(toHex(datagram({ ...fields, carrier: by, client })));
        expect(decode(marked).udpChecksum).toBe(decode(before).udpChecksum);
        expect(toHex(packet.bytes.slice(0, packet.start))).toBe('a5'.repeat(packet.start));

        strip(packet);
        expect(toHex(bytesOf(packet))).toBe(toHex(before));
      }),
      { numRuns: 500 },
    );
  });

  it('stripped from a packet as it came, they leave it as if they had never been there', () => {
    fc.assert(
      fc.property(
        plain(12),
        arbitrary.otherOptions(8, [1]),
        arbitrary.client,
        carrier,
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
});

describe('addresses', () => {
  it('changed, the packet is the one that the slow builder makes for them', () => {
    fc.assert(
      fc.property(
        plain(40),
        arbitrary.ipv4Address,
        arbitrary.port,
        arbitrary.ipv4Address,
        arbitrary.port,
        (fields, source, sourcePort, destination, destinationPort) => {
          const packet = load(datagram(fields));
          setSource(packet, word(source), sourcePort);
          expect(toHex(bytesOf(packet))).toBe(
            toHex(datagram({ ...fields, from: `${source}:${sourcePort}` })),
          );
          setDestination(packet, word(destination), destinationPort);
          expect(toHex(bytesOf(packet))).toBe(
            toHex(
              datagram({
                ...fields,
                from: `${source}:${sourcePort}`,
                to: `${destination}:${destinationPort}`,
              }),
            ),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it('changed in front of a mark or after taking it out, the packet is the same', () => {
    fc.assert(
      fc.property(plain(20), arbitrary.client, carrier, (fields, client, by) => {
        const marked = datagram({ ...fields, carrier: by, client });
        const one = load(marked);
        strip(one);
        setSource(one, word('203.0.113.7'), 5555);
        const other = load(marked);
        setSource(other, word('203.0.113.7'), 5555);
        strip(other);
        expect(toHex(bytesOf(one))).toBe(toHex(bytesOf(other)));
        expect(toHex(bytesOf(one))).toBe(toHex(datagram({ ...fields, from: '203.0.113.7:5555' })));
      }),
    );
  });

  it('of later fragments follow, and nothing else changes', () => {
    fc.assert(
      fc.property(
        plain(8).filter(({ payload }) => (payload?.length ?? 0) > 100),
        arbitrary.ipv4Address,
        arbitrary.ipv4Address,
        (fields, source, destination) => {
          const pieces = fragment(datagram(fields), 48);
          const moved = fragment(datagram({ ...fields, from: `${source}:1`, to: `${destination}:1` }), 48);
          for (let i = 1; i < pieces.length; i++) {
            const packet = load(pieces[i]);
            setFragmentAddresses(packet, word(source), word(destination));
            expect(toHex(bytesOf(packet))).toBe(toHex(moved[i]));
          }
        },
      ),
      { numRuns: 50 },
    );
  });
});

describe('standalone packets', () => {
  it('are datagrams that the slow reader takes, and name the client', () => {
    fc.assert(
      fc.property(plain(20), arbitrary.client, carrier, (fields, client, by) => {
        const packet = load(datagram(fields));
        const out = new Uint8Array(64).fill(0xa5);
        const length = writeStandalone(
          packet,
          by === 'ipo' ? Carrier.ipo : Carrier.opp,
          named(client),
          new DataView(out.buffer),
          0,
        );
        const { from, to } = fields;
        expect(toHex(out.slice(0, length))).toBe(
          toHex(datagram({ from, to, carrier: by, client, dontFragment: true })),
        );
      }),
    );
  });

  it('are answered by ACKs that go back and echo the mark', () => {
    fc.assert(
      fc.property(plain(20), arbitrary.client, carrier, (fields, client, by) => {
        const packet = load(datagram({ ...fields, carrier: by, client }));
        const out = new Uint8Array(64).fill(0xa5);
        const length = writeAck(packet, new DataView(out.buffer), 0);
        expect(toHex(out.slice(0, length))).toBe(
          toHex(datagram({ from: fields.to, to: fields.from, carrier: by, client, dontFragment: true })),
        );
        const ack = new Packet(out.buffer);
        expect(ack.parse(0, length)).toBe(Kind.udp);
        expect(ack.payloadLength).toBe(0);
      }),
    );
  });
});
