/** The input of the real server's planner. */
import { type Family, familyOf } from '../family.js';
import type { TunOptions } from './tun-device.js';

/** How load balancers' packets get into the TUN. */
export type Steering = 'policy-routing' | 'nft-ingress';

export interface RealServerPlanOptions {
  tun: TunOptions;
  routing: {
    /** Load balancers' packets are routed by `table`, replies by `table + 1`. */
    table: number;
    priority: number;
    localPriority: number;
    steering: Steering;
  };
  /** The SO_MARK of what the shim sends. */
  fwmark: number;
  loadBalancers: readonly { prefix: string }[];
  /** Addresses with the first and the last port. */
  services: readonly { address: string; from: number; to: number }[];
  nat64: 'keep' | 'deliver';
}

/** The services' addresses of a family, each once. */
export function servedAddresses({ services }: RealServerPlanOptions, family: Family): string[] {
  return [...new Set(services.map(({ address }) => address))].filter(address => familyOf(address) === family);
}
