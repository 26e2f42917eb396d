import { endianness } from 'node:os';
import { describe, expect, it } from 'vitest';
import { Checksum } from '../../../src/codec/packet.js';
import { PacketList } from '../../../src/io/device.js';
import { putHeader, takeHeader } from '../../../src/io/offload.js';
import { hex, toHex } from '../support/wire.js';

/** The header is in host order: what is written here is a little-endian host's. */
const describeHere = describe.skipIf(endianness() === 'BE');

const AT = 8;

/** A list with one packet of 100 bytes, header and all, that begins at AT. */
function place(header: string) {
  const bytes = new Uint8Array(200).fill(0xa5);
  bytes.set(hex(header), AT);
  const list = new PacketList(4);
  list.add(AT, 100);
  return { bytes, view: new DataView(bytes.buffer), list };
}

function entry(list: PacketList, i = 0) {
  return {
    offset: list.offsets[i],
    length: list.lengths[i],
    checksum: list.checksums[i],
    segment: list.segments[i],
  };
}

//                       flags, gso_type, hdr_len, gso_size, csum_start, csum_offset, num_buffers
const NOTHING = /*       */ '00 00 0000 0000 0000 0000 0000';
const GOOD = /*          */ '02 00 0000 0000 0000 0000 0000';
const PARTIAL = /*       */ '01 00 0000 0000 1400 0600 0000';
const SUPER = /*         */ '01 05 1c00 7805 1400 0600 0000';
const SUPER6 = /*        */ '01 05 3000 e803 2800 0600 0000';

describeHere('the header that comes with a packet', () => {
  it.each([
    ['nothing to do', NOTHING, Checksum.full, 0],
    ['a checksum that was found right', GOOD, Checksum.good, 0],
    ['a checksum to be completed', PARTIAL, Checksum.partial, 0],
    ['a super-packet of 1400 bytes a datagram', SUPER, Checksum.partial, 1400],
    ['one of 1000 bytes in IPv6', SUPER6, Checksum.partial, 1000],
    ['TCPv4 that is to be cut, which is none of ours', '01 01 2800 b405 1400 1000 0000', Checksum.partial, 0],
    [
      'both flags: what is unfinished was not looked at',
      '03 00 0000 0000 1400 0600 0000',
      Checksum.partial,
      0,
    ],
  ])('is taken off: %s', (_, header, checksum, segment) => {
    const { view, list, bytes } = place(header);
    list.checksums[0] = 99;
    list.segments[0] = 99;
    const before = toHex(bytes);
    takeHeader(view, list, 0);
    expect(entry(list)).toEqual({ offset: AT + 12, length: 88, checksum, segment });
    expect(toHex(bytes)).toBe(before);
  });
});

describeHere('the header that goes with a packet', () => {
  it.each([
    ['nothing to do', Checksum.full, 0, 20, NOTHING],
    ['a right checksum, of which the kernel wants to hear nothing', Checksum.good, 0, 20, NOTHING],
    ['a checksum to be completed', Checksum.partial, 0, 20, PARTIAL],
    ['a checksum behind options', Checksum.partial, 0, 44, '01 00 0000 0000 2c00 0600 0000'],
    ['a super-packet of 1400 bytes a datagram', Checksum.partial, 1400, 20, SUPER],
    ['one of 1000 bytes in IPv6', Checksum.partial, 1000, 40, SUPER6],
  ])('is put in front: %s', (_, checksum, segment, transport, header) => {
    const { bytes, view, list } = place(NOTHING);
    bytes.fill(0xa5);
    list.offsets[0] = AT + 12;
    list.checksums[0] = checksum;
    list.segments[0] = segment;
    list.transports[0] = transport;
    putHeader(view, list, 0);
    expect(entry(list)).toEqual({ offset: AT, length: 112, checksum, segment });
    expect(toHex(bytes.slice(AT, AT + 12))).toBe(toHex(hex(header)));
    expect(toHex(bytes.slice(0, AT)) + toHex(bytes.slice(AT + 12))).toBe('a5'.repeat(188));
  });
});

describe('PacketList', () => {
  it('adds what is finished, whatever was there before', () => {
    const list = new PacketList(2);
    list.checksums.fill(Checksum.partial);
    list.segments.fill(1400);
    list.add(10, 1);
    list.add(20, 2);
    expect(list.count).toBe(2);
    expect([0, 1].map(i => entry(list, i))).toEqual([
      { offset: 10, length: 1, checksum: Checksum.full, segment: 0 },
      { offset: 20, length: 2, checksum: Checksum.full, segment: 0 },
    ]);
  });

  it('moves a packet with all that is known of it', () => {
    const list = new PacketList(3);
    for (const [i, array] of [list.offsets, list.lengths, list.transports, list.segments].entries())
      array.set([100 + i, 200 + i, 300 + i]);
    list.checksums.set([Checksum.full, Checksum.good, Checksum.partial]);
    list.move(2, 0);
    expect(entry(list)).toEqual({ offset: 300, length: 301, checksum: Checksum.partial, segment: 303 });
    expect(list.transports[0]).toBe(302);
    expect(entry(list, 1)).toEqual({ offset: 200, length: 201, checksum: Checksum.good, segment: 203 });
    expect(entry(list, 2)).toEqual({ offset: 300, length: 301, checksum: Checksum.partial, segment: 303 });
  });
});
