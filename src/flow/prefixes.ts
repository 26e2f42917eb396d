/** Address prefixes, the longest matched first. A configuration has a handful of them, so the list is walked. */
import { ADDRESS_WORDS, isMapped, MAPPED_PREFIX_BITS } from '../codec/addresses.js';
import { NONE, type WordIndex } from '../codec/units.js';

/** An address prefix: four 32-bit words (IPv4 as ::ffff:a.b.c.d) and a length of 0 to 128 bits. */
export interface Prefix {
  words: readonly number[];
  /** For IPv4 the prefix length plus MAPPED_PREFIX_BITS. */
  length: number;
}

export class PrefixList {
  /** Four words each, longest prefix first. */
  private readonly networks: Int32Array;
  private readonly masks: Int32Array;
  /** The position of each in the list that the constructor was given. */
  private readonly positions: Int32Array;
  /** Whether each is an IPv6 prefix so short that mapped IPv4 addresses would lie in it. */
  private readonly isWide: boolean[];

  constructor(prefixes: readonly Prefix[]) {
    const longestFirst = prefixes
      .map((prefix, position) => ({ prefix, position }))
      .sort((a, b) => b.prefix.length - a.prefix.length);
    this.masks = Int32Array.from(longestFirst.flatMap(({ prefix }) => maskWords(prefix.length)));
    const words = longestFirst.flatMap(({ prefix }) => [...prefix.words]);
    this.networks = Int32Array.from(words, (word, i) => word & this.masks[i]);
    this.positions = Int32Array.from(longestFirst, ({ position }) => position);
    this.isWide = longestFirst.map(({ prefix }) => prefix.length < MAPPED_PREFIX_BITS);
  }

  /** The position of the longest prefix that holds the address at `at` in `words`, or NONE. */
  match(words: ArrayLike<number>, at: WordIndex): number {
    const { networks, masks } = this;
    for (let i = 0; i < networks.length; i += ADDRESS_WORDS) {
      // The last word first: in it two IPv4 addresses differ.
      if ((words[at + 3] & masks[i + 3]) !== networks[i + 3]) continue;
      if ((words[at] & masks[i]) !== networks[i]) continue;
      if ((words[at + 1] & masks[i + 1]) !== networks[i + 1]) continue;
      if ((words[at + 2] & masks[i + 2]) !== networks[i + 2]) continue;
      if (this.isWide[i / ADDRESS_WORDS] && isMapped(words, at)) continue;
      return this.positions[i / ADDRESS_WORDS];
    }
    return NONE;
  }

  has(words: ArrayLike<number>, at: WordIndex): boolean {
    return this.match(words, at) !== NONE;
  }
}

/** Whether an address of either family, four words, lies in a prefix. */
export function holds({ words, length }: Prefix, address: readonly number[]): boolean {
  if (length < MAPPED_PREFIX_BITS && isMapped(address, 0)) return false;
  return maskWords(length).every((mask, i) => ((words[i] ^ address[i]) & mask) === 0);
}

/** The mask of a prefix of `length` bits, as four words. */
function maskWords(length: number): number[] {
  return Array.from({ length: ADDRESS_WORDS }, (_, i) => {
    const bits = Math.min(32, Math.max(0, length - i * 32));
    return bits === 0 ? 0 : -1 << (32 - bits);
  });
}
