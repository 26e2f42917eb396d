import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holds, type Prefix, PrefixList } from '../../../src/flow/prefixes.js';
import { address, int32, prefix } from '../support/wire.js';

/** Bit by bit. */
function holdsSlowly(text: string, candidate: string): boolean {
  const [base, length] = text.split('/');
  if (base.includes(':') !== candidate.includes(':')) return false;
  const bits = (of: string) =>
    address(of)
      .map(byte => byte.toString(2).padStart(8, '0'))
      .join('')
      .slice(0, Number(length));
  return bits(base) === bits(candidate);
}

function match(list: PrefixList, text: string): number {
  // Not at the beginning of the array, and something else around it.
  return list.match(int32('1.2.3.4', text, '5.6.7.8'), 4);
}

describe('PrefixList', () => {
  it('an IPv4 prefix holds its first and last address and none beside them', () => {
    const list = new PrefixList([prefix('10.10.1.0/24'), prefix('192.0.2.128/25')]);
    for (const inside of ['10.10.1.0', '10.10.1.255', '192.0.2.128', '192.0.2.255'])
      expect(list.has(int32(inside), 0), inside).toBe(true);
    for (const outside of ['10.10.0.255', '10.10.2.0', '192.0.2.127', '192.0.3.0', '0.0.0.0'])
      expect(list.has(int32(outside), 0), outside).toBe(false);
  });

  it('an IPv6 prefix holds its first and last address and none beside them', () => {
    const list = new PrefixList(['2001:db8:1::/48', 'fd00:0:0:2:8000::/65', '2001:db8:2::7/128'].map(prefix));
    for (const inside of [
      '2001:db8:1::',
      '2001:db8:1:ffff:ffff:ffff:ffff:ffff',
      'fd00:0:0:2:8000::',
      'fd00::2:ffff:ffff:ffff:ffff',
      '2001:db8:2::7',
    ])
      expect(list.has(int32(inside), 0), inside).toBe(true);
    for (const outside of [
      '2001:db8:0:ffff::',
      '2001:db8:2::',
      'fd00::2:7fff:ffff:ffff:ffff',
      'fd00:0:0:3:8000::',
      '2001:db8:2::6',
      '2001:db8:2:0:1::7',
      '::',
    ])
      expect(list.has(int32(outside), 0), outside).toBe(false);
  });

  it('the longest of several IPv4 prefixes matches, by its position in the list', () => {
    const list = new PrefixList(['10.0.0.0/8', '10.10.1.7/32', '0.0.0.0/0', '10.10.0.0/16'].map(prefix));
    expect(match(list, '10.10.1.7')).toBe(1);
    expect(match(list, '10.10.1.8')).toBe(3);
    expect(match(list, '10.11.1.7')).toBe(0);
    expect(match(list, '255.1.1.1')).toBe(2);
  });

  it('the longest prefix of the address’s family matches, by its position in the list', () => {
    const list = new PrefixList(
      ['::/0', '0.0.0.0/0', '2001:db8::/32', '10.0.0.0/8', '2001:db8::7/128'].map(prefix),
    );
    expect(match(list, '2001:db8::7')).toBe(4);
    expect(match(list, '2001:db8::8')).toBe(2);
    expect(match(list, '2001:db9::8')).toBe(0);
    expect(match(list, '10.1.1.1')).toBe(3);
    expect(match(list, '11.1.1.1')).toBe(1);
  });

  it('host bits in a prefix don’t matter', () => {
    expect(match(new PrefixList([prefix('10.10.1.99/24')]), '10.10.1.1')).toBe(0);
    expect(match(new PrefixList([prefix('2001:db8::99/64')]), '2001:db8::1')).toBe(0);
  });

  it('an empty list holds no address', () => {
    expect(match(new PrefixList([]), '0.0.0.0')).toBe(-1);
    expect(match(new PrefixList([]), '::')).toBe(-1);
  });

  it('an IPv6 prefix holds no IPv4 address, whatever its words', () => {
    const list = new PrefixList(
      ['fd00:1::/64', '::/0', '::/1', '::/80', '::/95', '::a0a:101/128', '2001:db8::ffff:a0a:101/128'].map(
        prefix,
      ),
    );
    expect(match(list, '10.10.1.1')).toBe(-1);
    expect(match(list, '0.0.0.0')).toBe(-1);
    // Where the same prefixes do hold something.
    expect(match(list, '8000::')).toBe(1);
    expect(match(list, '::a0a:101')).toBe(5);
  });

  it('an IPv4 address matches its prefix behind a wide one of IPv6', () => {
    const list = new PrefixList(['::/0', '0.0.0.0/0'].map(prefix));
    expect(match(list, '10.10.1.1')).toBe(1);
    expect(match(list, '::1')).toBe(0);
  });

  it('an IPv4 prefix holds no IPv6 address', () => {
    const list = new PrefixList([prefix('0.0.0.0/0')]);
    for (const text of ['::', '::1', '::a0a:101', '2001:db8::ffff:a0a:101', '::1:ffff:a0a:101'])
      expect(match(list, text), text).toBe(-1);
  });
});

describe('PrefixList and holds', () => {
  const length = (max: number) => fc.nat(max);
  const text = fc.oneof(
    fc
      .tuple(
        fc.constantFrom('10.10.1.1', '10.10.1.2', '138.10.1.1', '255.255.255.255', '0.0.0.0'),
        length(32),
      )
      .map(([base, length]) => `${base}/${length}`),
    fc
      .tuple(
        fc.constantFrom('2001:db8::1', 'fd00:1:2:3:4:5:6:7', '::fffe:0:1', '::', 'ffff::ffff'),
        length(128),
      )
      .map(([base, length]) => `${base}/${length}`),
  );
  const candidate = fc.constantFrom(
    ...['10.10.1.1', '10.10.1.3', '10.138.1.1', '138.10.1.1', '255.255.255.254'],
    ...[
      '2001:db8::1',
      '2001:db8::8000:1',
      'fd00:1:2:3:4:5:6:6',
      'fd00:1:2:7::',
      '::1',
      '::fffe:0:1',
      '8000::',
    ],
  );

  it('PrefixList and holds agree with a comparison bit by bit', () => {
    fc.assert(
      fc.property(fc.array(text, { maxLength: 5 }), candidate, (texts, wanted) => {
        const position = match(new PrefixList(texts.map(prefix)), wanted);
        const matching = texts.filter(each => holdsSlowly(each, wanted));
        if (matching.length === 0) expect(position).toBe(-1);
        else {
          const longest = Math.max(...matching.map(each => Number(each.split('/')[1])));
          expect(matching).toContain(texts[position]);
          expect(Number(texts[position].split('/')[1])).toBe(longest);
        }
        const asWords = [...int32(wanted)];
        for (const each of texts)
          expect(holds(prefix(each) satisfies Prefix, asWords), each).toBe(holdsSlowly(each, wanted));
      }),
      { numRuns: 1000 },
    );
  });
});
