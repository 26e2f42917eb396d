/**
 * The real server's set-up as data: configuration and facts in, a list of changes out. Packets are steered into the TUN
 * by policy-routing.ts or nft-ingress.ts. Replies find their way by reply-table.ts and reply-rules.ts.
 */
import { ExitCode, OperatorError } from '../../errors.js';
import type { RealServerFacts } from '../facts/real-server.js';
import { FAMILIES, type Family, familyOf } from '../family.js';
import { interfaceKey } from '../sysctl.js';
import { type Change, distinct } from './change.js';
import type { RealServerHostPlan } from './host-plan.js';
import { ingressTables } from './nft-ingress.js';
import { byRouting } from './policy-routing.js';
import { type RealServerPlanOptions, servedAddresses } from './real-server-options.js';
import { protocolsApart, replyRules } from './reply-rules.js';
import { ownServiceAddress, replyRoutes, replyTable } from './reply-table.js';
import { tunDevice } from './tun-device.js';

/**
 * The changes that take the load balancers' UDP through the TUN, and the services' replies. Throws an OperatorError if
 * this host has no address of a service, or can't forward where the way of steering needs it.
 */
export function planRealServer(options: RealServerPlanOptions, facts: RealServerFacts): RealServerHostPlan {
  const steered = steeredFamilies(options);
  const answering = FAMILIES.filter(
    family => steered.includes(family) || (options.nat64 === 'deliver' && serves(options, family)),
  );
  for (const family of answering) requireOwnService(options, facts, family);
  const table = replyTable(options, facts);
  const isByIngress = options.routing.steering === 'nft-ingress';
  const changes = [
    ...tunDevice(options.tun, facts.hasIpv6, answering.includes(6)),
    ...answering.flatMap(family => replyRoutes(table, options, facts, family)),
    ...(answering.includes(4) ? strictSources(facts) : []),
    ...answering.flatMap(family => replyRules(options, facts, family)),
    ...(answering.includes(4) && (isByIngress || !steered.includes(4)) ? [protocolsApart(options)] : []),
    ...(isByIngress ? [byIngress(options, facts)] : byRouting(options, facts, steered)),
  ];
  return { changes, replyTable: table };
}

/** Those in which load balancers can reach a service. */
function steeredFamilies(options: RealServerPlanOptions): Family[] {
  return FAMILIES.filter(
    family =>
      serves(options, family) && options.loadBalancers.some(({ prefix }) => familyOf(prefix) === family),
  );
}

function serves(options: RealServerPlanOptions, family: Family): boolean {
  return servedAddresses(options, family).length > 0;
}

function requireOwnService(options: RealServerPlanOptions, facts: RealServerFacts, family: Family): void {
  if (ownServiceAddress(options, facts, family) !== undefined) return;
  throw new OperatorError(
    `realServer.services: none of ${servedAddresses(options, family).join(', ')} is an address of this ` +
      'host; allowed: addresses that `ip address` shows here',
    ExitCode.configuration,
  );
}

function byIngress(options: RealServerPlanOptions, facts: RealServerFacts): Change {
  const rules = ingressTables({
    tun: options.tun.name,
    loadBalancers: options.loadBalancers.map(({ prefix }, i) => ({
      prefix,
      interface: facts.towardsLb[i].name,
    })),
    addresses: [...new Set(options.services.map(({ address }) => address))],
    fwmark: options.fwmark,
    errorsOnly: false,
  });
  return { kind: 'nft', ...rules, reason: 'from the load balancers, ahead of routing' };
}

/** Loosens rp_filter where it is strict. */
function strictSources(facts: RealServerFacts): Change[] {
  return distinct(facts.towardsLb, ({ name }) => name).flatMap(({ name, rpFilter }) => {
    if (Math.max(Number(rpFilter), Number(facts.allRpFilter)) !== 1) return [];
    return [
      {
        kind: 'sysctl' as const,
        key: interfaceKey(name, 'rp_filter'),
        value: '2',
        before: rpFilter,
        reason: 'strict rp_filter would drop direct clients: the way back to them is the TUN',
      },
    ];
  });
}
