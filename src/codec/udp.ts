/** The UDP header (RFC 768). Byte offsets are from its first byte; all fields are in network order. */
import type { ByteOffset } from './units.js';

export const SOURCE_PORT: ByteOffset = 0;
export const DESTINATION_PORT: ByteOffset = 2;
export const LENGTH: ByteOffset = 4;
export const CHECKSUM: ByteOffset = 6;

/** Its length in bytes. */
export const HEADER = 8;
export const PROTOCOL = 17;
