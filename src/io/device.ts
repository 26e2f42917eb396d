/**
 * The interface between a pipeline and the world. Packets come in batches from the host's stack, and go out to the stack
 * or to the network. All packets of a batch are in one arena, which is the device's.
 */
import type { Packet } from '../codec/packet.js';
import type { Arena } from './arena.js';
import type { PacketList, PieceList } from './lists.js';

export interface Device {
  readonly arena: Arena;
  /** The time of the last `receive` in element 0, in ticks. */
  readonly clock: Int32Array;
  /**
   * Waits up to `timeoutMs` for packets or a wake-up, and parses what came, BATCH packets at most, into the first of
   * `packets`; each has HEADROOM bytes in front of it. How many came: 0 after a wake-up or the time-out. Throws when the
   * device is gone.
   */
  receive(packets: readonly Packet[], timeoutMs: number): number;
  /**
   * Gives packets to the host's stack as if the network had brought them; how many were refused. Those that were merged
   * count as one. Both the list and its packets are used up.
   */
  deliver(packets: PacketList): number;
  /** Sends packets to the network; how many datagrams were refused. Both the list and its packets are used up. */
  emit(packets: PacketList): number;
  /** Sends packets that the role added to the network, complete as they are; how many were refused. */
  emitAdded(packets: PieceList): number;
  /** Safe to call twice. */
  close(): void;
}
