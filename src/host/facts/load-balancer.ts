/** The facts that the load balancer's planner needs. */
import { ExitCode, OperatorError } from '../../errors.js';
import { FAMILIES, type Family, familyFlag, familyOf } from '../family.js';
import { type Forwarding, readForwarding } from './forwarding.js';
import { type Facts, hostFamilies, readFacts } from './host.js';
import { Originals } from './originals.js';
import { readJson, readLocalRoutes, readRoute } from './routes.js';

/** An interface, and whether it forwards each family of the services. */
export interface ServingInterface {
  name: string;
  forwarding: readonly Forwarding[];
}

export interface LoadBalancerFacts extends Facts {
  /** The real servers' side. */
  servers: ServingInterface[];
  /** The clients' side. Empty if the shim does not make the NAT. */
  clients: ServingInterface[];
  /** Whether IPv6 is forwarded by switches of the interfaces (Linux 6.17), and not on the whole host. */
  forwardsEach6: boolean;
}

export interface LoadBalancerQuestion {
  tun: string;
  /** Empty: found by the routes to the real servers, and by where the VIPs are or the default route goes. */
  interface: { clients: string; servers: string };
  nat: 'managed' | 'external';
  services: readonly { vip: string; realServers: readonly { address: string }[] }[];
}

/** Throws an OperatorError if an interface is neither configured nor found. */
export async function readLoadBalancerFacts(question: LoadBalancerQuestion): Promise<LoadBalancerFacts> {
  const originals = new Originals(question.tun);
  const families = FAMILIES.filter(family => question.services.some(({ vip }) => familyOf(vip) === family));
  const withForwarding = (names: readonly string[]): ServingInterface[] =>
    [...new Set(names)].map(name => ({
      name,
      forwarding: families.map(family => readForwarding(name, family, originals)),
    }));
  return {
    ...(await readFacts()),
    servers: withForwarding(await serverSide(question)),
    clients: withForwarding(question.nat === 'managed' ? await clientSide(question, families) : []),
    forwardsEach6: readForwarding('default', 6, originals).off?.before !== undefined,
  };
}

/**
 * Throws an OperatorError if a configured interface is missing. nft would take rules for it (Linux 6.16 and later), which
 * no packet would ever match.
 */
export async function requireInterfaces(configured: LoadBalancerQuestion['interface']): Promise<void> {
  for (const name of [configured.clients, configured.servers])
    if (name !== '') await readJson(['link', 'show', 'dev', name]);
}

async function serverSide({ interface: configured, services }: LoadBalancerQuestion): Promise<string[]> {
  if (configured.servers !== '') return [configured.servers];
  const names: string[] = [];
  for (const { address } of services.flatMap(({ realServers }) => realServers)) {
    const route = await readRoute(address);
    if (route?.dev === undefined)
      throw new OperatorError(
        `no route to the real server ${address} (ip route get ${address}); ` +
          'name the interface in loadBalancer.interface.servers',
        ExitCode.failed,
      );
    names.push(route.dev);
  }
  if (names.length === 0)
    throw new OperatorError(
      'loadBalancer.interface.servers: missing; required: the interface on the real servers’ side, ' +
        'where no service names a real server',
      ExitCode.configuration,
    );
  return names;
}

async function clientSide(
  { interface: configured, services }: LoadBalancerQuestion,
  families: readonly Family[],
): Promise<string[]> {
  if (configured.clients !== '') return [configured.clients];
  const vips = new Set(services.map(({ vip }) => vip));
  const holders = (await readLocalRoutes(hostFamilies())).filter(
    ({ dst, dev }) => vips.has(dst) && dev !== 'lo',
  );
  const defaults = await Promise.all(
    families.map(family => readJson<{ dev?: string }>([familyFlag(family), 'route', 'show', 'default'])),
  );
  const names = [...holders, ...defaults.flat()].flatMap(({ dev }) => (dev === undefined ? [] : [dev]));
  if (names.length === 0)
    throw new OperatorError(
      'loadBalancer.interface.clients: missing; required: the interface on the clients’ side, where no interface ' +
        'has a VIP and there is no default route',
      ExitCode.configuration,
    );
  return names;
}
