/** What the main thread and the data plane's thread tell each other, beside the signals. */
import type { TableOptions } from '../flow/table.js';
import type { FlowFileShape } from './flow-file.js';
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
  /** Holds a table, which may have flows already. */
  flows: SharedArrayBuffer;
  /** Where flows are saved; undefined: nowhere. */
  file: FlowFileShape | undefined;
  counters: SharedArrayBuffer;
  signals: SharedArrayBuffer;
}

/** The worker takes packets now. */
export const READY = 'ready';

/** The file of the flows cannot grow any more. */
export const NO_ROOM = 'no room';

/** The path to a client (four words) takes no packets of more than `mtu` bytes. */
export interface PathMtuNews {
  client: number[];
  mtu: number;
}

export type FromWorker = typeof READY | typeof NO_ROOM | PathMtuNews;
