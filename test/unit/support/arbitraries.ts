/** What fast-check makes packets of. */

import fc from 'fast-check';
import type { CarrierName } from '../../../src/codec/carriers.js';
import {
  type DatagramFields,
  destinationOptions,
  type Extension,
  fragmentHeader,
  hopByHop,
  type Octets,
  payloadOf,
  routing,
} from './wire.js';

export const port = fc.integer({ min: 0, max: 65535 });

/** Any IPv4 address, often one whose words are all ones or zeros, where ones-complement sums have their corners. */
export const ipv4Address = fc
  .tuple(...[0, 1, 2, 3].map(() => fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0, 255))))
  .map(bytes => bytes.join('.'));

/** Any IPv6 address but those that stand for IPv4 ones. */
export const ipv6Address = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.constantFrom(0, 0xffff)), {
    minLength: 8,
    maxLength: 8,
  })
  .map(groups => groups.map(group => group.toString(16)).join(':'))
  .filter(text => !/^(0:){5}ffff:/.test(text));

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

/** Well-formed destination options that aren't marks, `max` bytes at most. */
export function otherOptions6(max: number): fc.Arbitrary<number[]> {
  const one = fc
    .tuple(
      fc.integer({ min: 0, max: 255 }).filter(code => code !== 31),
      fc.uint8Array({ maxLength: 10 }),
    )
    .map(([code, data]) => (code === 0 ? [0] : [code, data.length, ...data]));
  return fc.array(one, { maxLength: 5 }).map(options => {
    const bytes: number[] = [];
    for (const option of options) if (bytes.length + option.length <= max) bytes.push(...option);
    return bytes;
  });
}

/** Any extension headers that a whole datagram may have, none of them with a mark. */
export const extensions: fc.Arbitrary<Extension[]> = fc.array(
  fc.oneof(
    otherOptions6(30).map(hopByHop),
    otherOptions6(30).map(destinationOptions),
    fc.constant(routing()),
    fc.integer({ min: 0, max: 0xffffffff }).map(id => fragmentHeader(0, false, id)),
  ),
  { maxLength: 3 },
);

/** An IPv4 datagram without a mark, up to `options` bytes of options in it; its UDP checksum right, or none. */
export function datagram4(options: number): fc.Arbitrary<DatagramFields> {
  return fc
    .record({
      header,
      fromPort: port,
      toPort: port,
      payload: payload(),
      options: otherOptions(options),
      hasChecksum: fc.boolean(),
    })
    .map(({ header: { source, destination, ...rest }, fromPort, toPort, hasChecksum, ...others }) => ({
      ...rest,
      ...others,
      from: `${source}:${fromPort}`,
      to: `${destination}:${toPort}`,
      ...(hasChecksum ? {} : { udpChecksum: 0 }),
    }));
}

/** An IPv6 datagram without a mark, with extension headers of any kind. */
export const datagram6: fc.Arbitrary<DatagramFields> = fc
  .record({
    source: ipv6Address,
    destination: ipv6Address,
    fromPort: port,
    toPort: port,
    payload: payload(),
    extensions,
    tos: fc.integer({ min: 0, max: 255 }),
    ttl: fc.integer({ min: 0, max: 255 }),
    flow: fc.integer({ min: 0, max: 0xfffff }),
  })
  .map(({ source, destination, fromPort, toPort, ...others }) => ({
    ...others,
    from: `[${source}]:${fromPort}`,
    to: `[${destination}]:${toPort}`,
  }));

/** A datagram of either family with a mark to go into it; `opp` in IPv6 has no extension headers. */
export const toBeMarked: fc.Arbitrary<{ fields: DatagramFields; carrier: CarrierName }> = fc.oneof(
  fc.record({ fields: datagram4(20), carrier: fc.constantFrom('ipo' as const, 'opp' as const) }),
  fc.record({ fields: datagram6, carrier: fc.constant('dstopt' as const) }),
  fc.record({
    fields: datagram6.map(fields => ({ ...fields, extensions: [] })),
    carrier: fc.constant('opp' as const),
  }),
);

/** Bytes that are anything at all. */
export const noise: fc.Arbitrary<Octets> = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  // The same for IPv6: headers that lead to others, most of them short.
  fc
    .tuple(
      fc.uint8Array({ minLength: 40, maxLength: 160 }),
      fc.array(fc.constantFrom(0, 17, 43, 44, 58, 60, 60, 248), { minLength: 1, maxLength: 8 }),
      fc.array(fc.constantFrom(0, 0, 1, 2, 255), { minLength: 8, maxLength: 8 }),
    )
    .map(([bytes, numbers, lengths]) => {
      bytes[0] = 0x60;
      bytes[4] = 0;
      bytes[5] = bytes.length - 40;
      bytes[6] = numbers[0];
      for (let i = 1, at = 40; i < numbers.length && at + 1 < bytes.length; i++) {
        bytes[at] = numbers[i];
        if (numbers[i - 1] !== 44) bytes[at + 1] = lengths[i];
        at += 8 * (numbers[i - 1] === 44 ? 1 : lengths[i] + 1);
      }
      return bytes;
    }),
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
