/** From the values that convict has put together and checked to the configuration. */
import { readUnicast, withLength } from './addresses.js';
import { type PortRange, readPort, readPorts } from './ports.js';
import type { Config, LoadBalancerConfig, RealServerConfig, Schedule } from './types.js';

/** The configuration as it was written: elements with gaps, keys without a default still null. */
export interface Values extends Omit<Config, 'control' | 'realServer' | 'loadBalancer'> {
  control: { socket: string | null };
  realServer: Omit<RealServerConfig, 'loadBalancers' | 'services'> & {
    loadBalancers: { prefix: string; ack?: boolean; deliverEmpty?: boolean }[] | null;
    services: { address: string; port: string | number }[] | null;
  };
  loadBalancer: Omit<LoadBalancerConfig, 'localAddresses' | 'services'> & {
    localAddresses: string[] | null;
    services: WrittenService[] | null;
  };
}

interface WrittenService {
  vip: string;
  port: string | number;
  schedule?: Schedule;
  realServers?: { address: string; port?: string | number; weight?: number }[];
}

/** Fills in what has no default of its own, and brings everything into one spelling. Takes valid values only. */
export function complete(values: Values): Config {
  const { tun, control } = values;
  return {
    ...values,
    tun: { ...tun, address: withLength(tun.address) },
    control: { socket: control.socket ?? defaultSocket(tun.name) },
    realServer: completeRealServer(values.realServer),
    loadBalancer: completeLoadBalancer(values.loadBalancer),
  };
}

function completeRealServer(values: Values['realServer']): RealServerConfig {
  return {
    ...values,
    loadBalancers: (values.loadBalancers ?? []).map(({ prefix, ack = true, deliverEmpty = false }) => ({
      prefix: withLength(prefix),
      ack,
      deliverEmpty,
    })),
    services: (values.services ?? []).map(({ address, port }) => ({
      address: oneSpelling(address),
      ...(readPorts(port) as PortRange),
    })),
  };
}

function completeLoadBalancer(values: Values['loadBalancer']): LoadBalancerConfig {
  return {
    ...values,
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
  };
}

function oneSpelling(address: string): string {
  return readUnicast(address) as string;
}

/** One socket an interface, so that several shims can share a host. */
export function defaultSocket(tunName: string): string {
  return `/run/uoa-shim/${tunName}.sock`;
}
