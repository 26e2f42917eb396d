/** Which role the data plane plays, and what it plays it with. */
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

export interface RoleMeans {
  flows: FlowTable;
  counters: Counters;
  seed: number;
  /** SO_MARK of what is sent, and our bit in conntrack's marks. */
  mark: number;
  tellPathMtu: TellPathMtu;
}

export interface ActiveRole {
  role: Role;
  /** Takes other settings; those for another role are a mistake of the caller's. */
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

function loadBalancer(options: LoadBalancerOptions, { flows, counters, mark, seed }: RoleMeans): ActiveRole {
  const conntrack = new Conntrack(native, mark);
  const path = new PathMtu(native, mark);
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
