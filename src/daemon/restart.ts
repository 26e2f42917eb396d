/** What a running shim can't change in its configuration. */
import type { Config } from './config/index.js';

export interface Reload {
  /** The new configuration, with the old values where a restart would be needed. */
  config: Config;
  /** The keys and sections whose new values wait for a restart. */
  needRestart: string[];
}

export function reloadable(running: Config, next: Config): Reload {
  const { role, tun, control, routing } = running;
  const section = role === 'real-server' ? 'realServer' : 'loadBalancer';
  const { maxFlows, flowTimeoutSeconds } = running[section];
  const fixed: [name: string, running: unknown, next: unknown][] = [
    ['role', role, next.role],
    ['tun', tun, next.tun],
    ['control', control, next.control],
    ['routing', routing, next.routing],
    [`${section}.maxFlows`, maxFlows, next[section].maxFlows],
    [`${section}.flowTimeout`, flowTimeoutSeconds, next[section].flowTimeoutSeconds],
  ];
  const needRestart = fixed
    .filter(([, a, b]) => JSON.stringify(a) !== JSON.stringify(b))
    .map(([name]) => name);
  const limits = { [section]: { ...next[section], maxFlows, flowTimeoutSeconds } };
  return { config: { ...next, role, tun, control, routing, ...limits }, needRestart };
}
