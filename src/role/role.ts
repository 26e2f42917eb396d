/**
 * What happens to packets: bytes and time in, a verdict out, no I/O. Whoever drives a role (dataplane/pipeline.ts) calls it
 * in this order:
 *
 *   1. `prefetch` with a batch of parsed packets
 *   2. `process` for each packet of the batch
 *   3. `account` when the batch has gone out
 *   4. `takeHeld` until it gives 0: packets that were held and may go now, each batch of which begins again at 1
 *   5. `tick` now and then, and again after each batch as long as it says that there is more to do
 */
import type { Packet } from '../codec/packet.js';
import type { ByteOffset, Ticks } from '../codec/units.js';

/** What becomes of a packet. */
export const Verdict = {
  /** Nothing more: it was consumed, held or dropped. */
  drop: 0,
  /** Into the host's own stack, as if it had come from the network. */
  deliver: 1,
  /** Out to the network. */
  emit: 2,
} as const;
export type Verdict = (typeof Verdict)[keyof typeof Verdict];

/** Where a role writes a packet of its own, a standalone, that goes out to the network ahead of the batch. */
export interface Outbox {
  /** Where in the buffer of the packet that is being processed it may write: MAX_STANDALONE bytes, once. */
  readonly offset: ByteOffset;
  /** Sends the `length` bytes at `offset`. */
  add(length: number): void;
}

/**
 * Flows looked at in one tick: some 50 microseconds if all of them expire. With a backlog there is a tick after each
 * batch, so packets go on meanwhile, and flows go faster than a batch can bring new ones.
 */
export const EXPIRY_BUDGET = 128;

export interface Role {
  /**
   * Sees a batch, the first `count` of these packets, BATCH at most, before they are handled one by one, so that what has
   * to be waited for is waited for once. Leaves with each packet what it found out.
   */
  prefetch(packets: readonly Packet[], count: number, now: Ticks): void;
  /** Handles a packet in place, and writes into the outbox what it adds. */
  process(packet: Packet, now: Ticks, outbox: Outbox): Verdict;
  /** Hears how many packets from the outbox went out, how many were refused, and how many of the batch were refused. */
  account(added: number, addedRefused: number, refused: number): void;
  /** Writes the next packet that was held and may go now to `offset` in `bytes`; its length in bytes, or 0 if there is none. */
  takeHeld(bytes: Uint8Array, offset: ByteOffset): number;
  /** Does a bounded piece of the work that time brings; true if there is more of it. */
  tick(now: Ticks): boolean;
}
