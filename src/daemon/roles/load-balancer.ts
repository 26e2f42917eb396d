import { isMapped } from '../../codec/addresses.js';
import { carrierName, carrierOfFamily } from '../../codec/carriers.js';
import { loadBalancerWarnings } from '../../host/advice/warnings.js';
import { readLoadBalancerFacts, requireInterfaces } from '../../host/facts/load-balancer.js';
import { planLoadBalancer } from '../../host/plan/load-balancer.js';
import { LbCounter, LOAD_BALANCER_COUNTERS } from '../../role/counters.js';
import { isAcked } from '../../role/flow-flags.js';
import { describeEnds } from '../control/answers.js';
import type { RoleKit } from './kit.js';

export const loadBalancerKit: RoleKit = {
  async plan({ tun, routing, loadBalancer }) {
    await requireInterfaces(loadBalancer.interface);
    const facts = await readLoadBalancerFacts({ ...loadBalancer, tun: tun.name });
    return {
      ...planLoadBalancer(
        { ...loadBalancer, tun, fwmark: routing.mark, marksPerFlow: loadBalancer.maxTrails },
        facts,
      ),
      facts,
      localRules: [],
      replyTable: undefined,
      warnings: await loadBalancerWarnings(loadBalancer.nat),
    };
  },

  settings({ loadBalancer: { carrier, maxTrails } }, { facts: { ownAddresses } }) {
    return {
      name: 'load-balancer',
      options: { carrier, maxTrails, ownAddresses },
    };
  },

  limits: ({ loadBalancer: { maxFlows, flowTimeout } }) => ({ maxFlows, flowTimeout }),
  withLimits: (config, limits) => ({ ...config, loadBalancer: { ...config.loadBalancer, ...limits } }),
  steering: () => 'nft-egress',
  tables: () => [],
  counters: LOAD_BALANCER_COUNTERS,
  worrying: [
    ['marks_forged', 'marks that clients had put there themselves, taken out'],
    ['acks_unmatched', 'ACKs that fit no flow'],
    ['dropped_malformed', 'malformed packets dropped'],
    ['dropped_io', 'packets that the kernel refused'],
    ['flows_evicted', 'flows pushed out of a full table (loadBalancer.maxFlows)'],
  ],
  lookupCounters: { success: LbCounter.lookup_success, miss: LbCounter.lookup_miss },
  describeFlow: (entry, { loadBalancer }) => ({
    ...describeEnds(entry),
    carrier: carrierName(carrierOfFamily(loadBalancer.carrier, !isMapped(entry.lip, 0))),
    packets: entry.packets,
    replies: entry.replies,
    idleSeconds: entry.idleMs / 1000,
    datapath: isAcked(entry.flags) ? 'kernel' : 'tun',
  }),
};
