/** nftables rules as text: tables, chains, and the transactions that put them in place. */

import type { Family } from '../family.js';

/** nft's words for what the families call differently. */
export interface Dialect {
  family: Family;
  /** Of tables and of addresses. */
  ip: 'ip' | 'ip6';
  /** In tables of the family netdev, which see both. */
  only: string;
  /** What has options at all, which other marks may be among; and what may have one of a shim's. */
  options: string;
  mark: string;
  moreThanOneHop: string;
  /** What may hold UDP for a real server: both carriers, all fragments. */
  carried: readonly string[];
  /** ICMP errors, and nothing else of ICMP. */
  errors: string;
  /** An ICMP error "too big", and of which quoted packets: those with a mark in either carrier. */
  tooBigForMark: string;
  tooBigForOpp: string;
  /** `fwd` wants a neighbour; on a TUN, which has none, any address does. */
  anyNeighbour: string;
}

const UOA_OPTION = '0x1f';

export const DIALECTS: Readonly<Record<Family, Dialect>> = {
  4: {
    family: 4,
    ip: 'ip',
    only: 'meta protocol ip',
    options: 'ip hdrlength > 5',
    mark: `ip hdrlength > 5 @nh,160,8 ${UOA_OPTION}`,
    moreThanOneHop: 'ip ttl > 1',
    carried: ['ip protocol { 17, 248 }'],
    errors: 'icmp type { 3, 11, 12 }',
    tooBigForMark: `icmp type 3 icmp code 4 @th,68,4 > 5 @th,224,8 ${UOA_OPTION}`,
    tooBigForOpp: 'icmp type 3 icmp code 4 @th,136,8 248',
    anyNeighbour: '192.0.2.253',
  },
  6: {
    family: 6,
    ip: 'ip6',
    only: 'meta protocol ip6',
    options: 'exthdr dst exists',
    mark: 'exthdr dst exists',
    moreThanOneHop: 'ip6 hoplimit > 1',
    // Of what has a mark in front of UDP, later fragments are fragments of destination options.
    carried: ['meta l4proto { 17, 248 }', 'frag nexthdr 60'],
    errors: 'icmpv6 type { 1, 2, 3, 4 }',
    tooBigForMark: 'icmpv6 type 2 @th,112,8 60',
    tooBigForOpp: 'icmpv6 type 2 @th,112,8 248',
    anyNeighbour: '2001:db8::253',
  },
};

/** The statement that takes a packet into the TUN, and passes by one that is gone. */
export function intoTun(tun: string, { ip, anyNeighbour }: Dialect): string {
  return `fwd ${ip} to ${anyNeighbour} device ${quote(tun)}`;
}

export interface Table {
  id: string;
  text: string;
}

export function table(family: string, tableName: string, chains: readonly string[]): Table {
  const id = `table ${family} ${tableName}`;
  return { id, text: `${id} {\n${chains.join('\n')}\n}` };
}

export function chain(chainName: string, hook: string, rules: readonly string[]): string {
  const lines = [`${hook}; policy accept;`, ...rules].map(line => `\t\t${line}`);
  return `\tchain ${chainName} {\n${lines.join('\n')}\n\t}`;
}

/** Tables that are to go with the process that makes them. */
export interface OwnedTables {
  /** The first one's id, which stands for all of them. */
  id: string;
  tables: readonly Table[];
}

/** The same tables twice: as transactions that make and unmake ordinary ones, and as owned ones. */
export function owned(tables: readonly Table[]): NftScripts & { owned: OwnedTables } {
  const flagged = tables.map(({ id, text }) => ({ id, text: text.replace('{\n', '{\n\tflags owner\n') }));
  return { ...both(tables), owned: { id: tables[0].id, tables: flagged } };
}

/** A script as a line, for one that reads line by line. */
export function oneLine(script: string): string {
  return script
    .split('\n')
    .map(line => line.trim())
    .join(' ; ');
}

/** What a change to tables says for nft. */
export interface NftScripts {
  key: string;
  tables: readonly string[];
  up: string;
  down: string;
}

/** One transaction that puts tables in the place of whatever was there under their names; and one to take them away. */
export function both(tables: readonly Table[]): NftScripts {
  const away = tables.flatMap(({ id }) => [id, `delete ${id}`]);
  return {
    key: tables[0].id,
    tables: tables.map(({ id }) => id),
    up: [...away, ...tables.map(({ text }) => text)].join('\n'),
    down: away.join('\n'),
  };
}

/** Part of a table's name: an interface may be called anything. */
export function name(interfaceName: string): string {
  return interfaceName.replaceAll(/[^\w.-]/g, '_');
}

export function quote(text: string): string {
  return `"${text}"`;
}

export function set(items: readonly string[]): string {
  return `{ ${items.join(', ')} }`;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
