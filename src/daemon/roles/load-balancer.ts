import { isMapped } from '../../codec/addresses.js';
import { carrierName, carrierOfFamily } from '../../codec/carriers.js';
import type { RoleSettings } from '../../dataplane/make-role.js';
import { parseAddress } from '../../host/addresses.js';
import { loadBalancerWarnings } from '../../host/advice/warnings.js';
import { readLoadBalancerFacts, requireInterfaces } from '../../host/facts/load-balancer.js';
import { planLoadBalancer } from '../../host/plan/load-balancer.js';
import { LbCounter, LOAD_BALANCER_COUNTERS } from '../../role/counters.js';
import { isReleased } from '../../role/flow-flags.js';
import type { LoadBalancerConfig } from '../config/index.js';
import { describeFlow } from '../control/answers.js';
import type { LocalAddresses, RoleKit } from './kit.js';

export const loadBalancerKit: RoleKit = {
  tables: () => [],

  async plan({ tun, routing, loadBalancer }) {
    await requireInterfaces(loadBalancer.interface);
    const facts = await readLoadBalancerFacts({ ...loadBalancer, tun: tun.name });
    const { maxFlows, flowTimeoutSeconds, maxTrails } = loadBalancer;
    const timeoutSeconds = loadBalancer.conntrackTimeout ? flowTimeoutSeconds : undefined;
    const options = { ...loadBalancer, tun, fwmark: routing.fwmark, marks: maxTrails > 0, timeoutSeconds };
    return {
      ...planLoadBalancer(options, facts),
      localRules: [],
      replyTable: undefined,
      limits: { maxFlows, timeoutMs: flowTimeoutSeconds * 1000 },
      steering: 'nft-egress',
      warnings: await loadBalancerWarnings(loadBalancer.nat),
      addresses: facts,
      settings: addresses => roleSettings(loadBalancer, addresses),
    };
  },

  counters: {
    names: LOAD_BALANCER_COUNTERS,
    worrying: [
      ['marks_forged', 'marks that clients had put there themselves, taken out'],
      ['acks_unmatched', 'ACKs that fit no flow'],
      ['dropped_malformed', 'malformed packets dropped'],
      ['dropped_io', 'packets that the kernel refused'],
      ['flows_evicted', 'flows pushed out of a full table (loadBalancer.maxFlows)'],
    ],
    lookups: { success: LbCounter.lookup_success, miss: LbCounter.lookup_miss },
  },

  describeFlow: (entry, { loadBalancer }) =>
    describeFlow(entry, {
      carrier: carrierName(carrierOfFamily(loadBalancer.carrier, !isMapped(entry.lip, 0))),
      datapath: isReleased(entry.flags) ? 'kernel' : 'tun',
    }),
};

function roleSettings(
  { carrier, maxTrails, services }: LoadBalancerConfig,
  { ownAddresses }: LocalAddresses,
): RoleSettings {
  return {
    name: 'load-balancer',
    options: {
      carrier,
      marksPerFlow: maxTrails,
      ownAddresses,
      services: services.map(({ vip, port }) => ({ words: parseAddress(vip), port })),
    },
  };
}
