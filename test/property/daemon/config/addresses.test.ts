import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readPrefix, readUnicast, withLength } from '../../../../src/daemon/config/addresses.js';

const group = fc.oneof(fc.constant(0), fc.nat(0xffff), fc.constantFrom(1, 0xffff, 0xfe80, 0xff02, 0x2001));

/** Eight groups as text: each padded with zeros or not, in either case, and now and then with `::` somewhere. */
const spelled = fc
  .record({
    groups: fc.array(group, { minLength: 8, maxLength: 8 }),
    padding: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 8, maxLength: 8 }),
    upper: fc.boolean(),
    from: fc.nat(8),
    to: fc.nat(8),
  })
  .map(({ groups, padding, upper, from, to }) => {
    const elided = from < to && groups.slice(from, to).every(value => value === 0);
    const texts = groups.map((value, i) => value.toString(16).padStart(padding[i], '0'));
    const text = elided ? `${texts.slice(0, from).join(':')}::${texts.slice(to).join(':')}` : texts.join(':');
    return upper ? text.toUpperCase() : text;
  });

const ipv6 = fc.oneof(spelled, fc.ipV6());

/** URLs have IPv6 addresses in their one spelling. */
function oneSpelling(text: string): string {
  return new URL(`http://[${text}]/`).hostname.slice(1, -1);
}

/** An address as a number, from its one spelling. */
function bitsOf(text: string): bigint {
  const [head, tail] = oneSpelling(text)
    .split('::')
    .map(part => part.split(':').filter(digits => digits !== ''));
  const last = tail ?? [];
  const zeros: string[] = Array(8 - head.length - last.length).fill('0');
  return [...head, ...zeros, ...last].reduce((sum, digits) => (sum << 16n) | BigInt(`0x${digits}`), 0n);
}

function isUnicast(text: string): boolean {
  const bits = bitsOf(text);
  const mapped = bits >> 32n === 0xffffn;
  return bits >> 32n !== 0n && !mapped && bits >> 118n !== 0xfe80n >> 6n && bits >> 120n !== 0xffn;
}

/** NAT64's addresses are what the IPv4 address in them is. */
const isNat64 = (text: string) => bitsOf(text) >> 32n === 0x64_ff9bn << 64n;

test('an IPv6 address comes out in its one spelling if it is unicast, and is refused otherwise', () => {
  fc.assert(
    fc.property(ipv6, text => {
      fc.pre(!isNat64(text));
      expect(readUnicast(text)).toBe(isUnicast(text) ? oneSpelling(text) : undefined);
      expect(withLength(text)).toBe(`${oneSpelling(text)}/128`);
    }),
    { numRuns: 2000 },
  );
});

test('an IPv6 prefix comes out in its one spelling, and is refused if it has bits behind its length', () => {
  fc.assert(
    fc.property(ipv6, fc.nat(128), (text, length) => {
      fc.pre(!isNat64(text));
      const bits = bitsOf(text);
      const isRouted = bits >> 32n !== 0xffffn && bits >> 118n !== 0xfe80n >> 6n;
      const isWhole = bits % (1n << BigInt(128 - length)) === 0n;
      expect(readPrefix(`${text}/${length}`)).toBe(
        isRouted && isWhole ? `${oneSpelling(text)}/${length}` : undefined,
      );
    }),
    { numRuns: 2000 },
  );
});

test('an address in its one spelling stays as it is when it is read again', () => {
  fc.assert(
    fc.property(fc.oneof(ipv6, fc.ipV4()), text => {
      const address = readUnicast(text);
      fc.pre(address !== undefined);
      expect(readUnicast(address)).toBe(address);
      expect(readPrefix(address)).toBe(withLength(text));
    }),
  );
});

test('any text is an address or undefined', () => {
  const near = fc.string({ unit: fc.constantFrom(...':./%f0189 '), maxLength: 20 });
  fc.assert(
    fc.property(fc.oneof(near, fc.string({ unit: 'binary' })), text => {
      for (const read of [readUnicast, readPrefix]) expect(typeof read(text)).toMatch(/string|undefined/);
    }),
    { numRuns: 1000 },
  );
});
