/** Whether the data plane still works. */
import type { Teardown } from '../lifecycle.js';

const CHECK_INTERVAL_MS = 1000;
/** Checks without a heartbeat after which the data plane counts as stuck. */
const MOST_MISSED = 5;

export interface WatchedPlane {
  /** Settles when the data plane has ended. */
  readonly ended: Promise<void>;
  /** Changes as long as the data plane works. */
  readonly heartbeat: number;
}

export interface PlaneWatch {
  /** Rejected once the data plane has ended, has failed or is stuck. */
  failed: Promise<never>;
  stop: Teardown;
}

export function watchPlane(plane: WatchedPlane): PlaneWatch {
  let lastBeat = plane.heartbeat;
  let missed = 0;
  let fail: (error: Error) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  // `run` waits for this promise only between a complete start and the stop. Without a handler of its own, a rejection
  // before or after that (a stop ends the data plane too) would end the process.
  failed.catch(() => {});
  plane.ended.then(() => fail(new Error('the data plane has ended')), fail);
  const timer = setInterval(() => {
    const beat = plane.heartbeat;
    missed = beat === lastBeat ? missed + 1 : 0;
    lastBeat = beat;
    if (missed >= MOST_MISSED) fail(new Error('the data plane is stuck'));
  }, CHECK_INTERVAL_MS);
  return { failed, stop: () => clearInterval(timer) };
}
