import { carrierName } from '../../codec/carriers.js';
import { parseAddress, parsePrefix } from '../../host/addresses.js';
import { realServerWarnings } from '../../host/advice/warnings.js';
import { readRealServerFacts } from '../../host/facts/real-server.js';
import { planRealServer } from '../../host/plan/real-server.js';
import { Counter, REAL_SERVER_COUNTERS } from '../../role/counters.js';
import { carrierOf } from '../../role/flow-flags.js';
import { describeEnds } from '../control/answers.js';
import type { RoleKit } from './kit.js';

export const realServerKit: RoleKit = {
  async plan({ tun, routing, realServer: { loadBalancers, services, nat64, interface: lbInterface } }) {
    const facts = await readRealServerFacts({ tun: tun.name, loadBalancers, interface: lbInterface });
    return {
      ...planRealServer({ tun, routing, fwmark: routing.mark, loadBalancers, services, nat64 }, facts),
      facts,
      localRules: facts.localRules,
      warnings: await realServerWarnings({ tun: tun.name, loadBalancers, services }, facts, routing.steering),
    };
  },

  settings({ realServer }, { facts: { ownAddresses, broadcastAddresses }, replyTable }) {
    const options = {
      loadBalancers: realServer.loadBalancers.map(lb => ({ ...lb, prefix: parsePrefix(lb.prefix) })),
      services: realServer.services.map(({ address, from, to }) => ({
        words: parseAddress(address),
        from,
        to,
      })),
      ownAddresses: [...ownAddresses, ...broadcastAddresses],
      wildcardSources: replyTable?.sources.map(({ source }) => parseAddress(source)) ?? [],
      translates: realServer.nat64 === 'deliver',
    };
    return { name: 'real-server', options };
  },

  limits: ({ realServer: { maxFlows, flowTimeout } }) => ({ maxFlows, flowTimeout }),
  withLimits: (config, limits) => ({ ...config, realServer: { ...config.realServer, ...limits } }),
  steering: ({ routing }) => routing.steering,
  tables: ({ routing: { table } }) => [table, table + 1],
  counters: REAL_SERVER_COUNTERS,
  worrying: [
    ['uoa_invalid', 'malformed marks or impossible clients'],
    ['dropped_malformed', 'malformed packets dropped'],
    ['dropped_io', 'packets that the kernel refused'],
    ['uoa_ack_fail', 'ACKs that could not be sent'],
    ['flows_evicted', 'flows pushed out of a full table (realServer.maxFlows)'],
    ['fragments_dropped', 'fragments dropped'],
  ],
  lookupCounters: { success: Counter.lookup_success, miss: Counter.lookup_miss },
  describeFlow: entry => ({
    ...describeEnds(entry),
    carrier: carrierName(carrierOf(entry.flags)),
    packets: entry.packets,
    replies: entry.replies,
    idleSeconds: entry.idleMs / 1000,
    datapath: 'tun',
  }),
};
