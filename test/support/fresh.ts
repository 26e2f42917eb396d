/** Numbers, ports and payloads that no other test of a file uses. */
import { pattern } from './apps.js';
import { text } from './wire.js';

let last = 0;

export const freshNumber = (): number => ++last;
export const freshPort = (): number => 40_000 + freshNumber();
export const freshText = (): string => text(`datagram ${freshNumber()}`);

/** A payload of `length` bytes, which show where a piece is missing or in the wrong place. */
export function freshPattern(length: number): string {
  return text(String(freshNumber()).padStart(8, '0')) + pattern(length - 8);
}

// ---- orders of a datagram's fragments --------------------------------------------------------------------------

export function inOrder(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

export function reversed(count: number): number[] {
  return inOrder(count).reverse();
}
