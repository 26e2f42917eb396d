import type { Packet } from '../codec/packet.js';

/** What becomes of a packet: bits, because an ACK may go along with either of the others. */
export const Verdict = {
  /** Nothing more: consumed or dropped. */
  none: 0,
  /** Into the host's own stack, as if it had come from the network. */
  deliver: 1,
  /** Out to the network. */
  emit: 2,
  /** A packet of the role's own goes out to the network: `extraLength` bytes at the offset it was given. */
  extra: 4,
} as const;

/**
 * Flows looked at in one tick: some 50 microseconds if all of them expire. With a backlog there is a tick after each
 * batch, so packets go on meanwhile, and flows go faster than a batch can bring new ones.
 */
export const EXPIRY_BUDGET = 128;

/** What happens to packets: bytes and time in, a verdict out, no I/O. */
export interface Role {
  /** Length in bytes of the packet that goes along with the last one (`Verdict.extra`). */
  readonly extraLength: number;
  /**
   * Sees a batch, the first `count` of these packets, before they are handled one by one, so that what has to be waited
   * for is waited for once. May leave a hint with each.
   */
  foresee(packets: readonly Packet[], count: number, now: number): void;
  /**
   * Handles a parsed packet, in place. `now` is in ticks (milliseconds, low 32 bits); `extraOffset` is where in
   * the packet's buffer the role may write a packet of its own.
   */
  process(packet: Packet, now: number, extraOffset: number): number;
  /**
   * Gives back the next packet that was held and may go now: writes it at `offset` in `bytes` and gives its length,
   * or 0. It then is processed like any other.
   */
  release(bytes: Uint8Array, offset: number): number;
  /** Hears what became of a batch: how many packets of its own went out, how many of those and of the others not. */
  settle(extrasSent: number, extrasRefused: number, refused: number): void;
  /** Does a bounded piece of the work that time brings; true if there is more of it. */
  tick(now: number): boolean;
}
