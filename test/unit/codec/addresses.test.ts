import { describe, expect, it } from 'vitest';
import {
  copyAddress,
  isMapped,
  readAddress4,
  readAddress6,
  sameAddress,
} from '../../../src/codec/addresses.js';
import { surrounded } from '../support/place.js';
import { address, int32 } from '../support/wire.js';

const ADDRESSES = [
  ...['0.0.0.0', '10.10.1.1', '127.255.255.255', '128.0.0.0', '255.255.255.255'],
  ...[
    '::',
    '::1',
    '::ffff:0:0:1',
    '2001:db8::7',
    'fd00:1:2:3:4:5:6:7',
    'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  ],
];

describe('addresses', () => {
  it.each(ADDRESSES)('readAddress4 and readAddress6 give four words: %s', text => {
    const bytes = address(text);
    const view = new DataView(surrounded(bytes, 3, 2));
    const words = new Int32Array(6).fill(7);
    if (bytes.length === 4) readAddress4(view, 3, words, 1);
    else readAddress6(view, 3, words, 1);
    expect([...words]).toEqual([7, ...int32(text), 7]);
  });

  it('isMapped is true of IPv4 addresses alone', () => {
    for (const text of ADDRESSES) expect(isMapped(int32('::', text), 4), text).toBe(!text.includes(':'));
    for (const text of [
      '::fffe:a0a:101',
      '::1:ffff:a0a:101',
      '0:1::ffff:a0a:101',
      '1::ffff:a0a:101',
      '::a0a:101',
    ])
      expect(isMapped(int32(text), 0), text).toBe(false);
  });

  it('sameAddress is true only if all four words are the same', () => {
    for (const one of ADDRESSES)
      for (const other of ADDRESSES)
        expect(sameAddress(int32('::', one), 4, int32(other), 0), `${one}, ${other}`).toBe(one === other);
    for (let i = 0; i < 4; i++) {
      const words = int32('2001:db8::7');
      words[i] ^= 0x80000000;
      expect(sameAddress(words, 0, int32('2001:db8::7'), 0), `word ${i}`).toBe(false);
    }
  });

  it('copyAddress copies four words and nothing else', () => {
    const to = new Int32Array(6).fill(7);
    copyAddress(int32('::', 'fd00:1:2:3:4:5:6:7'), 4, to, 1);
    expect([...to]).toEqual([7, ...int32('fd00:1:2:3:4:5:6:7'), 7]);
  });
});
