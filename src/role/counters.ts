/**
 * The counters of both roles, under the names that `stats --json` shows: a double each, in memory that another
 * thread may read.
 */

export const REAL_SERVER_COUNTERS = [
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
  'uoa_replaced',
  'asks_sent',
  'asks_answered',
] as const;

export type RealServerCounter = (typeof REAL_SERVER_COUNTERS)[number];

export const LOAD_BALANCER_COUNTERS = [
  'packets_seen',
  'marks_inserted',
  'marks_standalone',
  'marks_forged',
  'acks_received',
  'acks_unmatched',
  'packets_unmarked',
  'dropped_malformed',
  'dropped_io',
  'packets_ignored',
  'flows',
  'flows_acked',
  'flows_released',
  'flows_expired',
  'flows_evicted',
  'lookup_success',
  'lookup_miss',
  'asks_received',
  'asks_unknown',
] as const;

export type Counters = Float64Array;

/** The place of each counter in the array. */
export const Counter = places(REAL_SERVER_COUNTERS);
export const LbCounter = places(LOAD_BALANCER_COUNTERS);

const PLACES = Math.max(REAL_SERVER_COUNTERS.length, LOAD_BALANCER_COUNTERS.length);
export const COUNTERS_BYTES = PLACES * Float64Array.BYTES_PER_ELEMENT;

export function makeCounters(buffer: ArrayBufferLike = new ArrayBuffer(COUNTERS_BYTES)): Counters {
  return new Float64Array(buffer, 0, PLACES);
}

/** The counters as a flat object of integers. */
export function readCounters<Name extends string>(
  counters: Counters,
  names: readonly Name[],
): Record<Name, number> {
  return Object.fromEntries(names.map((name, i) => [name, counters[i]])) as Record<Name, number>;
}

function places<Name extends string>(names: readonly Name[]): Record<Name, number> {
  return Object.fromEntries(names.map((name, i) => [name, i])) as Record<Name, number>;
}
