/**
 * A list of address prefixes, matched longest first: a linear walk, for the handful that a configuration has.
 */

/** An address prefix: four 32-bit words (IPv4 as ::ffff:a.b.c.d) and a length of 0 to 128 bits. */
export interface Prefix {
  words: readonly number[];
  /** For IPv4 the prefix length plus 96. */
  length: number;
}

const IPV4_BITS = 96;

export class PrefixList {
  private readonly networks4: Int32Array;
  private readonly masks4: Int32Array;
  /** Where each stood in the list that the constructor was given. */
  private readonly positions4: Int32Array;

  constructor(prefixes: readonly Prefix[]) {
    const longestFirst = prefixes
      .map((prefix, position) => ({ prefix, position }))
      .filter(({ prefix }) => prefix.length >= IPV4_BITS && isIpv4(prefix.words))
      .sort((a, b) => b.prefix.length - a.prefix.length);
    this.masks4 = Int32Array.from(longestFirst, ({ prefix }) => mask4(prefix.length - IPV4_BITS));
    this.networks4 = Int32Array.from(longestFirst, ({ prefix }, i) => prefix.words[3] & this.masks4[i]);
    this.positions4 = Int32Array.from(longestFirst, ({ position }) => position);
  }

  /** The position of the longest prefix that holds an IPv4 address (a 32-bit word), or -1. */
  match4(address: number): number {
    const { networks4, masks4 } = this;
    for (let i = 0; i < networks4.length; i++)
      if ((address & masks4[i]) === networks4[i]) return this.positions4[i];
    return -1;
  }

  has4(address: number): boolean {
    return this.match4(address) >= 0;
  }
}

/** Whether four words are an IPv4 address, ::ffff:a.b.c.d. */
export function isIpv4(words: readonly number[]): boolean {
  return words[0] === 0 && words[1] === 0 && words[2] === 0xffff;
}

/** Whether an address of either family, four words, lies in a prefix. */
export function holds({ words, length }: Prefix, address: readonly number[]): boolean {
  return words.every((word, i) => {
    const bits = Math.min(32, Math.max(0, length - i * 32));
    return ((word ^ address[i]) & mask4(bits)) === 0;
  });
}

function mask4(bits: number): number {
  return bits === 0 ? 0 : -1 << (32 - bits);
}
