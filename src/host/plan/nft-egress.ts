/**
 * The load balancer's rules for marks and ACKs. They pick the packets of flows that are not released yet, after NAT, and
 * send them into the TUN on their way out of the interface, so the operator's NAT, FORWARD rules and rp_filter see them
 * as ever. All packets of such a flow take this way: one that did not could arrive ahead of its flow's mark.
 * ACKs are taken out before conntrack sees them. `fwd` passes over a TUN that is missing, so the tables may outlive the
 * process.
 */
import { type Family, familyOf } from '../family.js';
import { chain, hex, type NftScripts, quote, scripts, set, type Table, tableFor } from './nft.js';
import { DIALECTS, type Dialect, intoTun } from './nft-dialects.js';

export interface EgressOptions {
  tun: string;
  /** Interfaces on the real servers' side. */
  servers: readonly string[];
  families: readonly Family[];
  /** Where ACKs go to: the LIPs, or all addresses of the host. */
  localAddresses: readonly string[];
  /** Empty: every UDP flow that is NATed both ways. */
  services: readonly { vip: string; port: number }[];
  /** Whether flows get marks. */
  marks: boolean;
  /** Seconds without a packet for which conntrack keeps a flow, answered or not; undefined: as the host has it. */
  timeoutSeconds: number | undefined;
  /** The SO_MARK of what the shim sends. The same bits in conntrack's mark say that a flow is released. */
  fwmark: number;
}

/** The bit of a packet's fwmark that diverts it into the TUN: the one above the shim's own. */
export function divertBit(fwmark: number): number {
  return (fwmark << 1) >>> 0;
}

/** A table for each family, and one for the interfaces. */
export function egressTables(options: EgressOptions): NftScripts {
  const dialects = options.families.map(family => DIALECTS[family]);
  const devices = options.servers.flatMap((device, i) => [
    chain(
      `out_${i}`,
      `type filter hook egress device ${quote(device)} priority 0`,
      dialects.flatMap(dialect => leaving(options, dialect)),
    ),
    chain(
      `in_${i}`,
      `type filter hook ingress device ${quote(device)} priority 0`,
      dialects.flatMap(dialect => arriving(options, dialect)),
    ),
  ]);
  return scripts([
    ...dialects.map(dialect => familyTable(options, dialect)),
    tableFor(options.tun, 'netdev', devices),
  ]);
}

/** Which packets are diverted on their way out, and what becomes of ACKs that the TUN did not take. */
function familyTable(options: EgressOptions, dialect: Dialect): Table {
  const fwmark = hex(options.fwmark);
  const acksFrom = `iifname ${set(options.servers.map(quote))} ${toLocal(options, dialect)}`;
  return tableFor(options.tun, dialect.ip, [
    ...(options.timeoutSeconds === undefined ? [] : [flowTimeout(dialect, options.timeoutSeconds)]),
    chain('divert', 'type filter hook postrouting priority 300', diverting(options, dialect)),
    chain('ours', 'type filter hook output priority raw', [`meta mark & ${fwmark} == ${fwmark} notrack`]),
    // If nothing reads the TUN, these ACKs end here: no client may see one.
    chain('acks', 'type filter hook prerouting priority raw', [
      `${acksFrom} meta l4proto 248 drop`,
      `${acksFrom} udp length 8 ${dialect.mark} drop`,
    ]),
  ]);
}

/** The name of the time-out policy, in each table. */
const FLOWS = quote('flows');

function flowTimeout({ ip }: Dialect, seconds: number): string {
  const lines = [
    'protocol udp',
    `l3proto ${ip}`,
    `policy = { unreplied : ${seconds}, replied : ${seconds} }`,
  ];
  return `\tct timeout flows {\n${lines.map(line => `\t\t${line}`).join('\n')}\n\t}`;
}

function diverting(options: EgressOptions, dialect: Dialect): string[] {
  const { ip } = dialect;
  const divert = `meta mark set meta mark | ${hex(divertBit(options.fwmark))}`;
  const out = `oifname ${set(options.servers.map(quote))}`;
  const natted = `${out} meta l4proto udp ct direction original ct status dnat ct status snat`;
  const isUnreleased = `ct mark & ${hex(options.fwmark)} == 0`;
  const toServices = options.services
    .filter(({ vip }) => familyOf(vip) === dialect.family)
    .map(({ vip, port }) => `ct original ${ip} daddr ${vip} ct original proto-dst ${port} `);
  const wanted = options.services.length === 0 ? [''] : toServices;
  const unreleased = wanted.map(toService => `${natted} ${toService}${isUnreleased} ${divert}`);
  // A real server's shim must not remember a client for longer than its LIP:lport is its own. Conntrack takes a policy
  // only for a connection that is not confirmed yet: for one's first packet.
  const lasting = wanted.map(toService => `${natted} ${toService}ct state new ct timeout set ${FLOWS}`);
  return [
    ...(options.timeoutSeconds === undefined ? [] : lasting),
    ...(options.marks ? unreleased : []),
    // Real servers trust the marks of what has our address as its source. So the shim takes marks of clients' own out
    // of the options, and the other carrier, which only the shim may send, is dropped.
    `${out} meta l4proto udp ct direction original ct status snat ${dialect.options} ${divert}`,
    `${out} meta l4proto 248 ct status snat drop`,
  ];
}

function leaving({ tun, fwmark }: EgressOptions, dialect: Dialect): string[] {
  const divert = hex(divertBit(fwmark));
  // Others may set that bit as well. On packets that the shim can't handle it is without effect.
  const diverted = `${dialect.ofFamily} meta l4proto udp meta mark & ${divert} == ${divert}`;
  return [
    // The way into the TUN takes a hop, which the shim gives back: such a packet goes one hop further than it would.
    `${diverted} ${dialect.anotherHop}`,
    `${diverted} ${intoTun(tun, dialect)}`,
    // Nothing can look for a mark among these options: there is no such TUN.
    `${diverted} ${dialect.options} drop`,
  ];
}

function arriving(options: EgressOptions, dialect: Dialect): string[] {
  const to = `${dialect.ofFamily} ${toLocal(options, dialect)}`;
  const marked = [
    'meta l4proto 248',
    `meta l4proto udp ${dialect.mark}`,
    dialect.tooBigForMark,
    dialect.tooBigForOpp,
  ];
  return marked.map(match => `${to} ${match} ${intoTun(options.tun, dialect)}`);
}

function toLocal({ localAddresses }: EgressOptions, { ip, family }: Dialect): string {
  return `${ip} daddr ${set(localAddresses.filter(address => familyOf(address) === family))}`;
}
