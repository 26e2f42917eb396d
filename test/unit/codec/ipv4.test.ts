import { describe, expect, it } from 'vitest';
import * as ipv4 from '../../../src/codec/ipv4.js';
import { BROKEN, NONE } from '../../../src/codec/units.js';
import { surrounded, viewOf } from '../support/place.js';
import { datagram, hex, type Octets, toHex } from '../support/wire.js';

function find(bytes: Octets, kind = 31): number {
  return ipv4.findOption(viewOf(bytes), 0, bytes.length, kind);
}

describe('findOption', () => {
  it('findOption gives NONE for no bytes', () => {
    expect(find([])).toBe(NONE);
  });

  it('findOption finds an option at the start, behind NOPs and behind others', () => {
    expect(find(hex('1f 08 15b3 cb007107'))).toBe(0);
    expect(find(hex('01 01 01 1f 08 15b3 cb007107 00'))).toBe(3);
    expect(find(hex('94 04 0000 1f 08 15b3 cb007107'))).toBe(4);
    expect(find(hex('44 02 01 44 02 1f 08 15b3 cb007107 01 00'))).toBe(5);
  });

  it('findOption finds the first of several options', () => {
    expect(find(hex('01 1f 04 0001 1f 04 0002'))).toBe(1);
  });

  it('findOption stops at END', () => {
    expect(find(hex('00 1f 08 15b3 cb007107 00 00 00'))).toBe(NONE);
    expect(find(hex('01 94 04 0000 00 1f 02'))).toBe(NONE);
  });

  it('findOption takes no option for another', () => {
    expect(find(hex('94 04 1f 08'))).toBe(NONE);
    expect(find(hex('9f 08 15b3 cb007107'))).toBe(NONE);
    expect(find(hex('1f 08 15b3 cb007107'), 148)).toBe(NONE);
  });

  it('findOption gives BROKEN where a length is missing, below 2 or past the end', () => {
    expect(find(hex('1f'))).toBe(BROKEN);
    expect(find(hex('01 94'))).toBe(BROKEN);
    expect(find(hex('94 00 1f 08 15b3 cb007107'))).toBe(BROKEN);
    expect(find(hex('94 01 1f 08 15b3 cb007107'))).toBe(BROKEN);
    expect(find(hex('94 05 00 00'))).toBe(BROKEN);
    expect(find(hex('1f 09 15b3 cb007107'))).toBe(BROKEN);
  });

  it('findOption finds an option in front of a broken one', () => {
    expect(find(hex('1f 08 15b3 cb007107 94 09 00 00'))).toBe(0);
  });

  it('findOption takes exactly the lengths that fit', () => {
    for (let room = 2; room <= 40; room++) {
      for (let length = 0; length <= 255; length++) {
        const bytes = [31, length, ...new Array<number>(room - 2).fill(1)];
        expect(find(bytes), `${length} in ${room}`).toBe(length >= 2 && length <= room ? 0 : BROKEN);
        const other = [7, length, ...new Array<number>(room - 2).fill(1)];
        expect(find(other), `another, ${length} in ${room}`).toBe(
          length >= 2 && length <= room ? NONE : BROKEN,
        );
      }
    }
  });

  it('findOption reads nothing outside its range', () => {
    const view = new DataView(surrounded(hex('01 1f 08 15b3 cb007107'), 4, 4));
    expect(ipv4.findOption(view, 4, 13, 31)).toBe(5);
    expect(ipv4.findOption(view, 4, 12, 31)).toBe(BROKEN);
    expect(ipv4.findOption(view, 4, 6, 31)).toBe(BROKEN);
    expect(ipv4.findOption(view, 4, 5, 31)).toBe(NONE);
  });
});

describe('writeHeaderChecksum', () => {
  it('writeHeaderChecksum gives the checksum at every header length, whatever stood in the field', () => {
    for (let words = 0; words <= 10; words++) {
      const options = new Array<number>(words * 4).fill(1);
      const packet = datagram({ from: '192.0.2.1:1', to: '192.0.2.2:2', options });
      const changed = Uint8Array.from(packet);
      changed[10] = 0xa5;
      changed[11] = 0xa5;
      ipv4.writeHeaderChecksum(new DataView(changed.buffer), 0, 20 + words * 4);
      expect(toHex(changed)).toBe(toHex(packet));
    }
  });

  it('writeHeaderChecksum writes its two bytes alone', () => {
    const packet = datagram({ from: '192.0.2.1:1', to: '192.0.2.2:2', payload: [1, 2, 3] });
    const buffer = surrounded(packet, 5, 5);
    const before = toHex(new Uint8Array(buffer));
    ipv4.writeHeaderChecksum(new DataView(buffer), 5, 20);
    expect(toHex(new Uint8Array(buffer))).toBe(before);
  });
});
