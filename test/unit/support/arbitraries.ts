/** What fast-check makes packets of. */
import fc from 'fast-check';
import { type Octets, payloadOf } from './wire.js';

export const port = fc.integer({ min: 0, max: 65535 });

/** Any IPv4 address, often one whose words are all ones or zeros, where ones-complement sums have their corners. */
export const ipv4Address = fc
  .tuple(...[0, 1, 2, 3].map(() => fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 255))))
  .map(bytes => bytes.join('.'));

export const ipv6Address = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 0xffff)), {
    minLength: 8,
    maxLength: 8,
  })
  .map(groups => groups.map(group => group.toString(16)).join(':'));

/** A client of either family as text, `address:port`. */
export const client = fc.oneof(
  fc.tuple(ipv4Address, port).map(([address, number]) => `${address}:${number}`),
  fc.tuple(ipv6Address, port).map(([address, number]) => `[${address}]:${number}`),
);

/** A payload of up to `max` bytes; made from its length and a seed, because byte by byte would take long. */
export function payload(max = 1500): fc.Arbitrary<number[]> {
  const length = fc.oneof(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max }));
  return fc
    .tuple(length, fc.integer({ min: 1, max: 2 ** 30 }))
    .map(([bytes, seed]) => payloadOf(bytes, seed));
}

/** Well-formed IP options that aren't marks, `max` bytes at most, filled up to whole words with END or NOP. */
export function otherOptions(max: number, fillers: readonly number[] = [0, 1]): fc.Arbitrary<number[]> {
  const nop = fc.constant([1]);
  const valued = fc
    .tuple(
      fc.integer({ min: 2, max: 255 }).filter(code => code !== 31),
      fc.uint8Array({ maxLength: 10 }),
    )
    .map(([code, data]) => [code, data.length + 2, ...data]);
  return fc
    .tuple(fc.array(fc.oneof(nop, valued), { maxLength: 6 }), fc.constantFrom(...fillers))
    .map(([options, filler]) => {
      const bytes: number[] = [];
      for (const option of options) if (bytes.length + option.length <= max) bytes.push(...option);
      while (bytes.length % 4 !== 0) bytes.push(filler);
      return bytes;
    });
}

export interface Header {
  source: string;
  destination: string;
  tos: number;
  ttl: number;
  id: number;
  dontFragment: boolean;
}

export const header: fc.Arbitrary<Header> = fc.record({
  source: ipv4Address,
  destination: ipv4Address,
  tos: fc.integer({ min: 0, max: 255 }),
  ttl: fc.integer({ min: 0, max: 255 }),
  id: port,
  dontFragment: fc.boolean(),
});

/** Bytes that are anything at all. */
export const noise: fc.Arbitrary<Octets> = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  // Begins like IPv4 and says so about protocol and length, so that the deeper code is reached.
  fc
    .tuple(
      fc.uint8Array({ minLength: 20, maxLength: 120 }),
      fc.constantFrom(17, 248),
      fc.integer({ min: 5, max: 15 }),
    )
    .map(([bytes, protocol, words]) => {
      bytes[0] = 0x40 + words;
      bytes[2] = 0;
      bytes[3] = bytes.length;
      bytes[6] = 0;
      bytes[7] = 0;
      bytes[9] = protocol;
      return bytes;
    }),
);
