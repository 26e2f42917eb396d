import { expect, it } from 'vitest';
import { isImpossible4, isImpossible6 } from '../../src/role/clients.js';
import { viewOf } from './support/place.js';
import { address, word } from './support/wire.js';

it.each([
  '0.0.0.0',
  '0.255.255.255',
  '127.0.0.0',
  '127.0.0.1',
  '127.255.255.255',
  '224.0.0.0',
  '224.0.0.1',
  '239.255.255.255',
  '255.255.255.255',
])('%s is nobody', text => {
  expect(isImpossible4(word(text))).toBe(true);
});

it.each([
  '1.0.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '223.255.255.255',
  '10.0.0.1',
  '169.254.1.1',
  '203.0.113.7',
])('%s may be a client', text => {
  expect(isImpossible4(word(text))).toBe(false);
});

it.each(['::', '::1', 'ff00::', 'ff02::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'])(
  '%s is nobody',
  text => {
    expect(isImpossible6(viewOf(address(text)), 0)).toBe(true);
  },
);

it.each(['::2', '1::', '0:1::', '0:0:0:1::', '0:0:0:0:1::1', '2001:db8::7', 'fe80::1', 'fe00::'])(
  '%s may be a client',
  text => {
    expect(isImpossible6(viewOf(address(text)), 0)).toBe(false);
  },
);
