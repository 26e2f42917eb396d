/** The cost of single steps of a packet's way. */
import { strip } from '#shim/codec/marks.js';
import { Packet } from '#shim/codec/packet.js';
import { setSource } from '#shim/codec/rewrite.js';
import { writeAck } from '#shim/codec/standalone.js';
import { completeChecksum } from '#shim/io/cut.js';
import type { MicroFigure } from './figure.js';
import { nanosecondsEach } from './kit.js';
import { CLIENT_NETWORK, makePacket, toService } from './packets.js';

const TIMES = 1_000_000;
const OFFSET = 128;
const ACK_OFFSET = 8192;
const HEADER_BYTES = 20;

/** Nanoseconds of one call. */
function each(act: () => void): number {
  return nanosecondsEach(TIMES, () => {
    for (let left = TIMES; left > 0; left--) act();
  });
}

export function steps(): MicroFigure[] {
  const buffer = new ArrayBuffer(16384);
  const bytes = new Uint8Array(buffer);
  const packet = new Packet(buffer);
  const plain = makePacket(toService(1), 64);
  const marked = makePacket(toService(1), 64, CLIENT_NETWORK + 1);
  const large = makePacket(toService(1), 1200);

  bytes.set(plain, OFFSET);
  const parsing = each(() => packet.parse(OFFSET, OFFSET + plain.length));
  const clients = [
    Int32Array.of(0, 0, 0xffff, CLIENT_NETWORK),
    Int32Array.of(0, 0, 0xffff, CLIENT_NETWORK + 9),
  ];
  let turn = 0;
  const rewriting = each(() => {
    turn ^= 1;
    setSource(packet, clients[turn], 0, 5555 + turn);
  });

  const copying = each(() => bytes.set(marked, OFFSET));
  const readingMark = each(() => {
    bytes.set(marked, OFFSET);
    packet.parse(OFFSET, OFFSET + marked.length);
  });
  const stripping = each(() => {
    bytes.set(marked, OFFSET);
    packet.parse(OFFSET, OFFSET + marked.length);
    strip(packet);
  });
  bytes.set(marked, OFFSET);
  packet.parse(OFFSET, OFFSET + marked.length);
  const acknowledging = each(() => writeAck(packet, packet.view, ACK_OFFSET));

  const small = checksumming(packet.view, bytes, plain);
  const whole = checksumming(packet.view, bytes, large);
  return [
    { name: 'step/parse', value: parsing, unit: 'ns' },
    { name: 'step/parse, with a mark', value: readingMark - copying, unit: 'ns' },
    { name: 'step/rewrite the source', value: rewriting, unit: 'ns' },
    { name: 'step/strip a mark', value: stripping - readingMark, unit: 'ns' },
    { name: 'step/write an ACK', value: acknowledging, unit: 'ns' },
    { name: 'step/whole checksum, 64 B', value: small, unit: 'ns' },
    { name: 'step/whole checksum, 1200 B', value: whole, unit: 'ns' },
  ];
}

function checksumming(view: DataView, bytes: Uint8Array, packet: Uint8Array): number {
  bytes.set(packet, OFFSET);
  return each(() => completeChecksum(view, false, OFFSET, OFFSET + HEADER_BYTES, OFFSET + packet.length));
}
