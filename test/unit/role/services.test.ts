import { expect, it } from 'vitest';
import { ServiceList } from '../../../src/role/services.js';
import { words } from '../support/wire.js';

const list = new ServiceList([
  { words: words('10.10.1.2'), from: 53, to: 53 },
  { words: words('fd00:1::a0a:109'), from: 53, to: 53 },
  { words: words('10.10.1.2'), from: 7000, to: 7010 },
  { words: words('10.10.1.3'), from: 0, to: 65535 },
  { words: words('fd00:1::3'), from: 7005, to: 7005 },
]);

/** An address where it is not the first thing in its array. */
const at4 = (address: string) => [Int32Array.from([9, ...words(address)]), 1] as const;

it('a service has each port of its range and no other', () => {
  for (const port of [53, 7000, 7005, 7010])
    expect(list.has(...at4('10.10.1.2'), port), `${port}`).toBe(true);
  for (const port of [0, 52, 54, 6999, 7011, 65535])
    expect(list.has(...at4('10.10.1.2'), port), `${port}`).toBe(false);
  for (const port of [0, 1, 53, 65535]) expect(list.has(...at4('10.10.1.3'), port), `${port}`).toBe(true);
});

it('the address of a service is known whatever the port', () => {
  expect(list.hasAddress(...at4('10.10.1.2'))).toBe(true);
  expect(list.hasAddress(...at4('fd00:1::a0a:109'))).toBe(true);
  for (const other of [
    '10.10.1.4',
    'fd00:1::a0a:108',
    'fd00:2::a0a:109',
    'fd01:1::a0a:109',
    'fd00:1::1:a0a:109',
  ])
    expect(list.hasAddress(...at4(other)), other).toBe(false);
  expect(list.has(...at4('10.10.1.4'), 53)).toBe(false);
});

it('services keep their order', () => {
  expect(list.count).toBe(5);
  const addresses = [0, 1, 2, 3, 4].map(i => [...list.addresses.subarray(list.addressAt(i)).subarray(0, 4)]);
  expect(addresses).toEqual(
    ['10.10.1.2', 'fd00:1::a0a:109', '10.10.1.2', '10.10.1.3', 'fd00:1::3'].map(text => [
      ...Int32Array.from(words(text)),
    ]),
  );
  expect([list.hasPort(2, 7000), list.hasPort(2, 53)]).toEqual([true, false]);
});

it('the end of an IPv6 address is not taken for an IPv4 address', () => {
  expect(list.hasAddress(...at4('10.10.1.9'))).toBe(false);
  expect(list.hasAddress(...at4('fd00:1::a0a:102'))).toBe(false);
});

it.each([
  ['10.10.1.2', 53, 1],
  ['10.10.1.2', 7005, 4],
  ['10.10.1.3', 7004, -1],
  ['fd00:1::3', 53, 0],
  ['fd00:1::3', 7005, 2],
  ['fd00:1::3', 54, 3],
  ['192.0.2.1', 53, 1],
])(
  'the partner of %s for port %i is the first service of the other family with it: %i',
  (address, port, partner) => {
    expect(list.partner(...at4(address), port)).toBe(partner);
  },
);
