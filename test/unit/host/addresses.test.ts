import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  formatAddress,
  formatEndpoint,
  parseAddress,
  parseEndpoint,
  parsePrefix,
} from '../../../src/host/addresses.js';
import { familyOf } from '../../../src/host/family.js';

test('text of addresses and prefixes is parsed to words', () => {
  expect(parseAddress('10.0.0.1')).toEqual([0, 0, 0xffff, 0x0a000001]);
  expect(parseAddress('255.255.255.255')).toEqual([0, 0, 0xffff, -1]);
  expect(parseAddress('2001:db8::7')).toEqual([0x20010db8, 0, 0, 7]);
  expect(parsePrefix('10.10.1.0/24')).toEqual({ words: [0, 0, 0xffff, 0x0a0a0100], length: 120 });
  expect(parsePrefix('fd00:1::/64').length).toBe(64);
});

test('the family is found by the text', () => {
  expect(['10.0.0.1', '10.0.0.0/8', 'fd00::1', '::/0'].map(familyOf)).toEqual([4, 4, 6, 6]);
});

test('words of either family are formatted to text that parses to the same words', () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6());
  fc.assert(
    fc.property(address, fc.nat(65535), (text, port) => {
      const words = parseAddress(text);
      expect(parseAddress(formatAddress(words))).toEqual(words);
      expect(parseEndpoint(formatEndpoint(words, port))).toEqual({ words, port });
    }),
  );
});

test('text that is no endpoint parses to undefined', () => {
  for (const text of [
    '',
    '10.0.0.1',
    '10.0.0.1:',
    '10.0.0.1:65536',
    '10.0.0.256:1',
    '10.0.0.0/8:1',
    '::1:5',
    '[::1]',
  ])
    expect(parseEndpoint(text), text).toBeUndefined();
});
