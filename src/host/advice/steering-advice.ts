/** Which of the two ways of steering suits a real server's host. */
import { run } from '../command.js';
import { Firewall } from '../facts/firewall.js';
import type { RealServerFacts } from '../facts/real-server.js';
import type { Steering } from '../plan/real-server-options.js';
import { type FirewallQuestion, forwardDroppers } from './dropping-chains.js';

/** The reasons against each of them on this host. */
export type SteeringObstacles = Record<Steering, string[]>;

/** Reads the firewall and looks for nft. Never throws for what can't be read: that is no obstacle. */
export async function steeringObstacles(
  question: FirewallQuestion,
  facts: RealServerFacts,
): Promise<SteeringObstacles> {
  const dropping = (await forwardDroppers(question, facts, await Firewall.read())).map(
    ({ chain }) => `the chain ${chain} does not forward packets to the TUN`,
  );
  return {
    'policy-routing': [...dropping, ...unforwarded(facts)],
    'nft-ingress': await withoutNft(),
  };
}

/** One line for the operator who has chosen `configured`. */
export function steeringAdvice(configured: Steering, obstacles: SteeringObstacles): string {
  const other = configured === 'policy-routing' ? 'nft-ingress' : 'policy-routing';
  const because = obstacles[configured].join('; ');
  if (because === '') return `routing.steering: ${configured} suits this host`;
  if (obstacles[other].length === 0)
    return `routing.steering: ${other} would suit this host better than ${configured}: ${because}`;
  return `routing.steering: ${configured} has obstacles on this host, and so has ${other}: ${because}`;
}

function unforwarded({ towardsLb }: RealServerFacts): string[] {
  const names = towardsLb
    .filter(({ forwarding }) => forwarding.off !== undefined && forwarding.off.before === undefined)
    .map(({ name }) => name);
  if (names.length === 0) return [];
  return [
    `this kernel can't forward IPv6 from ${[...new Set(names)].join(', ')} alone (that needs Linux 6.17)`,
  ];
}

async function withoutNft(): Promise<string[]> {
  try {
    await run('nft', ['--version']);
    return [];
  } catch {
    return ['nft is not installed'];
  }
}
