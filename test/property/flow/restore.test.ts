/** What a process saves, the next one finds; what a fault has changed, nobody believes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NONE } from '../../../src/codec/units.js';
import { HEADER_WORDS, SAVED_WORDS, savedAt, stampOf, tickOf } from '../../../src/flow/saved-flows.js';
import type { FlowTable, TableOptions } from '../../../src/flow/table.js';
import { type FlowKey, findFlow, findReply, flowKey, learn } from '../../unit/support/flow-model.js';
import { ANY, restored, saving } from '../../unit/support/saved.js';
import { type Endpoint, endpoint, int32 } from '../../unit/support/wire.js';

const TIMEOUT_MS = 360_000;

const KEYS = [
  ...[1, 2, 3, 4].map(port => flowKey(`10.10.1.1:${port} > 10.10.1.2:53`)),
  ...[1, 2].map(port => flowKey(`10.10.1.9:${port} > 10.10.1.2:7000`)),
  ...[1, 2].map(port => flowKey(`[fd00:1::1]:${port} > [fd00:1::2]:53`)),
];
const CLIENTS = ['198.51.100.7:5555', '198.51.100.7:5556', '203.0.113.9:1', '[2001:db8::7]:5555'].map(
  endpoint,
);

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('learn' as const),
      key: fc.nat(KEYS.length - 1),
      client: fc.nat(CLIENTS.length - 1),
      flags: fc.constantFrom(0, 1, 6, 0xff),
      heard: fc.boolean(),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('heard' as const), key: fc.nat(KEYS.length - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('forget' as const), key: fc.nat(KEYS.length - 1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(TIMEOUT_MS) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const steps = fc.array(step, { maxLength: 60, size: 'max' });
const start = fc.oneof(fc.integer(), fc.constantFrom(0, 2 ** 31 - 3000, -3000));

function play(table: FlowTable, all: readonly Step[], begin: number): number {
  let now = begin;
  for (const one of all) {
    if (one.do === 'wait') now = (now + one.ms) | 0;
    if (one.do === 'learn') {
      const { flow } = learn(table, KEYS[one.key], CLIENTS[one.client], now, one.flags);
      if (one.heard) table.recordInbound(flow, now);
    }
    if (one.do === 'heard' || one.do === 'forget') {
      const flow = findFlow(table, KEYS[one.key]);
      if (flow !== NONE && one.do === 'heard') table.recordInbound(flow, now);
      if (flow !== NONE && one.do === 'forget') table.forget(flow);
    }
    while (table.isExpiryDue(now)) table.expire(now, 100);
  }
  return now;
}

function clientOf(table: FlowTable, key: FlowKey): number | undefined {
  const flow = findFlow(table, key);
  return flow === NONE ? undefined : CLIENTS.findIndex(client => isClient(table, flow, client));
}

function isClient(table: FlowTable, flow: number, { address, port }: Endpoint): boolean {
  return table.records.hasClient(flow, { words: int32(address), port });
}

/** Which flow replies go by, by its key. */
function routes(table: FlowTable): (number | undefined)[] {
  const flows = KEYS.map(key => findFlow(table, key));
  return KEYS.flatMap(({ server }) =>
    CLIENTS.map(client => {
      const flow = findReply(table, server, client);
      return flow === NONE ? undefined : flows.indexOf(flow);
    }),
  );
}

/** Small enough that flows are pushed out. */
const size = fc.constantFrom(3, 5, 64);

const optionsOf = (maxFlows: number, routesReplies = true): TableOptions => ({
  ...{ maxFlows, timeoutMs: TIMEOUT_MS, routesReplies },
  seed: 5,
});

describe('a flow that is saved', () => {
  it('is found by the next process both ways, with its client, unless it was idle for too long', () => {
    fc.assert(
      fc.property(steps, start, size, fc.nat(TIMEOUT_MS), (all, begin, maxFlows, pause) => {
        const { table, words } = saving(optionsOf(maxFlows), begin);
        const end = play(table, all, begin);
        const now = (end + pause) | 0;
        const after = restored(words, optionsOf(64), now);
        expect(after.restored).toMatchObject({ damaged: 0, superfluous: 0, unwanted: 0 });
        let kept = 0;
        for (const key of KEYS) {
          const flow = findFlow(table, key);
          const again = findFlow(after.table, key);
          // A stamp is up to some seconds older than the last packet.
          const idleMs = flow === NONE ? TIMEOUT_MS : table.records.idleMs(flow, now);
          if (idleMs >= TIMEOUT_MS) expect(again).toBe(NONE);
          else if (idleMs < TIMEOUT_MS - 6000) expect(again).not.toBe(NONE);
          if (again === NONE) continue;
          kept++;
          expect(clientOf(after.table, key)).toBe(clientOf(table, key));
          expect(after.table.records.flags(again)).toBe(table.records.flags(flow));
          const older = after.table.records.idleMs(again, now) - idleMs;
          expect(older >= 0 && older < 6000).toBe(true);
        }
        expect(after.restored.kept).toBe(kept);
        expect(after.table.count).toBe(kept);
      }),
    );
  });

  it('has replies go by the flow that they went by', () => {
    fc.assert(
      fc.property(steps, start, (all, begin) => {
        const { table, words } = saving(optionsOf(64), begin);
        const now = play(table, all, begin);
        // As long as none has timed out meanwhile.
        table.saveAll();
        const after = restored(words, { ...optionsOf(64), timeoutMs: 2 ** 30 }, now);
        const [before, again] = [routes(table), routes(after.table)];
        for (const [i, flow] of before.entries()) if (flow !== undefined) expect(again[i]).toBe(flow);
      }),
    );
  });

  it('times out in the next process as in its own', () => {
    fc.assert(
      fc.property(steps, start, fc.nat(TIMEOUT_MS), (all, begin, pause) => {
        const { table, words } = saving(optionsOf(64), begin);
        let now = play(table, all, begin);
        const after = restored(words, optionsOf(64), now).table;
        const wait = (ms: number): void => {
          now = (now + ms) | 0;
          while (after.isExpiryDue(now)) after.expire(now, 100);
          for (let flow = 0; flow < after.extent; flow++)
            if (after.records.isLive(flow))
              expect(after.records.idleMs(flow, now)).toBeLessThan(TIMEOUT_MS + 2 * 1024);
        };
        // A process looks at the time often.
        for (let left = pause; left > 0; left -= 50_000) wait(Math.min(left, 50_000));
        for (let i = 0; i < 8; i++) wait(50_000);
        expect(after.count).toBe(0);
      }),
    );
  });

  it('is never given another client, whichever words a kill left unwritten', () => {
    fc.assert(
      fc.property(steps, steps, start, fc.infiniteStream(fc.boolean()), (first, then, begin, isOld) => {
        const { table, words } = saving(optionsOf(8), begin);
        const between = play(table, first, begin);
        const old = Int32Array.from(words);
        const clients = KEYS.map(key => [clientOf(table, key)]);
        // Any client that a flow had at any time is one that it was told of.
        let now = between;
        for (const one of then) {
          now = play(table, [one], now);
          for (const [i, key] of KEYS.entries()) clients[i].push(clientOf(table, key));
        }
        const torn = words.map((word, i) => (i >= HEADER_WORDS && isOld.next().value ? old[i] : word));
        const after = restored(torn, optionsOf(8), now).table;
        for (const [i, key] of KEYS.entries()) {
          const client = clientOf(after, key);
          if (client !== undefined) expect(clients[i]).toContain(client);
        }
      }),
    );
  });

  it('is not believed with any of its bits changed, but for a stamp that is none', () => {
    fc.assert(
      fc.property(
        steps.filter(all => all.some(one => one.do === 'learn')),
        start,
        fc.nat(63),
        fc.uniqueArray(fc.nat(SAVED_WORDS * 32 - 1), { minLength: 1, maxLength: 8 }),
        (all, begin, record, bits) => {
          const { table, words } = saving(optionsOf(64), begin);
          const now = play(table, all, begin);
          const flow = record % Math.max(table.extent, 1);
          const before = table.records.isLive(flow)
            ? KEYS.findIndex(key => findFlow(table, key) === flow)
            : NONE;
          fc.pre(before !== NONE);
          for (const bit of bits) words[savedAt(flow) + (bit >>> 5)] ^= 1 << (bit & 31);
          const after = restored(words, optionsOf(64), now).table;
          expect(clientOf(after, KEYS[before])).toBeUndefined();
          for (const key of KEYS)
            if (findFlow(after, key) !== NONE) expect(clientOf(after, key)).toBe(clientOf(table, key));
        },
      ),
    );
  });
});

describe('whatever is in a file', () => {
  it('ends no process, and makes no flow', () => {
    fc.assert(
      fc.property(fc.array(fc.integer(), { maxLength: 200, size: 'max' }), start, (content, now) => {
        const words = Int32Array.from([...new Array<number>(HEADER_WORDS).fill(0), ...content]);
        const { table } = restored(words, optionsOf(8), now, ANY);
        expect(table.count).toBe(0);
      }),
    );
  });
});

describe('a stamp', () => {
  it('gives the second that it was made in, and is none with a bit changed', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(31), (tick, bit) => {
        const stamp = stampOf(tick);
        expect((tick - (tickOf(stamp) ?? 0)) >>> 0).toBeLessThan(1024);
        expect(tickOf(stamp ^ (1 << bit))).toBeUndefined();
      }),
    );
  });
});
