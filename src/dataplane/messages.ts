/** What the main thread and the data plane's thread tell each other, beside the signals. */
import type { TableOptions } from '../flow/table.js';
import type { RoleSettings } from './make-role.js';

/** What the worker is given. */
export interface DataPlaneSetup {
  tunFd: number;
  wakeFd: number;
  fwmark: number;
  merges: boolean;
  coalesceUs: number;
  table: TableOptions;
  role: RoleSettings;
  flows: SharedArrayBuffer;
  counters: SharedArrayBuffer;
  signals: SharedArrayBuffer;
}

/** The worker takes packets now. */
export const READY = 'ready';

/** The path to a client (four words) takes no packets of more than `mtu` bytes. */
export interface PathMtuNews {
  client: number[];
  mtu: number;
}

export type FromWorker = typeof READY | PathMtuNews;
