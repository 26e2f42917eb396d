/** From the values that convict has put together and checked to the configuration. */
import { readUnicast, withLength } from './addresses.js';
import { type PortRange, readPort, readPorts } from './ports.js';
import type {
  Config,
  LoadBalancerConfig,
  LoadBalancerSource,
  RealServerConfig,
  RoleName,
  Schedule,
} from './types.js';

/** What our own load balancer gives its flows. */
const DEFAULT_TIMEOUT_SECONDS = 360;

/**
 * The values as they were written, by the schema's keys: elements may lack what has a default, and keys without a
 * default may be null.
 */
export interface Values {
  role: RoleName;
  tun: Omit<Config['tun'], 'coalesceUs'> & { coalesce: number };
  log: Config['log'];
  control: { socket: string | null };
  routing: Omit<Config['routing'], 'fwmark'> & { mark: number };
  realServer: Pick<RealServerConfig, 'interface' | 'maxFlows' | 'nat64'> & {
    loadBalancers: WrittenSource[] | null;
    services: { address: string; port: string | number }[] | null;
    flowTimeout: number;
  };
  loadBalancer: Pick<LoadBalancerConfig, 'carrier' | 'maxTrails' | 'interface' | 'nat' | 'maxFlows'> & {
    localAddresses: string[] | null;
    services: WrittenService[] | null;
    conntrackTimeout: boolean | null;
    flowTimeout: number;
  };
}

interface WrittenSource {
  prefix: string;
  ack?: boolean;
  ask?: boolean;
  deliverEmpty?: boolean;
  timeout?: number | { unanswered: number; answered: number };
}

interface WrittenService {
  vip: string;
  port: string | number;
  schedule?: Schedule;
  realServers?: { address: string; port?: string | number; weight?: number }[];
}

/** Fills in the defaults that the schema can't have, and gives values their one spelling. Takes valid values only. */
export function complete({ role, tun, log, control, routing, realServer, loadBalancer }: Values): Config {
  const { coalesce, ...restOfTun } = tun;
  const { mark, ...restOfRouting } = routing;
  return {
    role,
    tun: { ...restOfTun, address: withLength(tun.address), coalesceUs: coalesce },
    log,
    control: { socket: control.socket ?? defaultSocket(tun.name) },
    routing: { ...restOfRouting, fwmark: mark },
    realServer: completeRealServer(realServer),
    loadBalancer: completeLoadBalancer(loadBalancer),
  };
}

function completeRealServer(values: Values['realServer']): RealServerConfig {
  return {
    interface: values.interface,
    loadBalancers: (values.loadBalancers ?? []).map(completeSource),
    services: (values.services ?? []).map(({ address, port }) => ({
      address: oneSpelling(address),
      ...(readPorts(port) as PortRange),
    })),
    flowTimeoutSeconds: values.flowTimeout,
    maxFlows: values.maxFlows,
    nat64: values.nat64,
  };
}

function completeSource({
  prefix,
  ack = true,
  deliverEmpty = false,
  ask = ack && !deliverEmpty,
  timeout = DEFAULT_TIMEOUT_SECONDS,
}: WrittenSource): LoadBalancerSource {
  const [unansweredSeconds, answeredSeconds] =
    typeof timeout === 'number' ? [timeout, timeout] : [timeout.unanswered, timeout.answered];
  return {
    prefix: withLength(prefix),
    ack,
    ask,
    deliverEmpty,
    timeout: { unansweredSeconds, answeredSeconds },
  };
}

function completeLoadBalancer(values: Values['loadBalancer']): LoadBalancerConfig {
  return {
    carrier: values.carrier,
    maxTrails: values.maxTrails,
    interface: values.interface,
    nat: values.nat,
    localAddresses: (values.localAddresses ?? []).map(oneSpelling),
    services: (values.services ?? []).map(service => ({
      vip: oneSpelling(service.vip),
      port: readPort(service.port) as number,
      schedule: service.schedule ?? 'source-hash',
      realServers: (service.realServers ?? []).map(({ address, port = service.port, weight = 1 }) => ({
        address: oneSpelling(address),
        port: readPort(port) as number,
        weight,
      })),
    })),
    conntrackTimeout: values.conntrackTimeout ?? values.nat === 'managed',
    flowTimeoutSeconds: values.flowTimeout,
    maxFlows: values.maxFlows,
  };
}

function oneSpelling(address: string): string {
  return readUnicast(address) as string;
}

/** One socket an interface, so that several shims can share a host. */
export function defaultSocket(tunName: string): string {
  return `/run/uoa-shim/${tunName}.sock`;
}
