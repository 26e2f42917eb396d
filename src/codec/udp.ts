/** UDP header (RFC 768): byte offsets from its first byte; all fields in network order. */
export const SOURCE_PORT = 0;
export const DESTINATION_PORT = 2;
export const LENGTH = 4;
export const CHECKSUM = 6;

export const HEADER = 8;
export const PROTOCOL = 17;
