/**
 * A change to the host as data, with what undoes it. Changes are made in order and undone in reverse.
 */
import type { OwnedTables } from './nft.js';

/** Arguments of `ip`. */
export type IpArguments = readonly string[];

export interface IpChange {
  kind: 'ip';
  up: IpArguments;
  /** Absent: it goes with the TUN. */
  down?: IpArguments;
}

export interface SysctlChange {
  kind: 'sysctl';
  key: string;
  value: string;
  /** Absent: it goes with the TUN. */
  before?: string;
}

/** Scripts of nft's, one transaction each. `up` puts our tables in the place of what is there under their names. */
export interface NftChange {
  kind: 'nft';
  up: string;
  down: string;
  /** The same table with `flags owner`: to go when the process does, however it ends. */
  owned?: OwnedTables;
}

/** The device itself: the process makes it, and it goes with the process. */
export interface TunChange {
  kind: 'tun';
  name: string;
}

export type Change = { reason: string } & (TunChange | IpChange | SysctlChange | NftChange);

/** The items without those whose key another one has: of several the last stays, in the place of the first. */
export function distinct<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map(item => [key(item), item])).values()];
}
