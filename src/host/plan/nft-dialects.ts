/** What the two families call differently in nftables. Each text is a match, unless it says otherwise. */
import type { Family } from '../family.js';
import { quote } from './nft.js';

export interface Dialect {
  family: Family;
  /** The name of the family, for tables and addresses. */
  ip: 'ip' | 'ip6';
  /** Packets of this family. Tables of the family netdev see both. */
  ofFamily: string;
  /** Packets that have options where a shim puts its mark. */
  options: string;
  /** Packets that may have a mark among their options. */
  mark: string;
  /** Gives a packet one hop more if it has only one: a match and a statement. */
  anotherHop: string;
  /** Packets that may hold UDP for a real server: both carriers, and all fragments. Each is a match of its own. */
  carried: readonly string[];
  /** ICMP errors, and no other ICMP. */
  errors: string;
  /** ICMP errors "too big" about a packet that has a mark as an option. */
  tooBigForMark: string;
  /** ICMP errors "too big" about a packet of the carrier opp. */
  tooBigForOpp: string;
  /** An address. `fwd` asks for a neighbour. A TUN has none, so any address will do. */
  anyNeighbour: string;
}

const UOA_OPTION = '0x1f';

export const DIALECTS: Readonly<Record<Family, Dialect>> = {
  4: {
    family: 4,
    ip: 'ip',
    ofFamily: 'meta protocol ip',
    options: 'ip hdrlength > 5',
    mark: `ip hdrlength > 5 @nh,160,8 ${UOA_OPTION}`,
    anotherHop: 'ip ttl 1 ip ttl set 2',
    carried: ['ip protocol { 17, 248 }'],
    errors: 'icmp type { 3, 11, 12 }',
    tooBigForMark: `icmp type 3 icmp code 4 @th,68,4 > 5 @th,224,8 ${UOA_OPTION}`,
    tooBigForOpp: 'icmp type 3 icmp code 4 @th,136,8 248',
    anyNeighbour: '192.0.2.253',
  },
  6: {
    family: 6,
    ip: 'ip6',
    ofFamily: 'meta protocol ip6',
    options: 'exthdr dst exists',
    mark: 'exthdr dst exists',
    anotherHop: 'ip6 hoplimit 1 ip6 hoplimit set 2',
    // If a mark stands in front of UDP, later fragments are fragments of destination options.
    carried: ['meta l4proto { 17, 248 }', 'frag nexthdr 60'],
    errors: 'icmpv6 type { 1, 2, 3, 4 }',
    tooBigForMark: 'icmpv6 type 2 @th,112,8 60',
    tooBigForOpp: 'icmpv6 type 2 @th,112,8 248',
    anyNeighbour: '2001:db8::253',
  },
};

/** The statement that takes a packet into the TUN. If there is no such TUN, the packet goes on as if it were not there. */
export function intoTun(tun: string, { ip, anyNeighbour }: Dialect): string {
  return `fwd ${ip} to ${anyNeighbour} device ${quote(tun)}`;
}
