import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PrefixList } from '../../src/flow/prefixes.js';
import { address, prefix, word } from './support/wire.js';

/** Bit by bit. */
function holds(text: string, candidate: string): boolean {
  const [base, length] = text.split('/');
  const bits = (of: string) =>
    address(of)
      .map(byte => byte.toString(2).padStart(8, '0'))
      .join('')
      .slice(0, Number(length));
  return bits(base) === bits(candidate);
}

describe('PrefixList', () => {
  it('holds what is inside, to both ends', () => {
    const list = new PrefixList([prefix('10.10.1.0/24'), prefix('192.0.2.128/25')]);
    for (const inside of ['10.10.1.0', '10.10.1.255', '192.0.2.128', '192.0.2.255'])
      expect(list.has4(word(inside)), inside).toBe(true);
    for (const outside of ['10.10.0.255', '10.10.2.0', '192.0.2.127', '192.0.3.0', '0.0.0.0'])
      expect(list.has4(word(outside)), outside).toBe(false);
  });

  it('takes the longest, and says where it stood', () => {
    const list = new PrefixList(['10.0.0.0/8', '10.10.1.7/32', '0.0.0.0/0', '10.10.0.0/16'].map(prefix));
    expect(list.match4(word('10.10.1.7'))).toBe(1);
    expect(list.match4(word('10.10.1.8'))).toBe(3);
    expect(list.match4(word('10.11.1.7'))).toBe(0);
    expect(list.match4(word('255.1.1.1'))).toBe(2);
  });

  it('does not mind host bits in a prefix', () => {
    expect(new PrefixList([prefix('10.10.1.99/24')]).has4(word('10.10.1.1'))).toBe(true);
  });

  it('an empty one holds nothing', () => {
    expect(new PrefixList([]).match4(0)).toBe(-1);
  });

  it('a prefix of IPv6 holds no IPv4 address, whatever its words', () => {
    const list = new PrefixList(
      ['fd00:1::/64', '::/0', '::a0a:101/128', '2001:db8::ffff:a0a:101/128'].map(prefix),
    );
    expect(list.match4(word('10.10.1.1'))).toBe(-1);
  });

  it('agrees with a comparison bit by bit', () => {
    const text = fc
      .tuple(
        fc.constantFrom('10.10.1.1', '10.10.1.2', '138.10.1.1', '255.255.255.255', '0.0.0.0'),
        fc.nat(32),
      )
      .map(([base, length]) => `${base}/${length}`);
    const candidate = fc.constantFrom(
      '10.10.1.1',
      '10.10.1.3',
      '10.138.1.1',
      '138.10.1.1',
      '255.255.255.254',
    );
    fc.assert(
      fc.property(fc.array(text, { maxLength: 5 }), candidate, (texts, wanted) => {
        const position = new PrefixList(texts.map(prefix)).match4(word(wanted));
        const matching = texts.filter(each => holds(each, wanted));
        if (matching.length === 0) expect(position).toBe(-1);
        else {
          const longest = Math.max(...matching.map(each => Number(each.split('/')[1])));
          expect(matching).toContain(texts[position]);
          expect(Number(texts[position].split('/')[1])).toBe(longest);
        }
      }),
      { numRuns: 500 },
    );
  });
});
