/**
 * The load balancer's set-up as data: rules for the first packets and the ACKs, beside the kernel's NAT; and that
 * NAT itself, where we make it. No routing rules and no routes: packets are taken on their way out.
 */
import { ExitCode, OperatorError } from '../errors.js';
import { formatAddress } from './addresses.js';
import { type Change, type TunOptions, tunDevice } from './change.js';
import { isOwn } from './facts.js';
import type { ForwardingInterface, LoadBalancerFacts } from './facts-load-balancer.js';
import { markRules, natRules, type VirtualService } from './nft-load-balancer.js';
import { interfaceKey, NF_CONNTRACK_ACCT } from './sysctl.js';

export interface LoadBalancerPlan {
  tun: TunOptions;
  mark: number;
  nat: 'managed' | 'external';
  maxTrails: number;
  localAddresses: readonly string[];
  services: readonly VirtualService[];
}

export function planLoadBalancer(options: LoadBalancerPlan, facts: LoadBalancerFacts): Change[] {
  const missing = options.localAddresses.filter(address => !isOwn(facts, address));
  if (missing.length > 0)
    throw new OperatorError(
      `loadBalancer.localAddresses: ${missing.join(', ')} is not an address of this host; allowed: addresses that ` +
        '`ip address` shows here',
      ExitCode.configuration,
    );
  return [
    ...tunDevice(options.tun, facts.hasIpv6),
    {
      kind: 'sysctl',
      key: interfaceKey(options.tun.name, 'forwarding'),
      value: '1',
      reason: 'an answer that had a mark in it goes on to its client without',
    },
    ...(options.nat === 'managed' ? nat(options, facts) : []),
    ...accounting(facts),
    marks(options, facts),
  ];
}

function nat(options: LoadBalancerPlan, facts: LoadBalancerFacts): Change[] {
  const closed = [...facts.clients, ...facts.servers].filter(({ forwarding }) => forwarding === '0');
  const rules = natRules({
    tun: options.tun.name,
    localAddresses: options.localAddresses,
    services: options.services,
    guarded: [...new Set(closed.map(({ name }) => name))],
  });
  return [
    { kind: 'nft', ...rules, reason: 'the balancing: VIPs to real servers, from the local addresses' },
    ...[...new Map(closed.map(lb => [lb.name, lb])).values()].map(forwarding),
  ];
}

function forwarding({ name, forwarding: before }: ForwardingInterface): Change {
  return {
    kind: 'sysctl',
    key: interfaceKey(name, 'forwarding'),
    value: '1',
    before,
    reason: 'balanced packets are forwarded ones; nothing else is, by a rule above',
  };
}

function marks(options: LoadBalancerPlan, facts: LoadBalancerFacts): Change {
  const own = facts.ownAddresses.filter(({ words, length }) => length === 128 && words[3] >>> 24 !== 127);
  const rules = markRules({
    tun: options.tun.name,
    servers: facts.servers.map(({ name }) => name),
    localAddresses:
      options.localAddresses.length > 0
        ? options.localAddresses
        : own.map(({ words }) => formatAddress([...words])),
    services: options.services,
    maxTrails: options.maxTrails,
    mark: options.mark,
  });
  return { kind: 'nft', ...rules, reason: 'each new flow’s first packets, and the ACKs, go through the TUN' };
}

function accounting({ conntrackAcct }: LoadBalancerFacts): Change[] {
  if (conntrackAcct === '1') return [];
  return [
    {
      kind: 'sysctl',
      key: NF_CONNTRACK_ACCT,
      value: '1',
      before: conntrackAcct,
      // nft switches it on by itself for the rules below, and never off again.
      reason: 'the kernel counts a flow’s packets: that is how it knows the first ones',
    },
  ];
}
