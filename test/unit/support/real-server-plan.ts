/** A real server's configuration and the facts of its host, as its planner gets them. */
import { parsePrefix } from '../../../src/host/addresses.js';
import type { LbInterface, RealServerFacts } from '../../../src/host/facts/real-server.js';
import { planRealServer } from '../../../src/host/plan/real-server.js';
import type { RealServerPlanOptions } from '../../../src/host/plan/real-server-options.js';
import { upCommand } from '../../../src/host/plan/script.js';

export const options: RealServerPlanOptions = {
  tun: { name: 'uoa0', address: '192.0.2.254/32' },
  routing: { table: 248, priority: 21, localPriority: 100, steering: 'policy-routing' },
  fwmark: 0x20,
  loadBalancers: [{ prefix: '10.10.1.0/24' }],
  services: [{ address: '10.10.1.2', from: 53, to: 53 }],
  nat64: 'keep',
};

/** An interface that does not forward IPv4 yet. */
export function towards4(name: string, mtu = 1500): LbInterface {
  const key = `net.ipv4.conf.${name.replaceAll('.', '/')}.forwarding`;
  return {
    ...{ name, family: 4, mtu, rpFilter: '0' },
    forwarding: { family: 4, interface: name, off: { key, before: '0' } },
  };
}

/** The same for IPv6, with the switch that Linux 6.17 brought. */
export function towards6(name: string, mtu = 1500): LbInterface {
  const key = `net.ipv6.conf.${name.replaceAll('.', '/')}.force_forwarding`;
  return {
    ...{ name, family: 6, mtu, rpFilter: '0' },
    forwarding: { family: 6, interface: name, off: { key, before: '0' } },
  };
}

/** The same interface, which forwards already. */
export function open({ forwarding: { off: _, ...forwarding }, ...lb }: LbInterface): LbInterface {
  return { ...lb, forwarding };
}

export const facts: RealServerFacts = {
  localRules: [
    { family: 4, priority: 0, protocol: 'kernel' },
    { family: 6, priority: 0, protocol: 'kernel' },
  ],
  allRpFilter: '0',
  udpEarlyDemux: '1',
  replySources: [],
  towardsLb: [towards4('eth0')],
  ownAddresses: ['127.0.0.0/8', '10.10.1.2', '::1', 'fd00:1::2'].map(parsePrefix),
  broadcastAddresses: [parsePrefix('10.10.1.255')],
  hasIpv6: true,
};

/** The commands that make the changes, where these options and facts are otherwise. */
export function commands(o: Partial<RealServerPlanOptions> = {}, f: Partial<RealServerFacts> = {}): string[] {
  return planRealServer({ ...options, ...o }, { ...facts, ...f }).changes.map(upCommand);
}
