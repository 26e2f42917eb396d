/** Which of the host's own rules stand in the way of datagrams on their way through the TUN, and the remedies. */
import { existsSync, readFileSync } from 'node:fs';
import { parsePrefix } from '../addresses.js';
import { run } from '../command.js';
import type { Chain, Firewall, Probe } from '../facts/firewall.js';
import type { RealServerFacts } from '../facts/real-server.js';
import { sampleAddress } from '../facts/sample-address.js';
import { type Family, familyOf } from '../family.js';
import { distinct } from '../plan/change.js';

export interface FirewallQuestion {
  tun: string;
  loadBalancers: readonly { prefix: string }[];
  services: readonly { address: string; from: number }[];
}

export interface Obstacle {
  /** Such as `inet filter forward`. */
  chain: string;
  remedy: string;
}

/** Somebody out there, by documentation (RFC 5737, RFC 3849). */
const CLIENT: Readonly<Record<Family, string>> = { 4: '198.51.100.7', 6: '2001:db8::7' };
const ANY_PORT = 9;

/** Chains that drop what is to be forwarded into the TUN. */
export async function forwardObstacles(
  question: FirewallQuestion,
  facts: RealServerFacts,
  firewall: Firewall,
): Promise<Obstacle[]> {
  const found = fromLoadBalancers(question, facts).flatMap(probe =>
    firewall
      .droppers('forward', { ...probe, oifname: question.tun })
      .map(chain => obstacle(chain, 'FORWARD', [probe.iifname, question.tun], probe.family)),
  );
  const legacy = fromLoadBalancers(question, facts).map(async ({ iifname, family }) =>
    (await dropsByLegacy(family)) ? [legacyObstacle(iifname, question.tun, family)] : [],
  );
  return distinct([...found, ...(await Promise.all(legacy)).flat()], ({ remedy }) => remedy);
}

/** Chains that let the load balancers in, and would keep out what comes from the TUN. */
export function inputObstacles(
  question: FirewallQuestion,
  facts: RealServerFacts,
  firewall: Firewall,
): Obstacle[] {
  const found = fromLoadBalancers(question, facts).flatMap(probe => {
    const before = firewall.droppers('input', probe).map(nameOf);
    return firewall
      .droppers('input', { ...probe, iifname: question.tun, saddr: CLIENT[probe.family] })
      .filter(chain => !before.includes(nameOf(chain)))
      .map(chain => obstacle(chain, 'INPUT', [question.tun], probe.family));
  });
  return distinct(found, ({ remedy }) => remedy);
}

/** A datagram from each load balancers' prefix to each service of its family. */
function fromLoadBalancers({ loadBalancers, services }: FirewallQuestion, facts: RealServerFacts): Probe[] {
  return loadBalancers.flatMap(({ prefix }, i) => {
    const family = familyOf(prefix);
    const saddr = sampleAddress(parsePrefix(prefix), facts.ownAddresses);
    return services
      .filter(({ address }) => familyOf(address) === family)
      .map(({ address, from }) => ({
        ...{ family, iifname: facts.towardsLb[i].name, saddr, daddr: address },
        dport: from || ANY_PORT,
      }));
  });
}

function nameOf({ family, table, name }: Chain): string {
  return `${family} ${table} ${name}`;
}

/** `ways`: the interface that it comes by, and the one that it goes by if it is forwarded. */
function obstacle(chain: Chain, standard: string, ways: readonly string[], family: Family): Obstacle {
  const [iif, oif] = ways;
  const isIptables = chain.table === 'filter' && chain.name === standard && chain.family !== 'inet';
  const out = oif === undefined ? '' : isIptables ? ` -o ${oif}` : ` oifname ${oif}`;
  return {
    chain: nameOf(chain),
    remedy: isIptables
      ? `${IPTABLES[family]} -I ${standard} -i ${iif}${out} -j ACCEPT`
      : `nft insert rule ${nameOf(chain)} iifname ${iif}${out} accept`,
  };
}

const IPTABLES: Readonly<Record<Family, string>> = { 4: 'iptables', 6: 'ip6tables' };
const LEGACY_TABLES: Readonly<Record<Family, string>> = {
  4: '/proc/net/ip_tables_names',
  6: '/proc/net/ip6_tables_names',
};

/** The older iptables has tables of its own, which nft does not list. */
async function dropsByLegacy(family: Family): Promise<boolean> {
  const names = LEGACY_TABLES[family];
  if (!existsSync(names) || !readFileSync(names, 'utf8').split('\n').includes('filter')) return false;
  try {
    const { stdout } = await run(`${IPTABLES[family]}-legacy`, ['-S', 'FORWARD']);
    return stdout.includes('-P FORWARD DROP');
  } catch {
    return false;
  }
}

function legacyObstacle(iif: string, tun: string, family: Family): Obstacle {
  const program = `${IPTABLES[family]}-legacy`;
  return {
    chain: `FORWARD (${program})`,
    remedy: `${program} -I FORWARD -i ${iif} -o ${tun} -j ACCEPT`,
  };
}
