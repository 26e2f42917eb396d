/**
 * Where sockets without an address of their own answer from: the source that the host's routes give, which the table of
 * the replies has to give as well. Clients that came without a load balancer would be answered by a stranger otherwise.
 */
import type { Prefix } from '../../flow/prefixes.js';
import { parsePrefix } from '../addresses.js';
import { type Family, familyFlag, familyOf } from '../family.js';
import { type JsonRoute, readJson, readRoute } from './host.js';
import { sampleAddress } from './sample-address.js';

/** Datagrams to these addresses (text, a prefix) get this source. */
export interface ReplySource {
  prefix: string;
  source: string;
}

/** Everything that no other prefix has. */
export const EVERYWHERE: Readonly<Record<Family, string>> = { 4: '0.0.0.0/0', 6: '::/0' };

/** Hosts with more routes than these are routers, and answer from one address. */
const MOST_ROUTES = 64;

/**
 * The sources by the routes of the table main, those that differ from what goes for everywhere; `towardsLb` is what
 * that is on a host without a default route.
 */
export async function readReplySources(
  family: Family,
  tun: string,
  towardsLb: string | undefined,
  own: readonly Prefix[],
): Promise<ReplySource[]> {
  const routes = (await readMain(family)).filter(
    ({ dev, type = 'unicast' }) => dev !== tun && type === 'unicast',
  );
  const hasDefault = routes.some(({ dst }) => dst === 'default');
  const everywhere = (hasDefault ? await sourceOf(EVERYWHERE[family], own) : undefined) ?? towardsLb;
  const others = routes.filter(({ dst }) => dst !== 'default').map(({ dst }) => dst);
  if (others.length > MOST_ROUTES) others.length = 0;
  const sources = await Promise.all(
    others.map(async prefix => ({ prefix, source: await sourceOf(prefix, own) })),
  );
  return [
    ...(everywhere === undefined ? [] : [{ prefix: EVERYWHERE[family], source: everywhere }]),
    ...sources.flatMap(({ prefix, source }) =>
      source === undefined || source === everywhere ? [] : [{ prefix, source }],
    ),
  ];
}

function readMain(family: Family): Promise<JsonRoute[]> {
  return readJson<JsonRoute>([familyFlag(family), 'route', 'show', 'table', 'main']);
}

/** Link-local addresses are no sources for anybody but the neighbours. */
async function sourceOf(prefix: string, own: readonly Prefix[]): Promise<string | undefined> {
  const { prefsrc } = (await readRoute(sampleAddress(parsePrefix(prefix), own))) ?? {};
  return prefsrc === undefined || /^fe[89ab]/i.test(prefsrc) ? undefined : prefsrc;
}

export function sourcesOfFamily(sources: readonly ReplySource[], family: Family): ReplySource[] {
  return sources.filter(({ source }) => familyOf(source) === family);
}
