/**
 * The virtio-net header in front of each packet of the TUN (linux/virtio_net.h, virtio_net_hdr_mrg_rxbuf). Byte offsets
 * are from its first byte; all fields are in host order. It says what is still to be done to the packet: a checksum to
 * be completed, a super-packet to be cut.
 */
import type { ByteOffset } from './units.js';

export const FLAGS: ByteOffset = 0;
export const GSO_TYPE: ByteOffset = 1;
export const HEADER_LENGTH: ByteOffset = 2;
export const GSO_SIZE: ByteOffset = 4;
export const CHECKSUM_START: ByteOffset = 6;
export const CHECKSUM_OFFSET: ByteOffset = 8;

/** Bytes of the header. They keep the IP header behind it on a 4-byte boundary. */
export const VIRTIO_HEADER = 12;

/** FLAGS: the checksum field holds the sum of the pseudo header only. */
export const NEEDS_CHECKSUM = 1;
/** FLAGS: the checksum is there, and was found right. */
export const DATA_VALID = 2;

/** GSO_TYPE: UDP datagrams of one flow in one packet, GSO_SIZE bytes of payload each but for the last. */
export const GSO_UDP = 5;
