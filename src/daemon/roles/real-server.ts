import { carrierName } from '../../codec/carriers.js';
import type { RoleSettings } from '../../dataplane/make-role.js';
import { parseAddress, parsePrefix } from '../../host/addresses.js';
import { realServerWarnings } from '../../host/advice/warnings.js';
import { readRealServerFacts } from '../../host/facts/real-server.js';
import type { ReplySource } from '../../host/facts/reply-sources.js';
import { planRealServer } from '../../host/plan/real-server.js';
import { Counter, REAL_SERVER_COUNTERS } from '../../role/counters.js';
import { carrierOf } from '../../role/flow-flags.js';
import type { RealServerConfig } from '../config/index.js';
import { describeFlow } from '../control/answers.js';
import type { LocalAddresses, RoleKit } from './kit.js';

export const realServerKit: RoleKit = {
  tables: ({ routing: { table } }) => [table, table + 1],

  async plan({ tun, routing, realServer }) {
    const { loadBalancers, services, nat64, maxFlows, flowTimeoutSeconds } = realServer;
    const facts = await readRealServerFacts({
      tun: tun.name,
      loadBalancers,
      interface: realServer.interface,
    });
    const options = { tun, routing, fwmark: routing.fwmark, loadBalancers, services, nat64 };
    const hostPlan = planRealServer(options, facts);
    const { sources } = hostPlan.replyTable;
    return {
      ...hostPlan,
      localRules: facts.localRules,
      limits: { maxFlows, timeoutMs: flowTimeoutSeconds * 1000 },
      steering: routing.steering,
      warnings: await realServerWarnings({ tun: tun.name, loadBalancers, services }, facts, routing.steering),
      addresses: facts,
      settings: addresses => roleSettings(realServer, sources, addresses),
    };
  },

  counters: {
    names: REAL_SERVER_COUNTERS,
    worrying: [
      ['uoa_invalid', 'malformed marks or impossible clients'],
      ['dropped_malformed', 'malformed packets dropped'],
      ['dropped_io', 'packets that the kernel refused'],
      ['uoa_ack_fail', 'ACKs that could not be sent'],
      ['flows_evicted', 'flows pushed out of a full table (realServer.maxFlows)'],
      ['fragments_dropped', 'fragments dropped'],
    ],
    lookups: { success: Counter.lookup_success, miss: Counter.lookup_miss },
  },

  describeFlow: entry =>
    describeFlow(entry, {
      carrier: carrierName(carrierOf(entry.flags)),
      datapath: 'tun',
    }),
};

function roleSettings(
  { loadBalancers, services, nat64 }: RealServerConfig,
  sources: readonly ReplySource[],
  { ownAddresses, broadcastAddresses }: LocalAddresses,
): RoleSettings {
  const options = {
    loadBalancers: loadBalancers.map(({ prefix, ack, ask, deliverEmpty, timeout }) => ({
      prefix: parsePrefix(prefix),
      ack,
      ask,
      deliverEmpty,
      timeout: {
        unansweredMs: timeout.unansweredSeconds * 1000,
        answeredMs: timeout.answeredSeconds * 1000,
      },
    })),
    services: services.map(({ address, from, to }) => ({ words: parseAddress(address), from, to })),
    ownAddresses: [...ownAddresses, ...broadcastAddresses],
    wildcardSources: sources.map(({ source }) => parseAddress(source)),
    translates: nat64 === 'deliver',
  };
  return { name: 'real-server', options };
}
