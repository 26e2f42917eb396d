/**
 * The load balancer's nftables rules as text.
 *
 * Two tables of ours. `mark` picks the first packets of each new flow, after NAT, and sends them into the TUN on
 * their way out of the interface (so the operator's NAT, FORWARD rules and rp_filter see them as ever); and it
 * takes the ACKs out before conntrack sees them. `nat` is the balancing itself, where we make it. A TUN that is
 * gone is passed over by `fwd`, so both tables may outlive the process.
 */

import { type Family, familyOf } from '../family.js';
import {
  both,
  chain,
  DIALECTS,
  type Dialect,
  hex,
  intoTun,
  type NftScripts,
  name,
  quote,
  set,
  type Table,
  table,
} from './nft.js';

export interface RealServerTarget {
  address: string;
  port: number;
  weight: number;
}

export interface BalancedService {
  vip: string;
  port: number;
  schedule: 'source-hash' | 'round-robin' | 'random';
  realServers: readonly RealServerTarget[];
}

export interface MarkRules {
  tun: string;
  /** Interfaces on the real servers' side. */
  servers: readonly string[];
  families: readonly Family[];
  /** Where ACKs go to: the LIPs, or all addresses of the host. */
  localAddresses: readonly string[];
  /** Empty: every UDP flow that is NATed both ways. */
  services: readonly { vip: string; port: number }[];
  /** How many packets of a flow get a mark. */
  marksPerFlow: number;
  /** The SO_MARK of what the shim sends. The same bits in conntrack's mark say that a flow needs no more marks. */
  fwmark: number;
}

/** The bit of a packet's fwmark that diverts it into the TUN: the one above the shim's own. */
export function divertBit(fwmark: number): number {
  return (fwmark << 1) >>> 0;
}

export function markRules(rules: MarkRules): NftScripts {
  const dialects = rules.families.map(family => DIALECTS[family]);
  const devices = rules.servers.flatMap((device, i) => [
    chain(
      `out_${i}`,
      `type filter hook egress device ${quote(device)} priority 0`,
      dialects.flatMap(dialect => leaving(rules, dialect)),
    ),
    chain(
      `in_${i}`,
      `type filter hook ingress device ${quote(device)} priority 0`,
      dialects.flatMap(dialect => arriving(rules, dialect)),
    ),
  ]);
  return both([
    ...dialects.map(dialect => mainTable(rules, dialect)),
    table('netdev', `uoa_${name(rules.tun)}`, devices),
  ]);
}

/** Which packets go into the TUN on their way out, and what becomes of ACKs that did not. */
function mainTable(rules: MarkRules, dialect: Dialect): Table {
  const { ip, options } = dialect;
  const fwmark = hex(rules.fwmark);
  const divert = `meta mark set meta mark | ${hex(divertBit(rules.fwmark))}`;
  const servers = set(rules.servers.map(quote));
  const leaving = `oifname ${servers}`;
  const natted = `${leaving} meta l4proto udp ct direction original ct status dnat ct status snat`;
  const wanted = `ct mark & ${fwmark} == 0 ct original packets >= 1 ct original packets <= ${rules.marksPerFlow}`;
  const ofService = rules.services
    .filter(({ vip }) => familyOf(vip) === dialect.family)
    .map(({ vip, port }) => `ct original ${ip} daddr ${vip} ct original proto-dst ${port} `);
  const towards = (rules.services.length === 0 ? [''] : ofService).map(
    of => `${natted} ${of}${wanted} ${divert}`,
  );
  const acksFrom = `iifname ${servers} ${toUs(rules, dialect)}`;
  return table(ip, `uoa_${name(rules.tun)}`, [
    chain('first', 'type filter hook postrouting priority 300', [
      ...(rules.marksPerFlow > 0 ? towards : []),
      // Whatever gets our address as its source passes for ours, so no mark of a client's own may be on it: options
      // come along, to have it taken out; and nobody but us sends the other carrier.
      `${leaving} meta l4proto udp ct direction original ct status snat ${options} ${divert}`,
      `${leaving} meta l4proto 248 ct status snat drop`,
    ]),
    chain('ours', 'type filter hook output priority raw', [`meta mark & ${fwmark} == ${fwmark} notrack`]),
    // What the TUN did not take, because nobody reads it, goes no further: no client may see an ACK.
    chain('acks', 'type filter hook prerouting priority raw', [
      `${acksFrom} meta l4proto 248 drop`,
      `${acksFrom} udp length 8 ${dialect.mark} drop`,
    ]),
  ]);
}

function leaving(rules: MarkRules, dialect: Dialect): string[] {
  const { only, options, moreThanOneHop } = dialect;
  const divert = hex(divertBit(rules.fwmark));
  // Somebody else's mark may have that bit: not in what we can't handle.
  const diverted = `${only} meta l4proto udp meta mark & ${divert} == ${divert}`;
  return [
    `${diverted} ${moreThanOneHop} ${intoTun(rules.tun, dialect)}`,
    // No way to look for a mark among these options: nobody reads the TUN, or no hop is left for the way into it.
    `${diverted} ${options} drop`,
  ];
}

function arriving(rules: MarkRules, dialect: Dialect): string[] {
  const to = `${dialect.only} ${toUs(rules, dialect)}`;
  const marked = [
    'meta l4proto 248',
    `meta l4proto udp ${dialect.mark}`,
    dialect.tooBigForMark,
    dialect.tooBigForOpp,
  ];
  return marked.map(match => `${to} ${match} ${intoTun(rules.tun, dialect)}`);
}

function toUs({ localAddresses }: MarkRules, { ip, family }: Dialect): string {
  return `${ip} daddr ${set(localAddresses.filter(address => familyOf(address) === family))}`;
}

export interface NatRules {
  tun: string;
  localAddresses: readonly string[];
  services: readonly BalancedService[];
  /** Interfaces that did not forward such packets before: only what is balanced is forwarded there. */
  guarded: readonly { name: string; family: Family }[];
}

export function natRules(rules: NatRules): NftScripts {
  const families = new Set(rules.services.map(({ vip }) => familyOf(vip)));
  return both([...families].map(family => natTable(rules, DIALECTS[family])));
}

function natTable(rules: NatRules, dialect: Dialect): Table {
  const { family, ip } = dialect;
  const services = rules.services.filter(({ vip }) => familyOf(vip) === family);
  const localAddresses = rules.localAddresses.filter(address => familyOf(address) === family);
  const guarded = rules.guarded.filter(entry => entry.family === family);
  const from = `iifname ${set(guarded.map(entry => quote(entry.name)))}`;
  // What conntrack does not follow has no status at all, and is dropped as well.
  const forward = guarded.length === 0 ? [] : [`${from} ct status dnat accept`, `${from} drop`];
  return table(ip, `uoa_${name(rules.tun)}_nat`, [
    chain(
      'prerouting',
      'type nat hook prerouting priority dstnat',
      services.map(service => destinationNat(service, dialect)),
    ),
    chain(
      'postrouting',
      'type nat hook postrouting priority srcnat',
      services.map(service => sourceNat(service, localAddresses, dialect)),
    ),
    chain('forward', 'type filter hook forward priority filter', forward),
  ]);
}

function destinationNat({ vip, port, schedule, realServers }: BalancedService, { ip }: Dialect): string {
  const match = `${ip} daddr ${vip} udp dport ${port}`;
  const serving = realServers.filter(({ weight }) => weight > 0);
  if (serving.length === 1) return `${match} dnat to ${endpoint(serving[0])}`;
  let total = 0;
  const shares = serving.map(({ address, port: rport, weight }) => {
    const from = total;
    total += weight;
    return `${weight === 1 ? from : `${from}-${total - 1}`} : ${address} . ${rport}`;
  });
  const choice = {
    // A fixed seed: a client stays with its server over a restart.
    'source-hash': `jhash ${ip} saddr mod ${total} seed 0x1`,
    'round-robin': `numgen inc mod ${total}`,
    random: `numgen random mod ${total}`,
  }[schedule];
  return `${match} dnat ${ip} addr . port to ${choice} map { ${shares.join(', ')} }`;
}

function endpoint({ address, port }: RealServerTarget): string {
  return familyOf(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
}

function sourceNat(
  { vip, port }: BalancedService,
  localAddresses: readonly string[],
  { ip }: Dialect,
): string {
  const match = `meta l4proto udp ct status dnat ct original ${ip} daddr ${vip} ct original proto-dst ${port}`;
  if (localAddresses.length === 1) return `${match} snat to ${localAddresses[0]}`;
  const shares = localAddresses.map((address, i) => `${i} : ${address}`).join(', ');
  const choice = `jhash ${ip} saddr . udp sport mod ${localAddresses.length} seed 0x1`;
  return `${match} snat ${ip} to ${choice} map { ${shares} }`;
}
