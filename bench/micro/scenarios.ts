/** The micro-benchmarks. Each runs in a process of its own, so that none profits from what another warmed up. */
import type { MicroFigure } from './figure.js';
import { forwarding } from './forwarding.js';
import { lifetime } from './lifetime.js';
import { batchedLookups, lookups } from './lookups.js';
import { merging } from './merging.js';
import { steps } from './steps.js';

export const FEW = 1_000;
export const MANY = 1_000_000;

export const SCENARIOS: Readonly<Record<string, () => MicroFigure[]>> = {
  'inbound-few': () => forwarding(FEW, 'inbound'),
  'inbound-many': () => forwarding(MANY, 'inbound'),
  'inbound6-few': () => forwarding(FEW, 'inbound', 6),
  'inbound6-many': () => forwarding(MANY, 'inbound', 6),
  'replies-few': () => forwarding(FEW, 'replies'),
  'replies-many': () => forwarding(MANY, 'replies'),
  'lookup-few': () => lookups(FEW),
  'lookup-many': () => lookups(MANY),
  'batched-lookup-few': () => batchedLookups(FEW),
  'batched-lookup-many': () => batchedLookups(MANY),
  lifetime,
  steps,
  merging,
};
