/** From the configuration to what the host's plan and the packets' role take. */

import { parseAddress, parsePrefix } from '../host/addresses.js';
import { type Facts, readFacts } from '../host/facts.js';
import { type Change, planRealServer } from '../host/plan.js';
import type { RealServerOptions } from '../role/real-server.js';
import type { Config } from './config/index.js';

/** Reads the host, and says what is to be changed on it. */
export async function planFor(config: Config): Promise<{ facts: Facts; changes: Change[] }> {
  const { loadBalancers, services } = config.realServer;
  const facts = await readFacts({
    tun: config.tun.name,
    loadBalancers,
    interface: config.realServer.interface,
  });
  const changes = planRealServer(
    { tun: config.tun, routing: config.routing, loadBalancers, services },
    facts,
  );
  return { facts, changes };
}

/** What the role needs to know, in the words that packets are read in. */
export function roleOptions(
  config: Config,
  addresses: Pick<Facts, 'ownAddresses' | 'broadcastAddresses'>,
): RealServerOptions {
  return {
    loadBalancers: config.realServer.loadBalancers.map(({ prefix, ack, deliverEmpty }) => ({
      prefix: parsePrefix(prefix),
      ack,
      deliverEmpty,
    })),
    services: config.realServer.services.map(({ address, from, to }) => ({
      words: parseAddress(address),
      from,
      to,
    })),
    ownAddresses: [...addresses.ownAddresses, ...addresses.broadcastAddresses],
  };
}
