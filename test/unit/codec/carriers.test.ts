import { describe, expect, it, test } from 'vitest';
import {
  CARRIER_BITS,
  CARRIER_NAMES,
  CARRIERS,
  Carrier,
  carrierLength,
  carrierName,
  carrierOfFamily,
  MAX_GROWTH,
  MAX_STANDALONE,
} from '../../../src/codec/carriers.js';
import { insertMark } from '../../../src/codec/marks.js';
import { writeStandalone } from '../../../src/codec/standalone.js';
import { load, surrounded } from '../support/place.js';
import { datagram, words } from '../support/wire.js';

describe('the list of carriers', () => {
  it('the list has every carrier but `none`', () => {
    expect([...CARRIER_NAMES]).toEqual(Object.keys(Carrier).filter(name => name !== 'none'));
    for (const { name, number } of CARRIERS) expect(number).toBe(Carrier[name]);
  });

  it('the numbers of carriers are distinct and fit into CARRIER_BITS', () => {
    const numbers = CARRIERS.map(({ number }) => number as number);
    expect(new Set(numbers).size).toBe(numbers.length);
    for (const number of numbers) expect(number).toBeLessThan(1 << CARRIER_BITS);
  });
});

describe.each(CARRIERS.map(entry => [entry.name, entry] as const))('%s', (name, entry) => {
  const client = { v6: true, words: words('2001:db8::7'), port: 5555 };
  const ends = {
    4: { from: '10.10.1.1:1025', to: '10.10.2.1:53' },
    6: { from: '[fd00::1]:1025', to: '[fd00::2]:53' },
  };
  const families = ([4, 6] as const).filter(family => carrierOfFamily(name, family === 6) === entry.number);

  it('insertMark adds as many bytes as the list says', () => {
    for (const family of families) {
      const packet = load(datagram({ ...ends[family], payload: [1] }), MAX_GROWTH);
      const { start } = packet;
      insertMark(packet, entry.number, client);
      expect(start - packet.start).toBe(entry.growth);
    }
    expect(entry.growth).toBeLessThanOrEqual(MAX_GROWTH);
  });

  it('writeStandalone’s largest packet has as many bytes as the list says', () => {
    const lengths = families.map(family => {
      const packet = load(datagram(ends[family]));
      const out = new DataView(surrounded([], 0, MAX_STANDALONE));
      return writeStandalone(packet, entry.number, client, out, 0);
    });
    expect(Math.max(...lengths)).toBe(entry.standalone);
    expect(entry.standalone).toBeLessThanOrEqual(MAX_STANDALONE);
  });
});

test('the largest growth and standalone are those of opp in IPv6', () => {
  expect([MAX_GROWTH, MAX_STANDALONE]).toEqual([24, 72]);
});

test('a number becomes the name of its carrier, and `unknown` where there is none', () => {
  expect([0, 1, 2, 3, 4, 255].map(carrierName)).toEqual([
    'unknown',
    'ipo',
    'opp',
    'dstopt',
    'unknown',
    'unknown',
  ]);
});

test('ipo and dstopt both mean the option of the packet’s own family', () => {
  for (const name of ['ipo', 'dstopt'] as const) {
    expect(carrierOfFamily(name, false)).toBe(Carrier.ipo);
    expect(carrierOfFamily(name, true)).toBe(Carrier.dstopt);
  }
  for (const v6 of [false, true]) expect(carrierOfFamily('opp', v6)).toBe(Carrier.opp);
});

test('each carrier takes its own header in front of UDP, ipo none', () => {
  const { ipo, opp, dstopt } = Carrier;
  const lengths = [ipo, opp, dstopt].map(carrier => [8, 20].map(option => carrierLength(carrier, option)));
  expect(lengths).toEqual([
    [0, 0],
    [12, 24],
    [16, 24],
  ]);
});
