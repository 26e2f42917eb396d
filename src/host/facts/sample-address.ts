/** An address to ask the routes or the firewall about, in place of a whole prefix. */
import { type Prefix, PrefixList } from '../../flow/prefixes.js';
import { formatAddress } from '../addresses.js';

/** Bits that may count up without leaving the last word. */
const MOST_HOST_BITS = 31;

/** An address of a prefix that a host can have: neither the network address nor one of `except`. */
export function sampleAddress({ words, length }: Prefix, except: readonly Prefix[]): string {
  const exceptions = new PrefixList(except);
  const hostBits = Math.min(128 - length, MOST_HOST_BITS);
  const first = hostBits < 2 ? 0 : 1;
  const last = Math.min(2 ** hostBits - 1, first + except.length);
  for (let host = first; host <= last; host++) {
    const address = [...words.slice(0, 3), (words[3] + host) | 0];
    if (!exceptions.has(address, 0)) return formatAddress(address);
  }
  return formatAddress(words);
}
