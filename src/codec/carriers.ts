/**
 * The carriers: how a mark travels. This is the only list of them, with their numbers, names and sizes; buffers and bit
 * fields elsewhere derive theirs from it. A new carrier begins here.
 */
import * as ipv4 from './ipv4.js';
import * as ipv6 from './ipv6.js';
import * as udp from './udp.js';
import * as uoa from './uoa.js';

/** Numbers by name. Flow records keep a carrier as its number. */
export const Carrier = { none: 0, ipo: 1, opp: 2, dstopt: 3 } as const;
export type Carrier = (typeof Carrier)[keyof typeof Carrier];
export type CarrierName = Exclude<keyof typeof Carrier, 'none'>;

/** In bytes, each with an IPv6 client's option, the larger one. */
interface Sizes {
  /** What a mark adds to a packet. */
  growth: number;
  /** A standalone, in the family of IP with the longer header that takes this carrier. */
  standalone: number;
}

const SIZES: Readonly<Record<CarrierName, Sizes>> = {
  ipo: sizes(Carrier.ipo, ipv4.MIN_HEADER),
  opp: sizes(Carrier.opp, ipv6.HEADER),
  dstopt: sizes(Carrier.dstopt, ipv6.HEADER),
};

function sizes(carrier: Carrier, ipHeader: number): Sizes {
  const growth = growthOf(carrier, uoa.OPTION_V6);
  return { growth, standalone: ipHeader + growth + udp.HEADER };
}

export interface CarrierEntry extends Sizes {
  name: CarrierName;
  number: Carrier;
}

export const CARRIER_NAMES = Object.keys(SIZES) as readonly CarrierName[];

export const CARRIERS: readonly CarrierEntry[] = CARRIER_NAMES.map(name => ({
  name,
  number: Carrier[name],
  ...SIZES[name],
}));

/** The most bytes that a mark adds to a packet, so that many have to be free in front of one. */
export const MAX_GROWTH = Math.max(...CARRIERS.map(({ growth }) => growth));

/** The largest standalone, in bytes. */
export const MAX_STANDALONE = Math.max(...CARRIERS.map(({ standalone }) => standalone));

/** Bits that a flow's record has for its carrier. */
export const CARRIER_BITS = 4;

for (const { name, number } of CARRIERS)
  if (number >= 1 << CARRIER_BITS)
    throw new Error(
      `carrier ${name}: its number ${number} has no room in ${CARRIER_BITS} bits (CARRIER_BITS)`,
    );

/** The name of the carrier with this number, `unknown` if there is none. */
export function carrierName(number: number): CarrierName | 'unknown' {
  return CARRIERS.find(carrier => carrier.number === number)?.name ?? 'unknown';
}

/** The carrier of IPv6 or IPv4 that a name means: `ipo` and `dstopt` are an option of IP's header, in either family. */
export function carrierOfFamily(name: CarrierName, v6: boolean): Carrier {
  if (name === 'opp') return Carrier.opp;
  return v6 ? Carrier.dstopt : Carrier.ipo;
}

/** What the header that carries an option of `option` bytes takes in front of UDP: 0 with `ipo`, a part of IP's. */
export function carrierLength(carrier: Carrier, option: number): number {
  if (carrier === Carrier.opp) return uoa.OPP_HEADER + option;
  return carrier === Carrier.dstopt ? uoa.dstoptLength(option) : 0;
}

/** What a mark whose option has `option` bytes adds to a packet. */
export function growthOf(carrier: Carrier, option: number): number {
  return carrier === Carrier.ipo ? option : carrierLength(carrier, option);
}

/** Writes the option for `client` at `offset` as this carrier has it, and gives its length in bytes. */
export function writeOption(view: DataView, offset: number, client: uoa.Client, carrier: Carrier): number {
  return carrier === Carrier.dstopt
    ? uoa.writeDstoptOption(view, offset, client)
    : uoa.writeOption(view, offset, client);
}
