/**
 * The source of answers from sockets without an address of their own: the host's routes give it. The table of the replies
 * has to give the same, or clients that came without a load balancer would get answers from an address that they did not
 * ask.
 */
import type { Prefix } from '../../flow/prefixes.js';
import { parsePrefix } from '../addresses.js';
import { type Family, familyFlag, familyOf } from '../family.js';
import { type JsonRoute, readJson, readRoute } from './routes.js';
import { sampleAddress } from './sample-address.js';

/** Datagrams to the addresses of this prefix get this source. Both are text. */
export interface ReplySource {
  prefix: string;
  source: string;
}

/** The prefix of all destinations that no other prefix holds. */
export const EVERYWHERE: Readonly<Record<Family, string>> = { 4: '0.0.0.0/0', 6: '::/0' };

/** A host with more routes is a router. It answers from one address. */
const MAX_ROUTES = 64;

/**
 * The source for everywhere by the routes of the table main, and those that differ from it. On a host without a default
 * route the source for everywhere is `towardsLb`. `own` are the host's addresses.
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
  if (others.length > MAX_ROUTES) others.length = 0;
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

/** Undefined for a link-local address: only neighbours could answer that. */
async function sourceOf(prefix: string, own: readonly Prefix[]): Promise<string | undefined> {
  const { prefsrc } = (await readRoute(sampleAddress(parsePrefix(prefix), own))) ?? {};
  return prefsrc === undefined || /^fe[89ab]/i.test(prefsrc) ? undefined : prefsrc;
}

/** Those of a family. */
export function sourcesOfFamily(sources: readonly ReplySource[], family: Family): ReplySource[] {
  return sources.filter(({ source }) => familyOf(source) === family);
}
