/** Addresses between configuration text and the four 32-bit words that the packet code works with. */
import { Address4, Address6 } from 'ip-address';
import { isMapped, MAPPED, MAPPED_PREFIX_BITS } from '../codec/addresses.js';
import type { Prefix } from '../flow/prefixes.js';
import { familyOf } from './family.js';

/** An address or prefix such as 10.0.0.0/8 as words; a bare address has the full length. */
export function parsePrefix(text: string): Prefix {
  if (familyOf(text) === 6) {
    const address = new Address6(text);
    return { words: words6(address), length: address.subnetMask };
  }
  const address = new Address4(text);
  return { words: words4(address), length: address.subnetMask + MAPPED_PREFIX_BITS };
}

/** An address as words, IPv4 as ::ffff:a.b.c.d. */
export function parseAddress(text: string): number[] {
  return [...parsePrefix(text).words];
}

/** Words as text. */
export function formatAddress(words: readonly number[]): string {
  if (isMapped(words, 0)) return [24, 16, 8, 0].map(shift => (words[3] >>> shift) & 0xff).join('.');
  const groups = words.flatMap(word => [word >>> 16, word & 0xffff]);
  return new Address6(groups.map(group => group.toString(16)).join(':')).correctForm();
}

/** Words and a port as `a.b.c.d:port` or `[v6]:port`. */
export function formatEndpoint(words: readonly number[], port: number): string {
  const address = formatAddress(words);
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `a.b.c.d:port` or `[v6]:port`; undefined if it isn't one. */
export function parseEndpoint(text: string): { words: number[]; port: number } | undefined {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:]+)):(?<port>\d{1,5})$/.exec(text);
  const address = match?.groups?.v6 ?? match?.groups?.v4;
  const port = Number(match?.groups?.port);
  if (address === undefined || port > 65535) return undefined;
  if (address.includes('/') || !(Address4.isValid(address) || Address6.isValid(address))) return undefined;
  return { words: parseAddress(address), port };
}

function words4(address: Address4): number[] {
  const [a, b, c, d] = address.toArray();
  return [0, 0, MAPPED, (a << 24) | (b << 16) | (c << 8) | d | 0];
}

function words6(address: Address6): number[] {
  const bytes = address.toUnsignedByteArray();
  const padded = [...Array(16 - bytes.length).fill(0), ...bytes] as number[];
  return [0, 4, 8, 12].map(
    i => (padded[i] << 24) | (padded[i + 1] << 16) | (padded[i + 2] << 8) | padded[i + 3] | 0,
  );
}
