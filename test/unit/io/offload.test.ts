import { endianness } from 'node:os';
import { describe, expect, it } from 'vitest';
import { Checksum, Kind, Packet } from '../../../src/codec/packet.js';
import { parseWithHeader, writeHeader } from '../../../src/io/offload.js';
import { type DatagramFields, datagram, hex, payloadOf, toHex } from '../support/wire.js';

/** The header is in host order: what is written here is a little-endian host's. */
const describeHere = describe.skipIf(endianness() === 'BE');

const AT = 8;
const BEHIND = AT + 12;

/** A datagram behind a virtio header that begins at AT. */
function place(header: string, fields: DatagramFields = USUAL) {
  const bytes = new Uint8Array(200).fill(0xa5);
  const datagramBytes = datagram(fields);
  bytes.set([...hex(header), ...datagramBytes], AT);
  return { bytes, packet: new Packet(bytes.buffer, bytes), end: BEHIND + datagramBytes.length };
}

const USUAL: DatagramFields = { from: '203.0.113.7:5555', to: '10.10.1.2:53', payload: payloadOf(50) };
const USUAL6: DatagramFields = { from: '[2001:db8::7]:5555', to: '[fd00:1::2]:53', payload: payloadOf(50) };

//                       flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
const NOTHING = /*       */ '00 00 0000 0000 0000 0000 0000';
const GOOD = /*          */ '02 00 0000 0000 0000 0000 0000';
const PARTIAL = /*       */ '01 00 0000 0000 1400 0600 0000';
const SUPER = /*         */ '01 05 1c00 7805 1400 0600 0000';
const SUPER6 = /*        */ '01 05 3000 e803 2800 0600 0000';

describeHere('parseWithHeader', () => {
  it.each([
    ['nothing to do', NOTHING, Checksum.full, 0],
    ['a checksum that was found right', GOOD, Checksum.good, 0],
    ['a checksum to be completed', PARTIAL, Checksum.partial, 0],
    ['a super-packet of 1400 bytes a datagram', SUPER, Checksum.partial, 1400],
    ['one of 1000 bytes in IPv6', SUPER6, Checksum.partial, 1000],
    [
      'a super-packet of TCPv4, which is taken for one packet',
      '01 01 2800 b405 1400 1000 0000',
      Checksum.partial,
      0,
    ],
    ['both flags, of which NEEDS_CHECKSUM counts', '03 00 0000 0000 1400 0600 0000', Checksum.partial, 0],
  ])('gives a packet its checksum’s state and segment: %s', (_, header, checksum, segment) => {
    const { packet, bytes, end } = place(header);
    const before = toHex(bytes);
    parseWithHeader(packet, AT, end - AT);
    expect(packet).toMatchObject({ start: BEHIND, end, checksum, segment, kind: Kind.udp });
    expect(toHex(bytes)).toBe(before);
  });

  it.each([0, 1, 11, 12])('gives a malformed packet where header and packet have %i bytes', length => {
    const { packet } = place(NOTHING);
    parseWithHeader(packet, AT, length);
    expect(packet.kind).toBe(Kind.malformed);
  });
});

describeHere('writeHeader', () => {
  it.each([
    ['nothing to do', Checksum.full, 0, USUAL, NOTHING],
    ['a right checksum, which needs no word to the kernel', Checksum.good, 0, USUAL, NOTHING],
    ['a checksum to be completed', Checksum.partial, 0, USUAL, PARTIAL],
    [
      'a checksum behind options',
      Checksum.partial,
      0,
      { ...USUAL, options: new Array<number>(24).fill(1) },
      '01 00 0000 0000 2c00 0600 0000',
    ],
    ['a super-packet of 1400 bytes a datagram', Checksum.partial, 1400, USUAL, SUPER],
    ['one of 1000 bytes in IPv6', Checksum.partial, 1000, USUAL6, SUPER6],
  ])('writes 12 bytes in front of the packet and no others: %s', (_, checksum, segment, fields, header) => {
    const { bytes, packet, end } = place(NOTHING, fields);
    bytes.fill(0xa5, 0, BEHIND);
    packet.parse(BEHIND, end, checksum, segment);
    const behind = toHex(bytes.slice(BEHIND));
    expect(writeHeader(packet)).toBe(AT);
    expect(toHex(bytes.slice(AT, BEHIND))).toBe(toHex(hex(header)));
    expect(toHex(bytes.slice(0, AT)) + toHex(bytes.slice(BEHIND))).toBe('a5'.repeat(AT) + behind);
    expect(packet).toMatchObject({ start: BEHIND, end, checksum, segment });
  });
});
