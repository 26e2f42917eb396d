/** The virtio headers in front of packets, read and written. */
import { HOST_IS_LITTLE_ENDIAN } from '../codec/host-order.js';
import { Checksum, type Packet } from '../codec/packet.js';
import * as udp from '../codec/udp.js';
import type { ByteOffset } from '../codec/units.js';
import * as virtio from '../codec/virtio.js';

/** Parses a packet behind its virtio header at `start`; both take `length` bytes. */
export function parseWithHeader(packet: Packet, start: ByteOffset, length: number): void {
  const { view } = packet;
  const isUdp = view.getUint8(start + virtio.GSO_TYPE) === virtio.GSO_UDP;
  const checksum = checksumOf(view.getUint8(start + virtio.FLAGS));
  const segment = isUdp ? view.getUint16(start + virtio.GSO_SIZE, HOST_IS_LITTLE_ENDIAN) : 0;
  packet.parse(start + virtio.VIRTIO_HEADER, start + length, checksum, segment);
}

function checksumOf(flags: number): Checksum {
  if ((flags & virtio.NEEDS_CHECKSUM) !== 0) return Checksum.partial;
  return (flags & virtio.DATA_VALID) !== 0 ? Checksum.good : Checksum.full;
}

/** Writes the virtio header in front of a packet, and gives its offset. */
export function writeHeader({ view, start, udp: header, checksum, segment }: Packet): ByteOffset {
  const at = start - virtio.VIRTIO_HEADER;
  for (let k = 0; k < virtio.VIRTIO_HEADER; k += 4) view.setInt32(at + k, 0);
  if (checksum !== Checksum.partial) return at;

  const udpOffset = header - start;
  view.setUint8(at + virtio.FLAGS, virtio.NEEDS_CHECKSUM);
  view.setUint16(at + virtio.CHECKSUM_START, udpOffset, HOST_IS_LITTLE_ENDIAN);
  view.setUint16(at + virtio.CHECKSUM_OFFSET, udp.CHECKSUM, HOST_IS_LITTLE_ENDIAN);
  if (segment === 0) return at;
  view.setUint8(at + virtio.GSO_TYPE, virtio.GSO_UDP);
  view.setUint16(at + virtio.HEADER_LENGTH, udpOffset + udp.HEADER, HOST_IS_LITTLE_ENDIAN);
  view.setUint16(at + virtio.GSO_SIZE, segment, HOST_IS_LITTLE_ENDIAN);
  return at;
}
