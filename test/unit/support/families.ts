/**
 * The same test in both families: it is written in IPv4's terms, and for IPv6 each address becomes its twin, an IPv6
 * address with the same numbers in it, and `ipo` becomes `dstopt`.
 *
 *     10.10.1.2      fd00:1::2
 *     10.20.3.4      fd00:20::3:4
 *     203.0.113.7    2001:db8:203::113:7
 */
import {
  address,
  addressText,
  type DatagramFields,
  datagram,
  destinationOption,
  destinationOptions,
  endpoint,
  hopByHop,
  option,
} from './wire.js';

export type Family = 4 | 6;

export const FAMILIES: readonly Family[] = [4, 6];

/** Both carriers of both families; `ipo` stands for the option, in whichever header. */
export const CARRIERS = [
  ['ipo', 4],
  ['opp', 4],
  ['ipo', 6],
  ['opp', 6],
] as const;

/** An IPv4 address, or one with its port, in a family. What is written as IPv6 stays. */
export function inFamily(family: Family, text: string): string {
  if (family === 4 || text.includes('[') || text.includes('::')) return text;
  if (!text.includes(':')) return twin(text);
  const { address: host, port } = endpoint(text);
  return `[${twin(host)}]:${port}`;
}

function twin(text: string): string {
  const [a, b, c, d] = text.split('.');
  if (a !== '10') return addressText(address(`2001:db8:${a}:${b}::${c}:${d}`));
  const network = text.startsWith('10.10.1.') ? '1::' : `${b}::${c}:`;
  return addressText(address(`fd00:${network}${d}`));
}

export interface FamilyFields extends Omit<DatagramFields, 'carrier'> {
  carrier?: 'ipo' | 'opp';
  /** A client as it stands here, instead of `client`. */
  named?: string;
}

/** What a header may have beside a mark: a router alert. */
export function alertIn(family: Family): Pick<DatagramFields, 'options' | 'extensions'> {
  return family === 4 ? { options: [0x94, 4, 0, 0] } : { extensions: [hopByHop([5, 2, 0, 0])] };
}

/** The mark as it stands in a carrier. */
export function markIn(family: Family, carrier: 'ipo' | 'opp', client: string): number[] {
  const named = inFamily(family, client);
  return carrier === 'ipo' && family === 6 ? destinationOption(named) : option(named);
}

/** A datagram in a family. */
export function datagramIn(family: Family, { named, ...fields }: FamilyFields): Uint8Array {
  const { carrier, mark, ...rest } = fields;
  if (family === 6 && carrier === 'ipo' && mark !== undefined) {
    const { client: _, extensions = [], ...others } = rest;
    return datagramIn(family, { ...others, extensions: [...extensions, destinationOptions(mark)] });
  }
  const client = named ?? (fields.client === undefined ? undefined : inFamily(family, fields.client));
  return datagram({
    ...rest,
    ...(mark === undefined ? {} : { mark }),
    ...(carrier === undefined ? {} : { carrier: carrier === 'ipo' && family === 6 ? 'dstopt' : carrier }),
    ...(client === undefined ? {} : { client }),
    from: inFamily(family, fields.from),
    to: inFamily(family, fields.to),
  });
}
