import { describe, expect, it } from 'vitest';
import {
  applyChange,
  applyUdpChange,
  complement,
  fold,
  longChange,
  sumWords,
  wordChange,
} from '../../../src/codec/checksum.js';
import { surrounded } from '../support/place.js';
import { checksum, hex, payloadOf } from '../support/wire.js';

describe('sumWords, fold and complement', () => {
  const fillings: [string, (length: number) => number[]][] = [
    ['mixed bytes', length => payloadOf(length, 7)],
    ['zeros', length => new Array<number>(length).fill(0)],
    ['ones', length => new Array<number>(length).fill(0xff)],
  ];

  it.each(fillings)(
    'sumWords agrees with the slow sum at every length up to 200 and every start: %s',
    (_, bytesOf) => {
      for (let length = 0; length <= 200; length++) {
        const bytes = bytesOf(length);
        for (let start = 0; start < 4; start++) {
          const view = new DataView(surrounded(bytes, start, 3));
          expect(complement(sumWords(view, start, start + length)), `${length} bytes at ${start}`).toBe(
            checksum(bytes),
          );
        }
      }
    },
  );

  it('sumWords goes on from the sum it is given', () => {
    const bytes = payloadOf(61);
    const view = new DataView(surrounded(bytes));
    for (let cut = 0; cut <= 60; cut += 2)
      expect(complement(sumWords(view, cut, 61, sumWords(view, 0, cut)))).toBe(checksum(bytes));
  });

  it('sumWords holds the largest packet, all ones', () => {
    const bytes = new Uint8Array(65535).fill(0xff);
    expect(complement(sumWords(new DataView(bytes.buffer), 0, 65535, 0xffff))).toBe(0x00ff);
  });

  it('sumWords reads nothing outside its range', () => {
    for (let length = 0; length <= 9; length++)
      expect(() => sumWords(new DataView(new ArrayBuffer(length)), 0, length)).not.toThrow();
  });

  it('sumWords gives the sum of RFC 1071, section 3', () => {
    const bytes = hex('0001 f203 f4f5 f6f7');
    expect(fold(sumWords(new DataView(surrounded(bytes)), 0, 8))).toBe(0xddf2);
  });

  it('fold brings any accumulator to 16 bits, and only 0 to 0', () => {
    expect(fold(0)).toBe(0);
    expect(fold(0xffff)).toBe(0xffff);
    expect(fold(0x10000)).toBe(1);
    expect(fold(0x1fffe)).toBe(0xffff);
    expect(fold(0xffff_ffff)).toBe(0xffff);
  });
});

describe('changes', () => {
  it('applyChange gives the example of RFC 1624, section 4', () => {
    expect(applyChange(0xdd2f, wordChange(0x5555, 0x3285))).toBe(0x0000);
  });

  it('longChange takes signed and unsigned words alike', () => {
    expect(longChange(-1, 0)).toBe(longChange(0xffff_ffff, 0));
    expect(longChange(0, -2)).toBe(longChange(0, 0xffff_fffe));
  });

  it('a change by nothing leaves the checksum as it was', () => {
    for (const sum of [0x0000, 0x0001, 0x8000, 0xfffe])
      expect(applyChange(sum, longChange(0x1234_5678, 0x1234_5678))).toBe(sum);
  });

  it('applyUdpChange keeps a checksum of 0, and never makes one', () => {
    for (const [before, after] of [
      [0, 0],
      [0, 0xffff],
      [0xffff, 0],
      [0x1234, 0xfedc],
    ]) {
      const change = wordChange(before, after);
      expect(applyUdpChange(0, change)).toBe(0);
      for (let sum = 1; sum <= 0xffff; sum++) if (applyUdpChange(sum, change) === 0) expect.fail(`${sum}`);
    }
  });

  it('applyUdpChange gives 0xffff where the checksum comes out as 0', () => {
    expect(applyChange(0x0001, wordChange(0, 1))).toBe(0);
    expect(applyUdpChange(0x0001, wordChange(0, 1))).toBe(0xffff);
  });
});
