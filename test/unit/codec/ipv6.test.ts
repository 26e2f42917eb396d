import { describe, expect, it } from 'vitest';
import * as ipv6 from '../../../src/codec/ipv6.js';
import { BROKEN, NONE } from '../../../src/codec/units.js';
import { surrounded, viewOf } from '../support/place.js';
import { hex, type Octets, padding, toHex } from '../support/wire.js';

function find(bytes: Octets, kind = 31): number {
  return ipv6.findOption(viewOf(bytes), 0, bytes.length, kind);
}

describe('findOption', () => {
  it('findOption gives NONE for no bytes and for padding', () => {
    for (let length = 0; length < 8; length++) expect(find(padding(length))).toBe(NONE);
    expect(find([0, 0, 0, 1, 0, 1, 1, 31])).toBe(NONE);
  });

  it('findOption finds an option at the start, behind padding and behind others', () => {
    expect(find(hex('1f 06 15b3 cb007107'))).toBe(0);
    expect(find(hex('00 00 00 1f 06 15b3 cb007107 00'))).toBe(3);
    expect(find(hex('01 02 0000 1f 06 15b3 cb007107'))).toBe(4);
    expect(find(hex('1e 00 00 1e 00 1f 06 15b3 cb007107'))).toBe(5);
  });

  it('findOption finds the first of several options, and one without data', () => {
    expect(find(hex('00 1f 02 0001 1f 02 0002'))).toBe(1);
    expect(find(hex('1f 00'))).toBe(0);
  });

  it('findOption goes on behind Pad1, whose number is IPv4’s END', () => {
    expect(find(hex('00 1f 00'))).toBe(1);
  });

  it('findOption takes no option for another', () => {
    expect(find(hex('1e 02 1f 00'))).toBe(NONE);
    expect(find(hex('9f 00'))).toBe(NONE);
  });

  it('findOption gives BROKEN where a length is missing or past the end', () => {
    expect(find([31])).toBe(BROKEN);
    expect(find([0, 1])).toBe(BROKEN);
    expect(find([1, 1])).toBe(BROKEN);
    expect(find([30, 3, 31, 0])).toBe(BROKEN);
  });

  it('findOption finds an option in front of a broken one', () => {
    expect(find(hex('1f 00 1e 09 00'))).toBe(0);
  });

  it('findOption takes exactly the lengths that fit', () => {
    for (let room = 2; room <= 40; room++)
      for (let length = 0; length <= 255; length++) {
        const rest = new Array<number>(room - 2).fill(0);
        const isInside = length + 2 <= room;
        expect(find([31, length, ...rest]), `${length} in ${room}`).toBe(isInside ? 0 : BROKEN);
        expect(find([30, length, ...rest]), `another, ${length} in ${room}`).toBe(isInside ? NONE : BROKEN);
      }
  });

  it('findOption reads nothing outside its range', () => {
    const view = new DataView(surrounded(hex('00 1f 06 15b3 cb007107'), 4, 4));
    expect(ipv6.findOption(view, 4, 13, 31)).toBe(5);
    expect(ipv6.findOption(view, 4, 12, 31)).toBe(BROKEN);
    expect(ipv6.findOption(view, 4, 6, 31)).toBe(BROKEN);
    expect(ipv6.findOption(view, 4, 5, 31)).toBe(NONE);
  });
});

describe('padding', () => {
  const option = hex('1e04c0ffee00');

  it.each([
    ['none', [], 0],
    ['all', [0, ...padding(3), 0], 0],
    ['none behind another option', option, 6],
    ['behind another option', [...option, 0, ...padding(4)], 6],
    ['behind the last of several', [...padding(2), ...option, ...padding(5), ...option, 0], 19],
  ])('paddingBefore gives where the padding before an option begins: %s', (_, bytes, expected) => {
    const view = new DataView(surrounded([...bytes, 31, 0], 3, 0));
    expect(ipv6.paddingBefore(view, 3, 3 + bytes.length)).toBe(3 + expected);
  });

  it.each([
    ['none', [], 0],
    ['all', [0, ...padding(3), 0], 5],
    ['none before another option', option, 0],
    ['before another option', [0, ...padding(4), ...option, 0], 5],
    ['not what reaches past the end', [0, 0, 1, 7, 0, 0], 2],
    ['not what has no length', [0, 0, 1], 2],
  ])('paddingBehind gives where the padding behind an option ends: %s', (_, bytes, expected) => {
    const view = viewOf([9, 9, 9, ...bytes]);
    expect(ipv6.paddingBehind(view, 3, 3 + bytes.length)).toBe(3 + expected);
  });

  it('writePadding writes Pad1 or one PadN', () => {
    for (let length = 0; length <= 7; length++) {
      const view = new DataView(surrounded(new Array<number>(length).fill(0xa5), 2, 2));
      ipv6.writePadding(view, 2, length);
      expect(toHex(new Uint8Array(view.buffer))).toBe(`a5a5${toHex(padding(length))}a5a5`);
    }
  });
});

describe('extensionLength', () => {
  it('extensionLength counts units of 8 bytes, the first included', () => {
    for (let units = 0; units <= 255; units++)
      expect(ipv6.extensionLength(viewOf([9, 17, units]), 1)).toBe(8 * (units + 1));
  });
});
