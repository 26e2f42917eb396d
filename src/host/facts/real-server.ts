/** The facts that the real server's planner needs. */
import { ExitCode, OperatorError } from '../../errors.js';
import type { Prefix } from '../../flow/prefixes.js';
import { parsePrefix } from '../addresses.js';
import { type Family, familyFlag, familyOf } from '../family.js';
import type { LocalRule } from '../state.js';
import { interfaceKey, readSysctl, UDP_EARLY_DEMUX } from '../sysctl.js';
import { type Forwarding, readForwarding } from './forwarding.js';
import { type Facts, hostFamilies, readFacts } from './host.js';
import { Originals } from './originals.js';
import { type ReplySource, readReplySources } from './reply-sources.js';
import { readJson, readRoute } from './routes.js';
import { sampleAddress } from './sample-address.js';

/** An interface on which load balancers are reached. */
export interface LbInterface {
  name: string;
  family: Family;
  /** In bytes. */
  mtu: number;
  forwarding: Forwarding;
  /** Of IPv4 only: IPv6 has no such setting. */
  rpFilter: string;
}

export interface RealServerFacts extends Facts {
  /** The sources of replies that the host's own routes give. */
  replySources: readonly ReplySource[];
  /** Of each family of the host. */
  localRules: readonly LocalRule[];
  /** For an interface the larger of its own rp_filter and this one is in effect. */
  allRpFilter: string;
  /** Whether the kernel looks for a UDP packet's socket before it routes the packet. */
  udpEarlyDemux: string;
  /** For each load-balancer prefix, the interface towards it, in the order of the configuration. */
  towardsLb: LbInterface[];
}

export interface RealServerQuestion {
  tun: string;
  loadBalancers: readonly { prefix: string }[];
  /** Empty: found by the route. */
  interface: string;
}

/** Throws an OperatorError if there is no way to a load balancer, or no local rule. */
export async function readRealServerFacts(question: RealServerQuestion): Promise<RealServerFacts> {
  const originals = new Originals(question.tun);
  const facts = await readFacts();
  const towardsLb: LbInterface[] = [];
  const towardsLbFrom = new Map<Family, string>();
  for (const { prefix } of question.loadBalancers) {
    const family = familyOf(prefix);
    const { name, mtu, source } = await readWay(prefix, question.interface, facts.ownAddresses);
    if (source !== undefined && !towardsLbFrom.has(family)) towardsLbFrom.set(family, source);
    const forwarding = readForwarding(name, family, originals);
    const rpFilter = originals.sysctl(interfaceKey(name, 'rp_filter'));
    towardsLb.push({ name, family, mtu, forwarding, rpFilter });
  }
  const families = hostFamilies();
  const localRules = families.map(async family => originals.localRule(family) ?? readLocalRule(family));
  const sourcesIn = (family: Family): Promise<ReplySource[]> =>
    readReplySources(family, question.tun, towardsLbFrom.get(family), facts.ownAddresses);
  return {
    ...facts,
    replySources: (await Promise.all(families.map(sourcesIn))).flat(),
    localRules: await Promise.all(localRules),
    allRpFilter: readSysctl(interfaceKey('all', 'rp_filter')) ?? '0',
    udpEarlyDemux: originals.sysctl(UDP_EARLY_DEMUX),
    towardsLb,
  };
}

async function readLocalRule(family: Family): Promise<LocalRule> {
  const rules = await readJson<{ priority: number; table?: string; protocol?: string }>([
    '-d',
    familyFlag(family),
    'rule',
    'show',
  ]);
  const local = rules.find(({ table }) => table === 'local');
  if (local === undefined)
    throw new OperatorError(
      'the rule for the table local is missing; to put it back: ' +
        `ip ${familyFlag(family)} rule add pref 0 lookup local protocol kernel`,
      ExitCode.failed,
    );
  return { family, priority: local.priority, protocol: local.protocol ?? 'kernel' };
}

interface Way {
  /** The interface. */
  name: string;
  /** In bytes. */
  mtu: number;
  source: string | undefined;
}

/** The way to a prefix: by `configured` if that names an interface, else by the route. */
async function readWay(prefix: string, configured: string, own: readonly Prefix[]): Promise<Way> {
  const address = sampleAddress(parsePrefix(prefix), own);
  const route = await readRoute(address, configured);
  const name = configured || route?.dev;
  if (name === undefined)
    throw new OperatorError(
      `no route to the load balancers ${prefix} (ip route get ${address}); name the interface in realServer.interface`,
      ExitCode.failed,
    );
  const [link] = await readJson<{ mtu: number }>(['link', 'show', 'dev', name]);
  return { name, mtu: route?.metrics?.[0]?.mtu ?? link.mtu, source: route?.prefsrc };
}
