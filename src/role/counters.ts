/**
 * The real server's counters, under the names that `stats --json` shows: one double each, so that a thread may
 * read what another one counts.
 */
const NAMES = [
  'uoa_got',
  'uoa_none',
  'uoa_saved',
  'uoa_ack_sent',
  'uoa_ack_fail',
  'uoa_miss',
  'uoa_invalid',
  'uoa_standalone',
  'packets_delivered',
  'replies_translated',
  'replies_passed',
  'icmp_translated',
  'dropped_malformed',
  'dropped_io',
  'packets_ignored',
  'flows',
  'flows_expired',
  'flows_evicted',
  'lookup_success',
  'lookup_miss',
  'fragments_held',
  'fragments_dropped',
] as const;

export type CounterName = (typeof NAMES)[number];

/** The place of each counter in the array. */
export const Counter = Object.fromEntries(NAMES.map((name, i) => [name, i])) as Record<CounterName, number>;

export type Counters = Float64Array;

export const COUNTERS_BYTES = NAMES.length * Float64Array.BYTES_PER_ELEMENT;

export function makeCounters(buffer: ArrayBufferLike = new ArrayBuffer(COUNTERS_BYTES)): Counters {
  return new Float64Array(buffer, 0, NAMES.length);
}

/** The counters as a flat object of integers. */
export function readCounters(counters: Counters): Record<CounterName, number> {
  return Object.fromEntries(NAMES.map((name, i) => [name, counters[i]])) as Record<CounterName, number>;
}
