/** Makes the role that the configuration names, with what it needs of the kernel. */
import type { FlowTable } from '../flow/table.js';
import { Conntrack } from '../io/conntrack.js';
import { native } from '../io/native.js';
import { PathMtu } from '../io/path-mtu.js';
import type { Counters } from '../role/counters.js';
import { LoadBalancerRole } from '../role/load-balancer/role.js';
import type { LoadBalancerOptions } from '../role/load-balancer/settings.js';
import type { TellPathMtu } from '../role/real-server/client-mtus.js';
import { RealServerRole } from '../role/real-server/role.js';
import type { RealServerOptions } from '../role/real-server/settings.js';
import type { Role } from '../role/role.js';

/** Plain data: it goes from thread to thread. */
export type RoleSettings =
  | { name: 'real-server'; options: RealServerOptions }
  | { name: 'load-balancer'; options: LoadBalancerOptions };

/** What a role works with. */
export interface RoleMeans {
  flows: FlowTable;
  counters: Counters;
  seed: number;
  /** The fwmark of what is sent. Conntrack's mark of a released flow has the same bit. */
  fwmark: number;
  tellPathMtu: TellPathMtu;
}

export interface ActiveRole {
  role: Role;
  /** Takes other settings of the same role from the next packet on; those of another role are ignored. */
  configure(settings: RoleSettings): void;
  close(): void;
}

export function makeRole(settings: RoleSettings, means: RoleMeans): ActiveRole {
  return settings.name === 'real-server'
    ? realServer(settings.options, means)
    : loadBalancer(settings.options, means);
}

function realServer(
  options: RealServerOptions,
  { flows, counters, seed, tellPathMtu }: RoleMeans,
): ActiveRole {
  const role = new RealServerRole(options, flows, counters, tellPathMtu, seed);
  return {
    role,
    configure(settings) {
      if (settings.name === 'real-server') role.configure(settings.options);
    },
    close() {},
  };
}

function loadBalancer(
  options: LoadBalancerOptions,
  { flows, counters, fwmark, seed }: RoleMeans,
): ActiveRole {
  const conntrack = new Conntrack(native, fwmark);
  const path = new PathMtu(native, fwmark);
  const pathMtu = path.get.bind(path);
  const role = new LoadBalancerRole(options, flows, counters, conntrack, pathMtu, seed);
  return {
    role,
    configure(settings) {
      if (settings.name === 'load-balancer') role.configure(settings.options);
    },
    close() {
      conntrack.close();
      path.close();
    },
  };
}
