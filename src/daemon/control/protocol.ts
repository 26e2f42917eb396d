/**
 * The protocol of the control socket, which is the command line's way in: a unix socket, one request a connection. The
 * request is a line of JSON. The answer is lines of JSON, an item each, and a last line that is `Done` or `Failure`.
 */
import type { FlowFilters } from './filters.js';

export type ControlRequest =
  | { command: 'status' }
  | { command: 'stats' }
  | { command: 'flows'; filters: FlowFilters }
  | { command: 'lookup'; source: string; destination: string };

/** The last line of an answer that is complete. */
export interface Done {
  done: true;
}

/** The last line of an answer that could not be given, or not to its end. */
export interface Failure {
  error: string;
}
