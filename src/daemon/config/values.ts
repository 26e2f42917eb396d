/** From the values that convict has put together and checked to the configuration. */
import { withLength } from './addresses.js';
import { type PortRange, readPorts } from './ports.js';
import type { Config, RealServerConfig } from './types.js';

/** The configuration as it was written: elements with gaps, keys without a default still null. */
export interface Values extends Omit<Config, 'role' | 'control' | 'realServer'> {
  role: 'real-server' | 'load-balancer';
  control: { socket: string | null };
  realServer: Omit<RealServerConfig, 'loadBalancers' | 'services'> & {
    loadBalancers: { prefix: string; ack?: boolean; deliverEmpty?: boolean }[] | null;
    services: { address: string; port: string | number }[] | null;
  };
}

/** Fills in what has no default of its own, and brings everything into one spelling. Takes valid values only. */
export function complete(values: Values): Config {
  const { tun, control, realServer } = values;
  return {
    ...values,
    // Its rule lets no other role through.
    role: 'real-server',
    tun: { name: tun.name, address: withLength(tun.address) },
    control: { socket: control.socket ?? defaultSocket(tun.name) },
    realServer: {
      ...realServer,
      loadBalancers: (realServer.loadBalancers ?? []).map(({ prefix, ack = true, deliverEmpty = false }) => ({
        prefix: withLength(prefix),
        ack,
        deliverEmpty,
      })),
      services: (realServer.services ?? []).map(({ address, port }) => ({
        address,
        ...(readPorts(port) as PortRange),
      })),
    },
  };
}

/** One socket an interface, so that several shims can share a host. */
export function defaultSocket(tunName: string): string {
  return `/run/uoa-shim/${tunName}.sock`;
}
