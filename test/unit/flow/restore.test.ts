import { describe, expect, it } from 'vitest';
import { NONE } from '../../../src/codec/units.js';
import {
  differenceOf,
  HEADER_WORDS,
  hasHeader,
  REPLY_STAMP,
  SAVED_WORDS,
  STAMP,
  savedAt,
  stampOf,
} from '../../../src/flow/saved-flows.js';
import type { FlowTable, TableOptions } from '../../../src/flow/table.js';
import { findFlow, findReply, flowKey, learn } from '../support/flow-model.js';
import { ANY, OWNER, restored, type Saving, saving } from '../support/saved.js';
import { endpoint } from '../support/wire.js';

const OPTIONS: TableOptions = { maxFlows: 8, timeoutMs: 360_000, routesReplies: true, seed: 7 };
const KEY = flowKey('10.10.1.1:40000 > 10.10.1.2:53');
const OTHER = flowKey('10.10.1.1:40001 > 10.10.1.2:53');
const CLIENT = endpoint('198.51.100.7:5555');

/** Learns a flow that has had a packet. */
function heard(table: FlowTable, key = KEY, client = CLIENT, now = 0, flags = 0): number {
  const { flow } = learn(table, key, client, now, flags);
  table.recordInbound(flow, now);
  return flow;
}

function keptOne(): Saving & { flow: number } {
  const one = saving(OPTIONS, 0);
  return { ...one, flow: heard(one.table) };
}

describe('a header', () => {
  it('is its owner’s, and nobody else’s', () => {
    const { words } = saving(OPTIONS, 0);
    expect(hasHeader(words)).toBe(true);
    expect(differenceOf(words, OWNER)).toBeUndefined();
    for (let i = 0; i < OWNER.length; i++) expect(differenceOf(words, OWNER.with(i, 1))).toBe(i);
  });

  it('is none with any of its bits changed', () => {
    const { words } = saving(OPTIONS, 0);
    for (let bit = 0; bit < HEADER_WORDS * 32; bit++) {
      words[bit >>> 5] ^= 1 << (bit & 31);
      expect(hasHeader(words), `bit ${bit}`).toBe(false);
      words[bit >>> 5] ^= 1 << (bit & 31);
    }
    expect(hasHeader(words)).toBe(true);
  });

  it('is none where there are too few words, or zeros', () => {
    expect(hasHeader(saving(OPTIONS, 0).words.subarray(0, HEADER_WORDS - 1))).toBe(false);
    expect(hasHeader(new Int32Array(0))).toBe(false);
    expect(hasHeader(new Int32Array(100))).toBe(false);
  });
});

describe('a saved flow', () => {
  it('is not believed with any of its bits changed', () => {
    const { words, flow } = keptOne();
    for (let bit = 0; bit < SAVED_WORDS * 32; bit++) {
      words[savedAt(flow) + (bit >>> 5)] ^= 1 << (bit & 31);
      const { table, restored: counts } = restored(words, OPTIONS, 0);
      expect([table.count, counts.damaged], `bit ${bit}`).toEqual([0, 1]);
      words[savedAt(flow) + (bit >>> 5)] ^= 1 << (bit & 31);
    }
    expect(restored(words, OPTIONS, 0).table.count).toBe(1);
  });

  it('is established in the next process if it was', () => {
    const { table, words, flow } = keptOne();
    expect(restored(words, OPTIONS, 0).table.records.isEstablished(0)).toBe(false);
    table.recordReply(flow, 0);
    const after = restored(words, OPTIONS, 0).table;
    expect(after.records.isEstablished(findFlow(after, KEY))).toBe(true);
  });

  it('keeps when it was heard and answered last, each by itself', () => {
    const { table, words, flow } = keptOne();
    table.recordReply(flow, 200_000);
    const after = restored(words, OPTIONS, 400_000).table;
    const again = findFlow(after, KEY);
    expect(after.records.lastInbound(again)).toBe(0);
    expect(200_000 - after.records.lastReply(again)).toBeLessThan(1024);
    expect(after.records.isLasting(again)).toBe(false);
    table.records.setLasting(flow, true);
    expect(restored(words, OPTIONS, 400_000).table.records.isLasting(again)).toBe(true);
  });

  it('keeps flags and tag', () => {
    const { table, words, flow } = keptOne();
    table.records.setFlags(flow, 0x83);
    table.records.setTag(flow, 0x12345678);
    const after = restored(words, OPTIONS, 0).table;
    const again = findFlow(after, KEY);
    expect([after.records.flags(again), after.records.tag(again)]).toEqual([0x83, 0x12345678]);
  });

  it('is believed only with flags that the role knows, and a flow that it would learn', () => {
    const { words } = keptOne();
    expect(restored(words, OPTIONS, 0, { ...ANY, isWanted: () => false }).restored).toMatchObject({
      ...{ kept: 0, unwanted: 1 },
    });
    const { table, words: flagged } = saving(OPTIONS, 0);
    heard(table, KEY, CLIENT, 0, 4);
    expect(restored(flagged, OPTIONS, 0, { ...ANY, knownFlags: 3 }).restored.damaged).toBe(1);
    expect(restored(flagged, OPTIONS, 0, { ...ANY, knownFlags: 4 }).restored.kept).toBe(1);
  });

  it.each([
    ['no lport', '10.10.1.1:0 > 10.10.1.2:53', '198.51.100.7:5555'],
    ['no port of the server', '10.10.1.1:1 > 10.10.1.2:0', '198.51.100.7:5555'],
    ['no port of the client', '10.10.1.1:1 > 10.10.1.2:53', '198.51.100.7:0'],
    ['ends of two families', '10.10.1.1:1 > [fd00::1]:53', '198.51.100.7:5555'],
  ])('cannot have %s', (_, key, client) => {
    const { table, words } = saving(OPTIONS, 0);
    heard(table, flowKey(key), endpoint(client));
    expect(restored(words, OPTIONS, 0).restored).toMatchObject({ kept: 0, damaged: 1 });
  });

  it('cannot be of the future', () => {
    const { words, flow } = keptOne();
    words[savedAt(flow) + STAMP] = stampOf(10_000);
    expect(restored(words, OPTIONS, 5_000).restored).toMatchObject({ kept: 0, damaged: 1 });
  });

  it('is too old after the time-out of the table that it comes to', () => {
    const { words } = keptOne();
    expect(restored(words, OPTIONS, 359_999).restored.kept).toBe(1);
    expect(restored(words, OPTIONS, 360_000).restored).toMatchObject({ kept: 0, expired: 1 });
    expect(restored(words, { ...OPTIONS, timeoutMs: 5000 }, 5000).restored.expired).toBe(1);
  });

  it('is gone where it was forgotten, and its record may be another flow’s', () => {
    const { table, words, flow } = keptOne();
    table.forget(flow);
    expect(restored(words, OPTIONS, 0).restored).toMatchObject({ kept: 0, damaged: 0 });
    expect(heard(table, OTHER)).toBe(flow);
    const after = restored(words, OPTIONS, 0).table;
    expect([findFlow(after, KEY), after.count]).toEqual([NONE, 1]);
  });

  it('that is there twice is believed neither time', () => {
    const { words, flow } = keptOne();
    words.copyWithin(savedAt(flow + 3), savedAt(flow), savedAt(flow + 1));
    expect(restored(words, OPTIONS, 0).restored).toMatchObject({ kept: 0, damaged: 2 });
  });

  it('has the client that was learned last', () => {
    const { table, words } = keptOne();
    heard(table, KEY, endpoint('203.0.113.9:1'));
    const after = restored(words, OPTIONS, 0).table;
    expect(findReply(after, KEY.server, CLIENT)).toBe(NONE);
    expect(findReply(after, KEY.server, endpoint('203.0.113.9:1'))).toBe(findFlow(after, KEY));
  });

  it('gets a stamp when it is used again, some seconds later', () => {
    const { table, words, flow } = keptOne();
    const stamps = () => [words[savedAt(flow) + STAMP], words[savedAt(flow) + REPLY_STAMP]];
    const first = stamps();
    table.recordInbound(flow, 4000);
    expect(stamps()).toEqual(first);
    table.recordReply(flow, 5000);
    expect(stamps()).toEqual([4000, 5000].map(stampOf));
    table.recordInbound(flow, 7000);
    table.recordInbound(flow, 8200);
    expect(stamps()).toEqual([8200, 5000].map(stampOf));
    table.recordInbound(flow, 11_000);
    table.recordReply(flow, 8191);
    table.saveAll();
    expect(stamps()).toEqual([11_000, 8191].map(stampOf));
  });
});

describe('replies to a client of two flows', () => {
  it('go by the flow that they went by', () => {
    for (const [first, last] of [
      [KEY, OTHER],
      [OTHER, KEY],
    ]) {
      const { table, words } = saving(OPTIONS, 0);
      for (const key of [KEY, OTHER]) heard(table, key);
      for (const key of [first, last]) table.recordInbound(findFlow(table, key), 100);
      const after = restored(words, OPTIONS, 200).table;
      expect(findReply(after, KEY.server, CLIENT)).toBe(findFlow(after, last));
    }
  });

  it('go by the one used last where a kill has left no sign', () => {
    const { table, words } = saving(OPTIONS, 0);
    for (const [key, now] of [
      [KEY, 50_000],
      [OTHER, 20_000],
    ] as const) {
      const { flow } = learn(table, key, CLIENT, now);
      table.records.save(flow);
    }
    const after = restored(words, OPTIONS, 60_000).table;
    expect(findReply(after, KEY.server, CLIENT)).toBe(findFlow(after, KEY));
  });

  it('go by none in a role through which they don’t come', () => {
    const options = { ...OPTIONS, routesReplies: false };
    const { table, words } = saving(options, 0);
    heard(table);
    expect(restored(words, options, 0).restored.kept).toBe(1);
  });
});

describe('another size', () => {
  it('of the table takes the flows over as far as they fit', () => {
    const { table, words } = saving(OPTIONS, 0);
    for (let port = 1; port <= 8; port++) heard(table, flowKey(`10.10.1.1:${port} > 10.10.1.2:53`));
    const smaller = restored(words, { ...OPTIONS, maxFlows: 3 }, 0);
    expect(smaller.restored).toMatchObject({ kept: 3, superfluous: 5 });
    expect(restored(words, { ...OPTIONS, maxFlows: 100 }, 0).restored.kept).toBe(8);
  });

  it('of the file saves the flows that it has room for, and writes nothing behind them', () => {
    const { table, words } = saving(OPTIONS, 0, 1, 2);
    for (let port = 1; port <= 8; port++) heard(table, flowKey(`10.10.1.1:${port} > 10.10.1.2:53`));
    table.saveAll();
    table.forget(7);
    expect(words.subarray(savedAt(2)).every(word => word === 0)).toBe(true);
    expect(restored(words, OPTIONS, 0).restored.kept).toBe(2);
  });
});
