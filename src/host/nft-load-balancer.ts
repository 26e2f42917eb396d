/**
 * The load balancer's nftables rules as text.
 *
 * Two tables of ours. `mark` picks the first packets of each new flow, after NAT, and sends them into the TUN on
 * their way out of the interface (so the operator's NAT, FORWARD rules and rp_filter see them as ever); and it
 * takes the ACKs out before conntrack sees them. `nat` is the balancing itself, where we make it. A TUN that is
 * gone is passed over by `fwd`, so both tables may outlive the process.
 */

import { both, chain, hex, intoTun, name, quote, set, table } from './nft.js';

export interface RealServer {
  address: string;
  port: number;
  weight: number;
}

export interface VirtualService {
  vip: string;
  port: number;
  schedule: 'source-hash' | 'round-robin' | 'random';
  realServers: readonly RealServer[];
}

export interface MarkRules {
  tun: string;
  /** Interfaces on the real servers' side. */
  servers: readonly string[];
  /** Where ACKs go to: the LIPs, or all addresses of the host. */
  localAddresses: readonly string[];
  /** Empty: every UDP flow that is NATed both ways. */
  services: readonly { vip: string; port: number }[];
  maxTrails: number;
  /** SO_MARK of what we send, and our bit in conntrack's mark: set once a flow goes by without us. */
  mark: number;
}

const UOA_OPTION = '0x1f';

/** The bit in a packet's mark that sends it into the TUN: the one above ours. */
export function divertMark(mark: number): number {
  return (mark << 1) >>> 0;
}

export function markRules(rules: MarkRules): { up: string; down: string } {
  const { tun, mark } = rules;
  const divert = hex(divertMark(mark));
  const leaving = `oifname ${set(rules.servers.map(quote))}`;
  const natted = `${leaving} meta l4proto udp ct direction original ct status dnat ct status snat`;
  const sent = `meta mark set meta mark | ${divert}`;
  // Somebody else's mark may have that bit: not in what we can't handle.
  const diverted = `ip protocol udp meta mark & ${divert} == ${divert}`;
  const wanted = `ct mark & ${hex(mark)} == 0 ct original packets >= 1 ct original packets <= ${rules.maxTrails}`;
  const ofService = rules.services.map(
    ({ vip, port }) => `ct original ip daddr ${vip} ct original proto-dst ${port} `,
  );
  const towards = (ofService.length === 0 ? [''] : ofService).map(of => `${natted} ${of}${wanted} ${sent}`);
  const acksFrom = `iifname ${set(rules.servers.map(quote))} ip daddr ${set(rules.localAddresses)}`;
  const option = `ip hdrlength > 5 @nh,160,8 ${UOA_OPTION}`;
  const forward = intoTun(tun);

  const main = table('ip', `uoa_${name(tun)}`, [
    chain('first', 'type filter hook postrouting priority 300', [
      ...(rules.maxTrails > 0 ? towards : []),
      // Whatever gets our address as its source passes for ours, so no mark of a client's own may be on it: options
      // come along, to have it taken out; and nobody but us sends the other carrier.
      `${leaving} meta l4proto udp ct direction original ct status snat ip hdrlength > 5 ${sent}`,
      `${leaving} ip protocol 248 ct status snat drop`,
    ]),
    chain('ours', 'type filter hook output priority raw', [
      `meta mark & ${hex(mark)} == ${hex(mark)} notrack`,
    ]),
    // What the TUN did not take, because nobody reads it, goes no further: no client may see an ACK.
    chain('acks', 'type filter hook prerouting priority raw', [
      `${acksFrom} ip protocol 248 drop`,
      `${acksFrom} udp length 8 ${option} drop`,
    ]),
  ]);
  const devices = rules.servers.flatMap((device, i) => [
    chain(`out_${i}`, `type filter hook egress device ${quote(device)} priority 0`, [
      `${diverted} ip ttl > 1 ${forward}`,
      // No way to look for a mark among these options: nobody reads the TUN, or no hop is left for the way into it.
      `${diverted} ip hdrlength > 5 drop`,
    ]),
    chain(`in_${i}`, `type filter hook ingress device ${quote(device)} priority 0`, [
      `ip daddr ${set(rules.localAddresses)} ip protocol 248 ${forward}`,
      `ip daddr ${set(rules.localAddresses)} ip protocol udp ${option} ${forward}`,
    ]),
  ]);
  return both([main, table('netdev', `uoa_${name(tun)}`, devices)]);
}

export interface NatRules {
  tun: string;
  localAddresses: readonly string[];
  services: readonly VirtualService[];
  /** Interfaces that did not forward before: only what is balanced is forwarded there. */
  guarded: readonly string[];
}

export function natRules(rules: NatRules): { up: string; down: string } {
  const from = `iifname ${set(rules.guarded.map(quote))}`;
  // What conntrack does not follow has no status at all, and is dropped as well.
  const forward = rules.guarded.length === 0 ? [] : [`${from} ct status dnat accept`, `${from} drop`];
  return both([
    table('ip', `uoa_${name(rules.tun)}_nat`, [
      chain('prerouting', 'type nat hook prerouting priority dstnat', rules.services.map(destinationNat)),
      chain(
        'postrouting',
        'type nat hook postrouting priority srcnat',
        rules.services.map(service => sourceNat(service, rules.localAddresses)),
      ),
      chain('forward', 'type filter hook forward priority filter', forward),
    ]),
  ]);
}

function destinationNat({ vip, port, schedule, realServers }: VirtualService): string {
  const match = `ip daddr ${vip} udp dport ${port}`;
  const serving = realServers.filter(({ weight }) => weight > 0);
  if (serving.length === 1) return `${match} dnat to ${serving[0].address}:${serving[0].port}`;
  let total = 0;
  const shares = serving.map(({ address, port: rport, weight }) => {
    const from = total;
    total += weight;
    return `${weight === 1 ? from : `${from}-${total - 1}`} : ${address} . ${rport}`;
  });
  const choice = {
    // A fixed seed: a client stays with its server over a restart.
    'source-hash': `jhash ip saddr mod ${total} seed 0x1`,
    'round-robin': `numgen inc mod ${total}`,
    random: `numgen random mod ${total}`,
  }[schedule];
  return `${match} dnat ip addr . port to ${choice} map { ${shares.join(', ')} }`;
}

function sourceNat({ vip, port }: VirtualService, localAddresses: readonly string[]): string {
  const match = `meta l4proto udp ct status dnat ct original ip daddr ${vip} ct original proto-dst ${port}`;
  if (localAddresses.length === 1) return `${match} snat to ${localAddresses[0]}`;
  const shares = localAddresses.map((address, i) => `${i} : ${address}`).join(', ');
  return `${match} snat ip to jhash ip saddr . udp sport mod ${localAddresses.length} seed 0x1 map { ${shares} }`;
}
