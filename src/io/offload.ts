/** Virtio headers in front of the packets of a list: what they say, and what is said by them. */
import { HOST_IS_LITTLE_ENDIAN } from '../codec/host-order.js';
import { Checksum } from '../codec/packet.js';
import * as udp from '../codec/udp.js';
import * as virtio from '../codec/virtio.js';
import type { PacketList } from './device.js';

/** Takes the header off the packet at `i`, into the list. */
export function takeHeader(view: DataView, packets: PacketList, i: number): void {
  const at = packets.offsets[i];
  const isUdp = view.getUint8(at + virtio.GSO_TYPE) === virtio.GSO_UDP;
  packets.checksums[i] = checksumOf(view.getUint8(at + virtio.FLAGS));
  packets.segments[i] = isUdp ? view.getUint16(at + virtio.GSO_SIZE, HOST_IS_LITTLE_ENDIAN) : 0;
  packets.offsets[i] += virtio.VIRTIO_HEADER;
  packets.lengths[i] -= virtio.VIRTIO_HEADER;
}

function checksumOf(flags: number): Checksum {
  if ((flags & virtio.NEEDS_CHECKSUM) !== 0) return Checksum.partial;
  return (flags & virtio.DATA_VALID) !== 0 ? Checksum.good : Checksum.full;
}

/** Puts a header in front of the packet at `i`, as the list has it. */
export function putHeader(view: DataView, packets: PacketList, i: number): void {
  packets.offsets[i] -= virtio.VIRTIO_HEADER;
  packets.lengths[i] += virtio.VIRTIO_HEADER;
  const at = packets.offsets[i];
  for (let k = 0; k < virtio.VIRTIO_HEADER; k += 4) view.setInt32(at + k, 0);
  if (packets.checksums[i] !== Checksum.partial) return;

  const transport = packets.transports[i];
  view.setUint8(at + virtio.FLAGS, virtio.NEEDS_CHECKSUM);
  view.setUint16(at + virtio.CHECKSUM_START, transport, HOST_IS_LITTLE_ENDIAN);
  view.setUint16(at + virtio.CHECKSUM_OFFSET, udp.CHECKSUM, HOST_IS_LITTLE_ENDIAN);
  if (packets.segments[i] === 0) return;
  view.setUint8(at + virtio.GSO_TYPE, virtio.GSO_UDP);
  view.setUint16(at + virtio.HEADER_LENGTH, transport + udp.HEADER, HOST_IS_LITTLE_ENDIAN);
  view.setUint16(at + virtio.GSO_SIZE, packets.segments[i], HOST_IS_LITTLE_ENDIAN);
}
