/**
 * A change to the host as data, with what undoes it. Changes are made in order and undone in reverse.
 */

import { interfaceKey } from '../sysctl.js';
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

export interface TunOptions {
  name: string;
  /** a.b.c.d/length */
  address: string;
}

const LARGEST_MTU = 65535;
/** Packets that wait for the process while it is busy: 25 ms at 300,000 a second. The default of 500 is 2 ms. */
const QUEUE_PACKETS = 8192;

/** The changes that make the TUN ready; they go with it. */
export function tunDevice(tun: TunOptions, hasIpv6: boolean, carriesIpv6: boolean): Change[] {
  const changes: Change[] = [
    { kind: 'tun', name: tun.name, reason: 'the TUN device' },
    {
      kind: 'sysctl',
      key: interfaceKey(tun.name, 'rp_filter'),
      value: '2',
      reason: 'clients are anywhere: packets from the TUN need a route back, not this very one',
    },
    {
      kind: 'ip',
      up: ['-4', 'address', 'add', tun.address, 'dev', tun.name],
      reason: 'without an address on it, rp_filter would drop what comes from the TUN',
    },
  ];
  if (carriesIpv6)
    changes.push({
      kind: 'sysctl',
      key: interfaceKey(tun.name, 'disable_ipv6', 6),
      value: '0',
      reason: 'IPv6 comes from the TUN, even where new interfaces are made without it',
    });
  if (hasIpv6)
    changes.push({
      kind: 'ip',
      up: ['link', 'set', 'dev', tun.name, 'addrgenmode', 'none'],
      reason: 'no router solicitations of its own',
    });
  changes.push({
    kind: 'ip',
    up: [
      ...['link', 'set', 'dev', tun.name, 'mtu', `${LARGEST_MTU}`],
      ...['txqueuelen', `${QUEUE_PACKETS}`, 'up'],
    ],
    reason: 'any size passes, and a burst finds room',
  });
  return changes;
}

/** The first of the items with each key. */
export function distinct<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...new Map(items.map(item => [key(item), item])).values()];
}
