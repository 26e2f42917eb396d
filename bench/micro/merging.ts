/** Sixteen neighbours of one flow become a super-packet. */
import { BATCH } from '#shim/codec/batch.js';
import { Checksum, Packet } from '#shim/codec/packet.js';
import { Arena } from '#shim/io/arena.js';
import { PacketList } from '#shim/io/lists.js';
import { Merger } from '#shim/io/merge.js';
import type { MicroFigure } from './figure.js';
import { nanosecondsEach } from './kit.js';
import { makePacket, toService } from './packets.js';

const BATCHES = 50_000;
const HEADER = 20;

export function merging(): MicroFigure[] {
  return [64, 1200].map(payloadBytes => ({
    name: `step/merge ${BATCH}, ${payloadBytes} B`,
    value: mergeOne(payloadBytes),
    unit: 'ns/packet',
  }));
}

function mergeOne(payloadBytes: number): number {
  const arena = new Arena();
  const merger = new Merger(arena);
  const packet = makePacket(toService(1), payloadBytes);
  const headers = packet.subarray(0, HEADER + 8);
  for (let i = 0; i < BATCH; i++) arena.bytes.set(packet, arena.packetOffset(i));
  const { buffer, bytes, view } = arena;
  const packets = Array.from({ length: BATCH }, () => new Packet(buffer, bytes, view));
  const list = new PacketList();
  const fill = (): void => {
    // Merging changes only the first packet's headers.
    arena.bytes.set(headers, arena.packetOffset(0));
    list.count = 0;
    for (let i = 0; i < BATCH; i++) {
      const start = arena.packetOffset(i);
      packets[i].parse(start, start + packet.length, Checksum.good);
      list.add(packets[i]);
    }
  };
  const fillingNs = nanosecondsEach(BATCHES * BATCH, () => {
    for (let left = BATCHES; left > 0; left--) fill();
  });
  const allNs = nanosecondsEach(BATCHES * BATCH, () => {
    for (let left = BATCHES; left > 0; left--) {
      fill();
      merger.merge(list);
    }
  });
  if (list.count !== 1) throw new Error(`${list.count} packets are left: nothing was merged`);
  return allNs - fillingNs;
}
