/** The type check is the test here: a line below `@ts-expect-error` that compiles is an error. */
import { expect, test } from 'vitest';
import { copyAddress } from '../../../src/codec/addresses.js';
import { SOURCE_AT } from '../../../src/codec/ip-header.js';
import * as ipv4 from '../../../src/codec/ipv4.js';
import type { FlowId, Port, Ticks, WordIndex } from '../../../src/codec/units.js';

const words = new Int32Array(24);

test('a number of one kind is no number of another kind', () => {
  const port: Port = 53;
  const flow: FlowId = 3;
  const now: Ticks = 1000;
  const take = (_at: WordIndex, _port: Port, _now: Ticks): void => {};

  take(SOURCE_AT, port, now);
  // @ts-expect-error a port in place of an index
  take(port, port, now);
  // @ts-expect-error a flow in place of a port
  take(SOURCE_AT, flow, now);
  // @ts-expect-error an index in place of a time
  take(SOURCE_AT, port, SOURCE_AT);
  // @ts-expect-error a byte offset in place of an index
  copyAddress(words, ipv4.SOURCE, words, SOURCE_AT);
  expect([port, flow, now]).toEqual([53, 3, 1000]);
});

test('plain numbers and sums are numbers of any kind', () => {
  const at: WordIndex = SOURCE_AT + 4;
  copyAddress(words, 0, words, at);
  expect(at).toBe(4);
});
