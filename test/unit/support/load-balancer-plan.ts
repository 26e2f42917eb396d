/** A load balancer's configuration and the facts of its host, as its planner gets them. */
import { parsePrefix } from '../../../src/host/addresses.js';
import type { LoadBalancerFacts, ServingInterface } from '../../../src/host/facts/load-balancer.js';
import type { Change, NftChange } from '../../../src/host/plan/change.js';
import { type LoadBalancerPlanOptions, planLoadBalancer } from '../../../src/host/plan/load-balancer.js';
import { upCommand } from '../../../src/host/plan/script.js';

export const options: LoadBalancerPlanOptions = {
  tun: { name: 'uoa0', address: '192.0.2.254/32' },
  fwmark: 0x20,
  nat: 'managed',
  marks: true,
  timeoutSeconds: 360,
  localAddresses: ['10.10.2.1'],
  services: [
    {
      vip: '198.51.100.10',
      port: 53,
      schedule: 'source-hash',
      realServers: [
        { address: '10.10.2.2', port: 53, weight: 1 },
        { address: '10.10.2.3', port: 5353, weight: 2 },
      ],
    },
  ],
};

/** An interface that forwards, or does not yet. */
export function serving(name: string, forwards = false): ServingInterface {
  const key = `net.ipv4.conf.${name.replaceAll('.', '/')}.forwarding`;
  const off = forwards ? {} : { off: { key, before: '0' } };
  return { name, forwarding: [{ family: 4, interface: name, ...off }] };
}

export const facts: LoadBalancerFacts = {
  servers: [serving('eth1')],
  clients: [serving('eth0')],
  forwardsEach6: false,
  ownAddresses: ['127.0.0.0/8', '127.0.0.1', '10.10.2.1', '198.51.100.10'].map(parsePrefix),
  broadcastAddresses: [parsePrefix('10.10.2.255')],
  hasIpv6: true,
};

/** The changes, where these options and facts are otherwise. */
export const plan = (
  o: Partial<LoadBalancerPlanOptions> = {},
  f: Partial<LoadBalancerFacts> = {},
): Change[] => planLoadBalancer({ ...options, ...o }, { ...facts, ...f }).changes;

/** The changes of nft's tables. */
export function scripts(changes: readonly Change[]): NftChange[] {
  return changes.filter(change => change.kind === 'nft');
}

/** Commands with the nft scripts left out. */
export function commands(changes: readonly Change[]): string[] {
  return changes.filter(({ kind }) => kind !== 'nft').map(upCommand);
}
