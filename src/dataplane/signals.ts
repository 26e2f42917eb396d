/** Words of the memory by which the main thread and the data plane's thread signal to each other. */
export const Signal = {
  /** Counts the worker's turns: if it stands still, the worker is stuck. */
  heartbeat: 0,
  /** Set by the main thread when it has sent a message. */
  message: 1,
  /** Set by the main thread when the worker is to end. */
  stop: 2,
} as const;

export const SIGNAL_BYTES = 3 * Int32Array.BYTES_PER_ELEMENT;
