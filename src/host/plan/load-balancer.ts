/**
 * The load balancer's set-up as data: rules for the first packets and the ACKs, beside the kernel's NAT; and that
 * NAT itself, where we make it. No routing rules and no routes: packets are taken on their way out.
 */
import { ExitCode, OperatorError } from '../../errors.js';
import { PrefixList } from '../../flow/prefixes.js';
import { formatAddress, parsePrefix } from '../addresses.js';
import { isOwn } from '../facts/host.js';
import type { LoadBalancerFacts } from '../facts/load-balancer.js';
import { FAMILIES, type Family, familyOf } from '../family.js';
import { interfaceKey, NF_CONNTRACK_ACCT } from '../sysctl.js';
import { type Change, distinct } from './change.js';
import { switchOn } from './forwarding.js';
import type { HostPlan } from './host-plan.js';
import { egressTables } from './nft-egress.js';
import { type BalancedService, natTables } from './nft-nat.js';
import { type TunOptions, tunDevice } from './tun-device.js';

export interface LoadBalancerPlanOptions {
  tun: TunOptions;
  /** The SO_MARK of what the shim sends. */
  fwmark: number;
  nat: 'managed' | 'external';
  /** How many packets of a flow get a mark; 0: none does. */
  marksPerFlow: number;
  localAddresses: readonly string[];
  services: readonly BalancedService[];
}

/**
 * The changes that take each flow's first packets, and the ACKs, through the TUN. Throws an OperatorError if a
 * configured local address is not this host's, or if IPv6 can't be forwarded as it has to be.
 */
export function planLoadBalancer(options: LoadBalancerPlanOptions, facts: LoadBalancerFacts): HostPlan {
  const missing = options.localAddresses.filter(address => !isOwn(facts, address));
  if (missing.length > 0)
    throw new OperatorError(
      `loadBalancer.localAddresses: ${missing.join(', ')} is not an address of this host; allowed: addresses that ` +
        '`ip address` shows here',
      ExitCode.configuration,
    );
  const changes = [
    ...tunDevice(options.tun, facts.hasIpv6, familiesOf(options, facts).includes(6)),
    ...forwardingFromTun(options, facts),
    ...(options.nat === 'managed' ? nat(options, facts) : []),
    ...accounting(facts),
    egress(options, facts),
  ];
  return { changes };
}

function forwardingFromTun({ tun }: LoadBalancerPlanOptions, facts: LoadBalancerFacts): Change[] {
  const key4 = interfaceKey(tun.name, 'forwarding');
  const key6 = interfaceKey(tun.name, 'force_forwarding', 6);
  return [key4, ...(facts.forwardsEach6 ? [key6] : [])].map(key => ({
    kind: 'sysctl',
    key,
    value: '1',
    reason: 'answers and errors that had a mark go on to their clients without it',
  }));
}

function nat(options: LoadBalancerPlanOptions, facts: LoadBalancerFacts): Change[] {
  const all = [...facts.clients, ...facts.servers].flatMap(({ forwarding }) => forwarding);
  const closed = distinct(
    all.filter(({ off }) => off !== undefined),
    ({ interface: device, family }) => `${device} ${family}`,
  );
  const rules = natTables({
    tun: options.tun.name,
    localAddresses: options.localAddresses,
    services: options.services,
    guarded: closed.map(({ interface: device, family }) => ({ name: device, family })),
  });
  return [
    { kind: 'nft', ...rules, reason: 'the balancing: VIPs to real servers, from the local addresses' },
    ...closed.flatMap(forwarding =>
      switchOn(forwarding, 'balanced packets are forwarded packets; a rule above drops all others', ''),
    ),
  ];
}

function egress(options: LoadBalancerPlanOptions, facts: LoadBalancerFacts): Change {
  const rules = egressTables({
    tun: options.tun.name,
    servers: facts.servers.map(({ name }) => name),
    families: familiesOf(options, facts),
    localAddresses: localAddresses(options, facts),
    services: options.services,
    marksPerFlow: options.marksPerFlow,
    fwmark: options.fwmark,
  });
  return { kind: 'nft', ...rules, reason: 'each new flow’s first packets, and the ACKs, go through the TUN' };
}

/** The families of the services that there are local addresses for. */
function familiesOf(options: LoadBalancerPlanOptions, facts: LoadBalancerFacts): Family[] {
  const local = localAddresses(options, facts);
  const wanted = options.services.length > 0 ? options.services.map(({ vip }) => vip) : local;
  const has = (addresses: readonly string[], family: Family): boolean =>
    addresses.some(address => familyOf(address) === family);
  return FAMILIES.filter(family => has(wanted, family) && has(local, family));
}

/** The LIPs: those of the configuration, or all of the host's own addresses that other hosts can send to. */
function localAddresses(options: LoadBalancerPlanOptions, facts: LoadBalancerFacts): string[] {
  if (options.localAddresses.length > 0) return [...options.localAddresses];
  return facts.ownAddresses
    .filter(({ words, length }) => length === 128 && !HOST_ONLY.has(words, 0))
    .map(({ words }) => formatAddress(words));
}

/** Loopback, link-local addresses and multicast. */
const HOST_ONLY = new PrefixList(['127.0.0.0/8', '::1/128', 'fe80::/10', 'ff00::/8'].map(parsePrefix));

function accounting({ conntrackAcct }: LoadBalancerFacts): Change[] {
  if (conntrackAcct === '1') return [];
  return [
    {
      kind: 'sysctl',
      key: NF_CONNTRACK_ACCT,
      value: '1',
      before: conntrackAcct,
      // nft switches it on by itself for the rules below, and never off again.
      reason: 'the kernel counts the packets of each flow: by that the rules know the first ones',
    },
  ];
}
