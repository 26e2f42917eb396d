/** A change to the host as data, with what undoes it. Changes are made in order and undone in reverse. */
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
  value: string;
  /** Absent: it goes with the TUN. */
  before?: string;
}

/** Scripts for nft, one transaction each. `up` puts our tables in the place of what is there under their names. */
export interface NftChange {
  kind: 'nft';
  /** The ids of the tables, such as `table ip uoa_uoa0`. */
  tables: readonly string[];
  up: string;
  down: string;
  /** The same tables with `flags owner`: to go when the process does, however it ends. */
  owned?: OwnedTables;
}

/** The device itself: the process makes it, and it goes with the process. */
export interface TunChange {
  kind: 'tun';
  name: string;
}

/** Two changes with the same key are about the same thing, in whatever words (keys.ts). A setting's key is its name. */
export type Change = { key: string; reason: string } & (TunChange | IpChange | SysctlChange | NftChange);

/** The items without those whose key another one has: of several the last stays, in the place of the first. */
export function distinct<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map(item => [key(item), item])).values()];
}
