/**
 * The virtio-net header that stands in front of each packet of the TUN (linux/virtio_net.h, virtio_net_hdr_mrg_rxbuf):
 * byte offsets, all fields in host order. It says what is still to be done to the packet: a checksum to be completed,
 * a super-packet to be cut.
 */

export const FLAGS = 0;
export const GSO_TYPE = 1;
export const HEADER_LENGTH = 2;
export const GSO_SIZE = 4;
export const CHECKSUM_START = 6;
export const CHECKSUM_OFFSET = 8;

/** Keeps the IP header behind it on a 4-byte boundary. */
export const VIRTIO_HEADER = 12;

/** The checksum field holds the pseudo header's sum only; or: the checksum is there, and was found right. */
export const NEEDS_CHECKSUM = 1;
export const DATA_VALID = 2;

/** UDP datagrams of one flow in one packet, GSO_SIZE bytes of payload each but for the last. */
export const GSO_UDP = 5;
