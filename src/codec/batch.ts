/** Packets that are handled together at most: more gains nothing (measured), and keeps a batch inside the second-level cache. */
export const BATCH = 16;
