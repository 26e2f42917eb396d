/** The order of bytes in what the kernel reads and writes in the host's own order: netlink's and virtio's headers. */

export const HOST_IS_LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
