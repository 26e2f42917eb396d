/** Puts bytes where the code under test finds them, in a buffer full of 0xa5, so that an unwritten byte shows. */
import { Packet } from '../../../src/codec/packet.js';
import type { Octets } from './wire.js';

/** A buffer full of 0xa5 with `bytes` in it: `before` bytes in front of them and `after` behind. */
export function surrounded(bytes: Octets, before = 0, after = 0): ArrayBuffer {
  const buffer = new ArrayBuffer(before + bytes.length + after);
  const all = new Uint8Array(buffer);
  all.fill(0xa5);
  all.set(bytes, before);
  return buffer;
}

/** A view of exactly these bytes: reading one too many throws. */
export function viewOf(bytes: Octets): DataView {
  return new DataView(surrounded(bytes));
}

/** A parsed packet with `headroom` bytes in front and its last byte at the very end of its buffer. */
export function load(bytes: Octets, headroom = 0): Packet {
  const packet = new Packet(surrounded(bytes, headroom));
  packet.parse(headroom, headroom + bytes.length);
  return packet;
}

/** The packet's bytes as they are now. */
export function bytesOf(packet: Packet): Uint8Array {
  return packet.bytes.slice(packet.start, packet.end);
}
