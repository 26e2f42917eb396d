/** What is up, and what it was made from. */
import type { DataPlane } from '../dataplane/plane.js';
import type { HostSetup } from '../host/apply/host-setup.js';
import type { Config } from './config/index.js';
import type { Lifecycle } from './lifecycle.js';
import type { RoleKit, RolePlan } from './roles/index.js';

/** Shared by the daemon, its watches and its answers. A reload puts another configuration and plan in. */
export interface Running {
  readonly kit: RoleKit;
  readonly life: Lifecycle;
  readonly plane: DataPlane;
  readonly setup: HostSetup;
  config: Config;
  plan: RolePlan;
  /** Rules, routes and settings of ours that the host lacked at the last look. */
  missing: readonly string[];
}

/** How the log and `status` call something that is missing. */
export function describeMissing(line: string): string {
  return `gone from this host: ${line}`;
}
