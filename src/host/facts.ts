/**
 * What the host is like before we change it: read with `ip` and from /proc, changing nothing.
 *
 * What a previous `run` changed (and recorded) counts as unchanged, so that a plan made while the shim runs, or
 * after it was killed, is the same as one made before.
 */
import { existsSync } from 'node:fs';
import { ExitCode, OperatorError } from '../errors.js';
import type { Prefix } from '../flow/prefixes.js';
import { PrefixList } from '../flow/prefixes.js';
import { formatAddress, parseAddress, parsePrefix } from './addresses.js';
import { run, runChecked } from './command.js';
import { readState, type SysctlUndo } from './state.js';
import { interfaceKey, readSysctl, UDP_EARLY_DEMUX } from './sysctl.js';

export interface LocalRule {
  priority: number;
  /** Who made it, as `ip -d rule` has it: kernel, unless somebody moved it. */
  protocol: string;
}

/** An interface on which load balancers are reached. */
export interface LbInterface {
  name: string;
  mtu: number;
  forwarding: string;
  rpFilter: string;
}

export interface Facts {
  localRule: LocalRule;
  /** Effective for an interface is the larger of its own rp_filter and this one. */
  allRpFilter: string;
  /** Whether the kernel looks for a UDP packet's socket before it routes the packet. */
  udpEarlyDemux: string;
  /** For each load-balancer prefix, the interface towards it, in the order of the configuration. */
  towardsLb: LbInterface[];
  /** The host's own addresses as prefixes, broadcast addresses apart. */
  ownAddresses: Prefix[];
  broadcastAddresses: Prefix[];
  hasIpv6: boolean;
}

export interface FactsRequest {
  tun: string;
  loadBalancers: readonly { prefix: string }[];
  /** Empty: found by the route. */
  interface: string;
}

export async function readFacts(request: FactsRequest): Promise<Facts> {
  const changed = readState(request.tun);
  const [localRule, addresses] = await Promise.all([readLocalRule(), readLocalAddresses()]);
  const original = (key: string): string =>
    changed?.undo.find((undo): undo is SysctlUndo => undo.kind === 'sysctl' && undo.key === key)?.before ??
    readSysctl(key) ??
    '0';
  const towardsLb: LbInterface[] = [];
  for (const { prefix } of request.loadBalancers) {
    const { name, mtu } = await readInterface(prefix, request.interface, addresses.own);
    const forwarding = original(interfaceKey(name, 'forwarding'));
    towardsLb.push({ name, mtu, forwarding, rpFilter: original(interfaceKey(name, 'rp_filter')) });
  }
  return {
    localRule: changed?.localRule ?? localRule,
    allRpFilter: readSysctl(interfaceKey('all', 'rp_filter')) ?? '0',
    udpEarlyDemux: original(UDP_EARLY_DEMUX),
    towardsLb,
    ownAddresses: addresses.own,
    broadcastAddresses: addresses.broadcast,
    hasIpv6: existsSync('/proc/sys/net/ipv6'),
  };
}

interface JsonRule {
  priority: number;
  table?: string;
  protocol?: string;
}

async function readLocalRule(): Promise<LocalRule> {
  const rules = await readJson<JsonRule>(['-d', '-4', 'rule', 'show']);
  const local = rules.find(({ table }) => table === 'local');
  if (local === undefined)
    throw new OperatorError(
      'there is no rule for the table local; put it back with: ip rule add pref 0 lookup local protocol kernel',
      ExitCode.failed,
    );
  return { priority: local.priority, protocol: local.protocol ?? 'kernel' };
}

interface JsonRoute {
  type?: string;
  dst: string;
  dev?: string;
  metrics?: { mtu?: number }[];
}

/** The addresses that packets to or from are the host's own. */
export async function readLocalAddresses(): Promise<{ own: Prefix[]; broadcast: Prefix[] }> {
  const routes = await readJson<JsonRoute>(['-4', 'route', 'show', 'table', 'local']);
  const ofType = (wanted: string): Prefix[] =>
    routes.filter(({ type }) => type === wanted).map(({ dst }) => parsePrefix(dst));
  return { own: ofType('local'), broadcast: ofType('broadcast') };
}

async function readInterface(
  prefix: string,
  configured: string,
  own: readonly Prefix[],
): Promise<{ name: string; mtu: number }> {
  const route = configured === '' ? await readRoute(prefix, own) : { dev: configured, mtu: undefined };
  const links = await readJson<{ ifname: string; mtu: number }>(['link', 'show', 'dev', route.dev]);
  return { name: route.dev, mtu: route.mtu ?? links[0].mtu };
}

async function readRoute(prefix: string, own: readonly Prefix[]): Promise<{ dev: string; mtu?: number }> {
  const probe = addressInside(parsePrefix(prefix), own);
  const outcome = await run('ip', ['-j', '-4', 'route', 'get', probe]);
  const route = outcome.status === 0 ? (JSON.parse(outcome.stdout) as JsonRoute[])[0] : undefined;
  if (route?.dev === undefined || route.type === 'local')
    throw new OperatorError(
      `no route to the load balancers ${prefix} (ip route get ${probe}); name the interface in realServer.interface`,
      ExitCode.failed,
    );
  const mtu = route.metrics?.[0]?.mtu;
  return mtu === undefined ? { dev: route.dev } : { dev: route.dev, mtu };
}

/** Some address of a prefix that can be a load balancer's: not the network's, not one of our own. */
function addressInside({ words, length }: Prefix, own: readonly Prefix[]): string {
  const ownList = new PrefixList(own);
  const hostBits = 128 - length;
  const first = hostBits < 2 ? 0 : 1;
  const last = Math.min(2 ** hostBits - 1, first + own.length);
  for (let host = first; host <= last; host++) {
    const address = (words[3] + host) | 0;
    if (!ownList.has4(address)) return formatAddress([0, 0, 0xffff, address]);
  }
  return formatAddress([...words]);
}

async function readJson<T>(args: string[]): Promise<T[]> {
  const text = await runChecked('ip', ['-j', ...args]);
  return text.trim() === '' ? [] : (JSON.parse(text) as T[]);
}

/** Whether a routing table has routes. */
export async function tableHasRoutes(table: number): Promise<boolean> {
  const outcome = await run('ip', ['-4', 'route', 'show', 'table', String(table)]);
  return outcome.stdout.trim() !== '';
}

/** Whether an address (text) is one of the host's own. */
export function isOwn(facts: Facts, address: string): boolean {
  return new PrefixList(facts.ownAddresses).has4(parseAddress(address)[3]);
}
