/** The kit of each role. */
import type { RoleName } from '../config/index.js';
import type { RoleKit } from './kit.js';
import { loadBalancerKit } from './load-balancer.js';
import { realServerKit } from './real-server.js';

const KITS: Readonly<Record<RoleName, RoleKit>> = {
  'real-server': realServerKit,
  'load-balancer': loadBalancerKit,
};

export function roleKit(role: RoleName): RoleKit {
  return KITS[role];
}

export type { RoleKit, RolePlan } from './kit.js';
