/** Words of the memory by which the main thread and the data plane's thread give each other signs. */
export const Signal = {
  /** Counts the worker's turns: one that stands still is stuck. */
  heartbeat: 0,
  /** Set by the main thread: a message waits. */
  message: 1,
  /** Set by the main thread: finish. */
  stop: 2,
} as const;

export const SIGNAL_BYTES = 3 * Int32Array.BYTES_PER_ELEMENT;
