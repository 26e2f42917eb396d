/** Whether the parts of a rule of nftables match a datagram. */
import { PrefixList } from '../../flow/prefixes.js';
import { parseAddress, parsePrefix } from '../addresses.js';
import type { Family } from '../family.js';
import type { Expression, Extension } from './ruleset.js';

/** A UDP datagram of a new flow. */
export interface FirstDatagram {
  family: Family;
  iifname: string;
  /** Only where it is forwarded. */
  oifname?: string;
  saddr: string;
  daddr: string;
  dport: number;
}

/** Whether a part of a rule holds for the datagram. Statements hold for all. Undefined: unknown. */
export function holds(expression: Expression, datagram: FirstDatagram): boolean | undefined {
  const xt = expression.xt as Extension | undefined;
  // Nearly always iptables rules ask it for established flows.
  if (xt?.type === 'match' && (xt.name === 'conntrack' || xt.name === 'state')) return false;
  if (xt?.type === 'match') return xt.name === 'tcp' ? false : undefined;
  const match = expression.match as { op: string; left: Expression; right: unknown } | undefined;
  if (match === undefined) return true;
  const value = leftOf(match.left, datagram);
  if (value === undefined) return undefined;
  const isAmong = value === NOT_THERE ? false : includes(match.right, value);
  return match.op === '!=' && isAmong !== undefined ? !isAmong : isAmong;
}

/** The value of a field that UDP does not have. */
const NOT_THERE = Symbol('not there');

function leftOf(left: Expression, datagram: FirstDatagram): string | number | typeof NOT_THERE | undefined {
  const meta = left.meta as { key: string } | undefined;
  switch (meta?.key) {
    case 'iifname':
    case 'iif':
      return datagram.iifname;
    case 'oifname':
    case 'oif':
      return datagram.oifname ?? '';
    case 'l4proto':
      return 'udp';
    case 'nfproto':
      return datagram.family === 4 ? 'ipv4' : 'ipv6';
  }
  if ((left.ct as { key: string } | undefined)?.key === 'state') return 'new';
  const payload = left.payload as { protocol?: string; field?: string } | undefined;
  return payload === undefined ? undefined : fieldOf(payload, datagram);
}

function fieldOf(
  { protocol, field }: { protocol?: string; field?: string },
  datagram: FirstDatagram,
): string | number | typeof NOT_THERE | undefined {
  if (protocol === 'tcp' || protocol === 'icmp' || protocol === 'icmpv6') return NOT_THERE;
  if (protocol === (datagram.family === 4 ? 'ip6' : 'ip')) return NOT_THERE;
  if (field === 'saddr') return datagram.saddr;
  if (field === 'daddr') return datagram.daddr;
  if (field === 'dport') return datagram.dport;
  return field === 'protocol' || field === 'nexthdr' ? 'udp' : undefined;
}

/** Whether a value is what nft prints on the right of a match, or is among that. Undefined: unknown. */
function includes(right: unknown, value: string | number): boolean | undefined {
  if (Array.isArray(right)) return any(right, value);
  if (typeof right === 'object' && right !== null) {
    const { set, range, prefix } = right as Expression;
    if (Array.isArray(set)) return any(set, value);
    if (Array.isArray(range)) return inRange(range as unknown[], value);
    if (prefix !== undefined) return inPrefix(prefix as { addr: string; len: number }, value);
    return undefined;
  }
  if (typeof right === 'string' && right.startsWith('@')) return undefined; // a named set
  if (typeof right === 'string' && right.endsWith('*')) return String(value).startsWith(right.slice(0, -1));
  return right === value || (right === 17 && value === 'udp');
}

function any(items: readonly unknown[], value: string | number): boolean | undefined {
  const each = items.map(item => includes(item, value));
  return each.includes(true) || (each.includes(undefined) ? undefined : false);
}

function inRange([from, to]: readonly unknown[], value: string | number): boolean | undefined {
  return typeof value === 'number' ? value >= Number(from) && value <= Number(to) : undefined;
}

function inPrefix({ addr, len }: { addr: string; len: number }, value: string | number): boolean {
  return new PrefixList([parsePrefix(`${addr}/${len}`)]).has(parseAddress(String(value)), 0);
}
