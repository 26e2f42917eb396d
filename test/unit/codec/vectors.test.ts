/** The codec against bytes that it had no part in: every vector in test/vectors, whose README says how to read them. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type CarrierName, carrierName } from '../../../src/codec/carriers.js';
import { strip } from '../../../src/codec/marks.js';
import { Kind, Mark, type Packet } from '../../../src/codec/packet.js';
import { writeAck } from '../../../src/codec/standalone.js';
import * as uoa from '../../../src/codec/uoa.js';
import { bytesOf, load, surrounded } from '../support/place.js';
import { address, datagram, decode, endpoint, hex, toHex } from '../support/wire.js';

interface Vector {
  file: string;
  name: string;
  source: string;
  outcome: 'marked' | 'invalid-mark' | 'malformed';
  family: 4 | 6;
  carrier: CarrierName;
  lb: string;
  server: string;
  client?: string;
  payload?: string;
  packet: string;
  stripped?: string;
  ack?: string;
}

const DIRECTORY = new URL('../../vectors/', import.meta.url);

const ALL = readdirSync(DIRECTORY)
  .filter(file => file.endsWith('.json'))
  .flatMap((file): Vector[] =>
    JSON.parse(readFileSync(new URL(file, DIRECTORY), 'utf8')).vectors.map((vector: Vector) => ({
      ...vector,
      file,
    })),
  );

// ---- the codec as the vectors see it -----------------------------------------------------------------------

const HEADROOM = 5;
/** More than any ACK has. */
const ROOM = 128;

function parse(vector: Vector): Packet {
  return load(hex(vector.packet), HEADROOM);
}

function outcome(packet: Packet): string {
  if (packet.kind === Kind.malformed) return 'malformed';
  if (packet.kind !== Kind.udp) return 'no UDP';
  return packet.mark === Mark.found ? 'marked' : packet.mark === Mark.broken ? 'invalid-mark' : 'no mark';
}

function client(packet: Packet): { address: string; port: number } {
  const { option, optionLength } = packet;
  return {
    address: toHex(packet.bytes.slice(option + uoa.OPTION_ADDRESS, option + optionLength)),
    port: packet.view.getUint16(option + uoa.OPTION_PORT),
  };
}

function payload(packet: Packet): string {
  const start = packet.udp + 8;
  return toHex(packet.bytes.slice(start, Math.min(packet.end, start + packet.payloadLength)));
}

function stripped(packet: Packet): string {
  strip(packet);
  return toHex(bytesOf(packet));
}

function ack(packet: Packet): string {
  const out = new DataView(surrounded([], HEADROOM, ROOM));
  const length = writeAck(packet, out, HEADROOM);
  return toHex(new Uint8Array(out.buffer, HEADROOM, length));
}

// ---- the vectors -------------------------------------------------------------------------------------------

/** Hexadecimal without the blanks between parts. */
const plain = (bytes: string): string => toHex(hex(bytes));

describe('the vectors', () => {
  it('the vectors are of every carrier, family and outcome', () => {
    const kinds = new Set(ALL.map(vector => `${vector.carrier} in ${vector.family}, ${vector.outcome}`));
    expect([...kinds].sort()).toEqual(
      ['dstopt in 6', 'ipo in 4', 'opp in 4', 'opp in 6'].flatMap(where =>
        ['invalid-mark', 'malformed', 'marked']
          .map(which => `${where}, ${which}`)
          // IP options can't make a packet malformed.
          .filter(kind => kind !== 'ipo in 4, malformed'),
      ),
    );
  });

  it('each vector has a name of its own and names its source', () => {
    const names = ALL.map(({ file, name }) => `${file}: ${name}`);
    expect(new Set(names).size).toBe(names.length);
    for (const vector of ALL) expect(vector.source, vector.name).toMatch(/PROTOCOL|DPVS|huaweicloud|RFC/);
  });
});

describe('the tests’ own builder of packets', () => {
  /** The vector's packet built anew: what is not the mark's is taken from it. */
  function built(vector: Vector): string {
    const packet = hex(vector.packet);
    const { tos, ttl, id, dontFragment, udpChecksum } = decode(packet);
    const flow = ((packet[1] & 0x0f) << 16) | (packet[2] << 8) | packet[3];
    const { lb: from, server: to, carrier, client = '', payload = '' } = vector;
    const fields = { from, to, carrier, client, payload: hex(payload), udpChecksum };
    return toHex(datagram({ ...fields, tos, ttl, id, dontFragment, ...(vector.family === 6 && { flow }) }));
  }
  /** Nothing but a mark in its headers. */
  const plainNames =
    /^((IPv4 option|Destination Options header|ipo|opp|dstopt)( in IPv[46])?|standalone in \w+(, IPv[46])?), IPv[46] client[^,]*$/;
  const plainOnes = ALL.filter(({ outcome, name }) => outcome === 'marked' && plainNames.test(name));

  it('the builder is checked with each carrier, family of packets and family of clients', () => {
    const kinds = plainOnes.map(
      ({ carrier, family, client = '' }) => `${carrier} ${family} ${client.includes('[') ? 6 : 4}`,
    );
    expect([...new Set(kinds)].sort()).toEqual([
      ...['dstopt 6 4', 'dstopt 6 6', 'ipo 4 4', 'ipo 4 6'],
      ...['opp 4 4', 'opp 4 6', 'opp 6 4', 'opp 6 6'],
    ]);
  });

  it.each(plainOnes)('the builder makes the bytes of $file: $name', vector => {
    expect(built(vector)).toBe(plain(vector.packet));
  });
});

describe.each([4, 6])('in IPv%i', family => {
  const vectors = ALL.filter(vector => vector.family === family);
  const marked = vectors.filter(vector => vector.outcome === 'marked');

  it.each(vectors)('parse finds what is in $file: $name: $outcome', vector => {
    const packet = parse(vector);
    expect(outcome(packet)).toBe(vector.outcome);
    if (vector.outcome === 'malformed') return;
    expect(carrierName(packet.carrier)).toBe(vector.carrier);
    expect(packet.sourcePort).toBe(endpoint(vector.lb).port);
    expect(packet.destinationPort).toBe(endpoint(vector.server).port);
    expect(payload(packet)).toBe(vector.payload);
  });

  it.each(marked)('the mark of $file: $name names $client', vector => {
    const expected = endpoint(vector.client ?? '');
    expect(client(parse(vector))).toEqual({
      address: toHex(address(expected.address)),
      port: expected.port,
    });
  });

  it.each(vectors.filter(vector => vector.stripped !== undefined))(
    'strip gives the unmarked packet of $file: $name',
    vector => {
      expect(stripped(parse(vector))).toBe(plain(vector.stripped ?? ''));
    },
  );

  it.each(marked)('writeAck gives the ACK of $file: $name', vector => {
    expect(ack(parse(vector))).toBe(plain(vector.ack ?? ''));
  });
});
