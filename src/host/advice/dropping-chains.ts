/** Which chains of the host's own rules drop datagrams on their way through the TUN, and the remedies. */
import { existsSync, readFileSync } from 'node:fs';
import { parsePrefix } from '../addresses.js';
import { run } from '../command.js';
import type { Firewall } from '../facts/firewall.js';
import type { RealServerFacts } from '../facts/real-server.js';
import type { FirstDatagram } from '../facts/rule-match.js';
import type { Chain } from '../facts/ruleset.js';
import { sampleAddress } from '../facts/sample-address.js';
import { type Family, familyOf } from '../family.js';
import { distinct } from '../plan/change.js';

/** Whose datagrams are to pass. */
export interface FirewallQuestion {
  tun: string;
  loadBalancers: readonly { prefix: string }[];
  services: readonly { address: string; from: number }[];
}

export interface DroppingChain {
  /** Such as `inet filter forward`. */
  chain: string;
  /** A command that lets the datagrams pass. */
  remedy: string;
}

/** Any client: an address for documentation (RFC 5737, RFC 3849). */
const CLIENT: Readonly<Record<Family, string>> = { 4: '198.51.100.7', 6: '2001:db8::7' };
const ANY_PORT = 9;

/** Chains that drop what is to be forwarded into the TUN. */
export async function forwardDroppers(
  question: FirewallQuestion,
  facts: RealServerFacts,
  firewall: Firewall,
): Promise<DroppingChain[]> {
  const found = fromLoadBalancers(question, facts).flatMap(datagram =>
    firewall
      .droppers('forward', { ...datagram, oifname: question.tun })
      .map(chain => dropper(chain, 'FORWARD', datagram.family, datagram.iifname, question.tun)),
  );
  const legacy = fromLoadBalancers(question, facts).map(async ({ iifname, family }) =>
    (await dropsByLegacy(family)) ? [legacyDropper(iifname, question.tun, family)] : [],
  );
  return distinct([...found, ...(await Promise.all(legacy)).flat()], ({ remedy }) => remedy);
}

/** Chains that let the load balancers in, but drop what comes from the TUN. */
export function inputDroppers(
  question: FirewallQuestion,
  facts: RealServerFacts,
  firewall: Firewall,
): DroppingChain[] {
  const found = fromLoadBalancers(question, facts).flatMap(datagram => {
    const before = firewall.droppers('input', datagram).map(nameOf);
    return firewall
      .droppers('input', { ...datagram, iifname: question.tun, saddr: CLIENT[datagram.family] })
      .filter(chain => !before.includes(nameOf(chain)))
      .map(chain => dropper(chain, 'INPUT', datagram.family, question.tun));
  });
  return distinct(found, ({ remedy }) => remedy);
}

/** A datagram from each load balancers' prefix to each service of its family. */
function fromLoadBalancers(
  { loadBalancers, services }: FirewallQuestion,
  facts: RealServerFacts,
): FirstDatagram[] {
  return loadBalancers.flatMap(({ prefix }, i) => {
    const family = familyOf(prefix);
    const saddr = sampleAddress(parsePrefix(prefix), facts.ownAddresses);
    return services
      .filter(({ address }) => familyOf(address) === family)
      .map(({ address, from }) => ({
        family,
        iifname: facts.towardsLb[i].name,
        saddr,
        daddr: address,
        dport: from || ANY_PORT,
      }));
  });
}

function nameOf({ family, table, name }: Chain): string {
  return `${family} ${table} ${name}`;
}

/** `standard`: iptables' name of such a chain. `oif`: the interface that a forwarded datagram leaves by. */
function dropper(chain: Chain, standard: string, family: Family, iif: string, oif?: string): DroppingChain {
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

function legacyDropper(iif: string, tun: string, family: Family): DroppingChain {
  const program = `${IPTABLES[family]}-legacy`;
  return {
    chain: `FORWARD (${program})`,
    remedy: `${program} -I FORWARD -i ${iif} -o ${tun} -j ACCEPT`,
  };
}
