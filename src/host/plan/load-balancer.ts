/**
 * The load balancer's set-up as data: rules for unreleased flows and the ACKs, beside the kernel's NAT; and that NAT
 * itself, where we make it. No routing rules and no routes: packets are taken on their way out.
 */
import { ExitCode, OperatorError } from '../../errors.js';
import { PrefixList } from '../../flow/prefixes.js';
import { formatAddress, parsePrefix } from '../addresses.js';
import type { Forwarding } from '../facts/forwarding.js';
import { isOwn } from '../facts/host.js';
import type { LoadBalancerFacts } from '../facts/load-balancer.js';
import { FAMILIES, type Family, familyOf } from '../family.js';
import { interfaceKey } from '../sysctl.js';
import { type Change, distinct } from './change.js';
import { switchOn } from './forwarding.js';
import type { HostPlan } from './host-plan.js';
import { type NftScripts, together } from './nft.js';
import { egressTables } from './nft-egress.js';
import { type BalancedService, natTables, refusalTables } from './nft-nat.js';
import { type TunOptions, tunDevice } from './tun-device.js';

export interface LoadBalancerPlanOptions {
  tun: TunOptions;
  /** The SO_MARK of what the shim sends. */
  fwmark: number;
  nat: 'managed' | 'external';
  /** Whether flows get marks. */
  marks: boolean;
  /** Seconds without a packet for which conntrack keeps a flow; undefined: as the host has it. */
  timeoutSeconds: number | undefined;
  localAddresses: readonly string[];
  services: readonly BalancedService[];
}

/**
 * Packets that wait in the TUN. All packets of new flows do, and they can't go past it, or they would arrive ahead of their
 * marks: a burst of flows has to fit. It takes a second to mark so many, and 50 MB of the kernel's memory to hold them.
 */
const QUEUE_PACKETS = 65_536;

/**
 * The changes that take unreleased flows, and the ACKs, through the TUN. Throws an OperatorError if a
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
  const closed = options.nat === 'managed' ? closedInterfaces(facts) : [];
  const changes = [
    ...tunDevice(options.tun, facts.hasIpv6, familiesOf(options, facts).includes(6), QUEUE_PACKETS),
    ...forwardingFromTun(options, facts),
    ...(options.nat === 'managed' ? [refusal(options)] : []),
    tables(options, facts, closed),
    ...closed.flatMap(forwarding =>
      switchOn(forwarding, 'balanced packets are forwarded packets; a rule above drops all others', ''),
    ),
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

/** The interfaces and families that don't forward yet. */
function closedInterfaces({ clients, servers }: LoadBalancerFacts): Forwarding[] {
  const all = [...clients, ...servers].flatMap(({ forwarding }) => forwarding);
  return distinct(
    all.filter(({ off }) => off !== undefined),
    ({ interface: device, family }) => `${device} ${family}`,
  );
}

function refusal({ tun, services }: LoadBalancerPlanOptions): Change {
  const tables = refusalTables({ tun: tun.name, services });
  return { kind: 'nft', ...tables, reason: 'no flow begins without NAT while the rules for it are made' };
}

/** All tables in one transaction, the NAT last: no flow begins before there are marks for it. */
function tables(
  options: LoadBalancerPlanOptions,
  facts: LoadBalancerFacts,
  closed: readonly Forwarding[],
): Change {
  const marks = egress(options, facts);
  const marking = 'flows go through the TUN until they are released, and so do the ACKs';
  if (options.nat === 'external') return { kind: 'nft', ...marks, reason: marking };
  const nat = natTables({
    tun: options.tun.name,
    localAddresses: options.localAddresses,
    services: options.services,
    guarded: closed.map(({ interface: device, family }) => ({ name: device, family })),
  });
  const balancing = 'and the balancing: VIPs to real servers, from the local addresses';
  return { kind: 'nft', ...together(marks, nat), reason: `${marking}; ${balancing}` };
}

function egress(options: LoadBalancerPlanOptions, facts: LoadBalancerFacts): NftScripts {
  return egressTables({
    tun: options.tun.name,
    servers: facts.servers.map(({ name }) => name),
    families: familiesOf(options, facts),
    localAddresses: localAddresses(options, facts),
    services: options.services,
    marks: options.marks,
    timeoutSeconds: options.timeoutSeconds,
    fwmark: options.fwmark,
  });
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
