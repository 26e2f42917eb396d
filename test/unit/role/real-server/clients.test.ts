import { expect, it } from 'vitest';
import { isImpossible } from '../../../../src/role/real-server/clients.js';
import { words } from '../../support/wire.js';

/** The address is not the first thing in its array, and one that is impossible comes before it. */
const isImpossibleText = (text: string, v6 = text.includes(':')) =>
  isImpossible(Int32Array.from([0, 0, 0, 1, ...words(text)]), 4, v6);

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
])('no client can have %s', text => {
  expect(isImpossibleText(text)).toBe(true);
});

it.each([
  '1.0.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '223.255.255.255',
  '10.0.0.1',
  '169.254.1.1',
  '203.0.113.7',
])('a client can have %s', text => {
  expect(isImpossibleText(text)).toBe(false);
});

it.each([
  '::',
  '::1',
  'ff00::',
  'ff02::1',
  'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  'fe80::',
  'fe80::1',
  'febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
  '::ffff:0:0',
  '::ffff:cb00:7107',
])('no client can have %s', text => {
  expect(isImpossibleText(text)).toBe(true);
});

it.each([
  '::2',
  '1::',
  '0:1::',
  '0:0:0:1::',
  '0:0:0:0:1::1',
  '::1:0:1',
  '::fffe:cb00:7107',
  '::1:ffff:cb00:7107',
  '2001:db8::7',
  'fe00::',
  'fe7f::1',
  'fec0::1',
  'feff::1',
  'fd00::1',
])('a client can have %s', text => {
  expect(isImpossibleText(text)).toBe(false);
});

it('an IPv4 address can be a client’s only if the mark has it as one', () => {
  expect([isImpossibleText('203.0.113.7', false), isImpossibleText('203.0.113.7', true)]).toEqual([
    false,
    true,
  ]);
});
