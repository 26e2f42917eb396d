import { expect, it } from 'vitest';
import { ServiceList } from '../../src/role/services.js';
import { word, words } from './support/wire.js';

const list = new ServiceList([
  { words: words('10.10.1.2'), from: 53, to: 53 },
  { words: words('fd00:1::a0a:109'), from: 53, to: 53 },
  { words: words('10.10.1.2'), from: 7000, to: 7010 },
  { words: words('10.10.1.3'), from: 0, to: 65535 },
]);

it('has each port of a range, and no other', () => {
  for (const port of [53, 7000, 7005, 7010]) expect(list.has4(word('10.10.1.2'), port), `${port}`).toBe(true);
  for (const port of [0, 52, 54, 6999, 7011, 65535])
    expect(list.has4(word('10.10.1.2'), port), `${port}`).toBe(false);
  for (const port of [0, 1, 53, 65535]) expect(list.has4(word('10.10.1.3'), port), `${port}`).toBe(true);
});

it('has addresses whatever the port', () => {
  expect(list.hasAddress4(word('10.10.1.2'))).toBe(true);
  expect(list.hasAddress4(word('10.10.1.4'))).toBe(false);
  expect(list.has4(word('10.10.1.4'), 53)).toBe(false);
});

it('keeps the order of the IPv4 ones', () => {
  expect(list.count).toBe(3);
  expect([0, 1, 2].map(i => list.address4(i))).toEqual(['10.10.1.2', '10.10.1.2', '10.10.1.3'].map(word));
  expect([list.hasPort(1, 7000), list.hasPort(1, 53)]).toEqual([true, false]);
});

it('takes the end of an IPv6 address for no IPv4 one', () => {
  expect(list.hasAddress4(word('10.10.1.9'))).toBe(false);
});
