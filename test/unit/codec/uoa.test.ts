import { describe, expect, it } from 'vitest';
import { BROKEN, NONE } from '../../../src/codec/units.js';
import * as uoa from '../../../src/codec/uoa.js';
import { surrounded, viewOf } from '../support/place.js';
import { hex, type Octets, padding, toHex, words } from '../support/wire.js';

const V4 = hex('1f 08 15b3 cb007107');
const V6 = hex('1f 14 15b3 20010db8000000000000000000000007');

function findMark(bytes: Octets): number {
  return uoa.findMark(viewOf(bytes), 0, bytes.length);
}

function oppLength(bytes: Octets): number {
  return uoa.oppLength(viewOf(bytes), 0, bytes.length);
}

describe('findMark', () => {
  it('findMark finds the golden options', () => {
    expect(findMark(V4)).toBe(0);
    expect(findMark(V6)).toBe(0);
    expect(findMark([1, 1, ...V6])).toBe(2);
    expect(findMark([148, 4, 0, 0, ...V4, 0, 0, 0, 0])).toBe(4);
  });

  it('findMark gives BROKEN for lengths other than 8 and 20', () => {
    for (let length = 0; length <= 40; length++) {
      const bytes = [31, length, ...new Array<number>(38).fill(1)];
      expect(findMark(bytes), `length ${length}`).toBe(length === 8 || length === 20 ? 0 : BROKEN);
    }
  });

  it('findMark gives BROKEN behind a broken option', () => {
    expect(findMark([148, 1, ...V4])).toBe(BROKEN);
    expect(findMark([148, 200, ...V4])).toBe(BROKEN);
  });

  it('findMark gives BROKEN for a mark that is cut anywhere', () => {
    for (const option of [V4, V6])
      for (let length = 1; length < option.length; length++)
        expect(findMark(option.slice(0, length)), `${length} bytes`).toBe(BROKEN);
  });

  it('findMark gives NONE among other options and behind END', () => {
    expect(findMark([])).toBe(NONE);
    expect(findMark([1, 1, 1, 0])).toBe(NONE);
    expect(findMark([0, ...V4])).toBe(NONE);
  });
});

describe('findMark6', () => {
  const D4 = hex('1f 06 15b3 cb007107');
  const D6 = hex('1f 12 15b3 20010db8000000000000000000000007');

  /** Among the options of a header in the middle of others: where from the first of them. */
  function findMark6(options: number[]): number {
    const header = [17, (options.length + 2) / 8 - 1, ...options];
    const at = uoa.findMark6(new DataView(surrounded(header, 3, 0)), 3);
    return at < 0 ? at : at - 5;
  }

  it('findMark6 finds the golden options', () => {
    expect(findMark6([...D4, ...padding(6)])).toBe(0);
    expect(findMark6([...D6, ...padding(2)])).toBe(0);
    expect(findMark6([...padding(2), ...D6])).toBe(2);
    expect(findMark6([0, 0, ...D6])).toBe(2);
    expect(findMark6([...hex('1e04c0ffee00'), ...D4])).toBe(6);
  });

  it('findMark6 gives BROKEN for data lengths other than 6 and 18', () => {
    for (let length = 0; length <= 255; length++) {
      const options = [31, length, ...new Array<number>(28).fill(0)];
      expect(findMark6(options), `data length ${length}`).toBe(length === 6 || length === 18 ? 0 : BROKEN);
    }
  });

  it('findMark6 gives BROKEN behind a broken option', () => {
    expect(findMark6([30, 29, ...D4, ...padding(14)])).toBe(BROKEN);
    expect(findMark6([...D4.slice(0, 6)])).toBe(BROKEN);
    expect(findMark6([...padding(5), 31])).toBe(BROKEN);
  });

  it('findMark6 gives NONE among other options', () => {
    expect(findMark6(padding(6))).toBe(NONE);
    expect(findMark6([0, 0, 0, 0, 0, 0])).toBe(NONE);
    expect(findMark6(hex('1e04 1f060000'))).toBe(NONE);
    // Not the same option: the highest bits say what to do with one that is not known.
    expect(findMark6([0x9f, 6, ...D4.slice(2), ...padding(6)])).toBe(NONE);
  });
});

describe('oppLength', () => {
  it('oppLength takes the golden headers', () => {
    expect(oppLength([...hex('10 11 00 0c'), ...V4])).toBe(12);
    expect(oppLength([...hex('20 11 00 18'), ...V6])).toBe(24);
  });

  it('oppLength takes every length from a bare header to all there is, and no other', () => {
    for (let room = 0; room <= 44; room++) {
      for (let length = 0; length <= 50; length++) {
        const bytes = [...hex('10 11 00'), length, ...new Array<number>(40).fill(1)].slice(0, room);
        expect(oppLength(bytes), `${length} in ${room}`).toBe(
          room >= 4 && length >= 4 && length <= room ? length : 0,
        );
      }
    }
  });

  it('oppLength reads both bytes of the length', () => {
    expect(oppLength([...hex('10 11 01 0c'), ...V4])).toBe(0);
    expect(oppLength([...hex('10 11 01 00'), ...new Array<number>(252).fill(1)])).toBe(256);
    expect(oppLength([...hex('10 11 ff ff'), ...V4])).toBe(0);
  });

  it('oppLength takes versions 1 and 2 alone, whatever the reserved bits say', () => {
    for (let version = 0; version < 16; version++)
      for (let low = 0; low < 16; low++)
        expect(oppLength([version * 16 + low, 17, 0, 12, ...V4])).toBe(
          version === 1 || version === 2 ? 12 : 0,
        );
  });

  it('oppLength takes UDP alone as next protocol', () => {
    for (let next = 0; next < 256; next++)
      expect(oppLength([0x10, next, 0, 12, ...V4])).toBe(next === 17 ? 12 : 0);
  });

  it('oppLength reads nothing outside its range', () => {
    const view = new DataView(surrounded([...hex('10 11 00 0c'), ...V4], 3, 8));
    expect(uoa.oppLength(view, 3, 15)).toBe(12);
    expect(uoa.oppLength(view, 3, 14)).toBe(0);
    expect(uoa.oppLength(view, 3, 6)).toBe(0);
  });
});

describe('writing', () => {
  it('writeOption writes the golden options', () => {
    for (const [v6, address, bytes] of [
      [false, '203.0.113.7', V4],
      [true, '2001:db8::7', V6],
    ] as const) {
      const buffer = new ArrayBuffer(24);
      new Uint8Array(buffer).fill(0xa5);
      const client = { v6, words: words(address), port: 5555 };
      expect(uoa.writeOption(new DataView(buffer), 2, client)).toBe(bytes.length);
      expect(toHex(new Uint8Array(buffer))).toBe(`a5a5${toHex(bytes)}${'a5'.repeat(22 - bytes.length)}`);
    }
  });

  it('writeOppHeader writes the golden headers', () => {
    const view = viewOf(new Array<number>(8).fill(0xa5));
    uoa.writeOppHeader(view, 0, 8);
    uoa.writeOppHeader(view, 4, 20);
    expect(toHex(new Uint8Array(view.buffer))).toBe('1011000c20110018');
  });

  it.each([
    ['IPv6', '2001:db8::7', '1102 1f12 15b3 20010db8000000000000000000000007 0100'],
    ['IPv4', '203.0.113.7', '1101 1f06 15b3 cb007107 0104 00000000'],
  ])(
    'writeDstoptHeader and writeDstoptOption write the golden header of an %s client',
    (_, address, golden) => {
      const bytes = hex(golden);
      const view = new DataView(surrounded(new Array<number>(bytes.length).fill(0xa5), 3, 5));
      const client = { v6: address.includes(':'), words: words(address), port: 5555 };
      const length = uoa.writeDstoptOption(view, 5, client);
      uoa.writeDstoptHeader(view, 3, length);
      expect(uoa.dstoptLength(length)).toBe(bytes.length);
      expect(toHex(new Uint8Array(view.buffer))).toBe(`a5a5a5${toHex(bytes)}a5a5a5a5a5`);
    },
  );

  it('writeOption takes words of any sign', () => {
    const view = viewOf(new Array<number>(8).fill(0xa5));
    const client = { v6: false, words: Int32Array.of(0, 0, 0xffff, -2), port: 65535 };
    uoa.writeOption(view, 0, client);
    expect(toHex(new Uint8Array(view.buffer))).toBe('1f08fffffffffffe');
  });
});
