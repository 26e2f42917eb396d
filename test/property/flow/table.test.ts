/** The flow table against a model of two maps, step by step, with time going on in between. */

import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { type FlowId, NONE } from '../../../src/codec/units.js';
import { flowPorts } from '../../../src/flow/records.js';
import { FlowTable, LearnOutcome, type TableOptions } from '../../../src/flow/table.js';
import {
  FlowModel,
  findFlow,
  findReply,
  flowKey,
  learn,
  type ModelFlow,
} from '../../unit/support/flow-model.js';
import { endpoint, int32 } from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

// Few enough keys that flows meet: the same client by several load balancers and ports, and both families, with
// words in common between them.
const KEYS = [
  '10.10.1.1:40000 > 10.10.1.2:53',
  '10.10.1.1:40001 > 10.10.1.2:53',
  '10.10.1.9:40000 > 10.10.1.2:53',
  '10.10.1.1:40000 > 10.10.1.2:54',
  '10.10.1.1:40000 > 10.10.1.3:53',
  '[fd00:1::1]:40000 > [fd00:1::2]:53',
  '[fd00:1::1]:40001 > [fd00:1::2]:53',
  '[::a0a:101]:40000 > [::a0a:102]:53',
  '255.255.255.255:65535 > 10.10.1.2:65535',
].map(flowKey);
const CLIENTS = [
  '198.51.100.7:5555',
  '198.51.100.7:5556',
  '203.0.113.7:5555',
  '[2001:db8::7]:5555',
  '[::c633:6407]:5555',
  '255.255.255.255:65535',
].map(endpoint);

type Step =
  | { do: 'learn'; key: number; client: number; flags: number; heard: boolean }
  | { do: 'heard' | 'establish' | 'forget'; key: number }
  | { do: 'reply'; key: number; client: number }
  | { do: 'wait'; ms: number }
  | { do: 'expire'; budget: number };

const key = fc.nat(KEYS.length - 1);
const client = fc.nat(CLIENTS.length - 1);

function steps(waits: fc.Arbitrary<number>, budgets: fc.Arbitrary<number>): fc.Arbitrary<Step[]> {
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('learn' as const),
        key,
        client,
        flags: fc.constantFrom(0, 1, 2, 6, 0xff),
        heard: fc.boolean(),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('heard' as const), key }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('reply' as const), key, client }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constantFrom('establish' as const, 'forget' as const), key }),
    },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: waits }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('expire' as const), budget: budgets }) },
  );
  return fc.array(step, { maxLength: 60, size: 'max' });
}

const size = fc.record({
  maxFlows: fc.constantFrom(1, 2, 3, 5, 64),
  timeoutMs: fc.constantFrom(1, 1000, 1024, 5000, 12_288, 360_000),
});
/** Where ticks begin: often shortly before their sign or their end comes. */
const start = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 2 ** 31 - 3000, 2 ** 32 - 3000, 2 ** 32 - 400_000),
);
const seed = fc.integer();

class Run {
  readonly model = new FlowModel();
  readonly table: FlowTable;
  /** Opened over the same memory, as another thread does. */
  readonly other: FlowTable;

  constructor(
    readonly size: { maxFlows: number; timeoutMs: number },
    public time: number,
    seed: number,
    /** Whether time goes on in steps that expiry keeps up with. */
    readonly isEven: boolean,
  ) {
    const options: TableOptions = { ...size, routesReplies: true, seed };
    const memory = new SharedArrayBuffer(FlowTable.byteLength(options));
    this.table = FlowTable.create(memory, options, time | 0);
    this.other = FlowTable.open(memory, options);
  }

  get now(): number {
    return this.time | 0;
  }

  do(step: Step): void {
    const { model, table, now, time } = this;
    switch (step.do) {
      case 'learn':
        this.learn(step);
        return;
      case 'heard': {
        const record = findFlow(table, KEYS[step.key]);
        const flow = model.get(KEYS[step.key]);
        if (record !== NONE) table.recordInbound(record, now);
        if (flow !== undefined) model.recordInbound(flow, time);
        return;
      }
      case 'reply': {
        const { server } = KEYS[step.key];
        const record = findReply(table, server, CLIENTS[step.client]);
        const flow = model.owner(server, CLIENTS[step.client]);
        if (record !== NONE) table.recordReply(record, now);
        if (flow !== undefined) model.recordReply(flow, time);
        return;
      }
      case 'establish': {
        const record = findFlow(table, KEYS[step.key]);
        const flow = model.get(KEYS[step.key]);
        if (record !== NONE) table.establish(record, now);
        if (flow !== undefined) flow.established = true;
        return;
      }
      case 'forget': {
        const record = findFlow(table, KEYS[step.key]);
        const flow = model.get(KEYS[step.key]);
        if (record !== NONE) table.forget(record);
        if (flow !== undefined) model.forget(flow);
        return;
      }
      case 'wait':
        this.time += step.ms;
        return;
      case 'expire':
        this.expire(step.budget);
        return;
    }
  }

  private learn(step: Extract<Step, { do: 'learn' }>): void {
    const { model, table, now, time } = this;
    const key = KEYS[step.key];
    const mustEvict = model.get(key) === undefined && model.flows.size === this.size.maxFlows;
    const learned = learn(table, key, CLIENTS[step.client], now, step.flags);
    if (mustEvict) this.expectEviction();
    const outcome = LearnOutcome[model.learn(key, CLIENTS[step.client], step.flags, time)];
    expect(learned).toEqual({ flow: findFlow(table, key), outcome, evicted: mustEvict });
    if (!step.heard) return;
    table.recordInbound(learned.flow, now);
    const flow = model.get(key);
    if (flow !== undefined) model.recordInbound(flow, time);
  }

  /** Exactly one flow has gone, and the right one, if expiry was never a whole wheel behind. */
  private expectEviction(): void {
    const evictable = this.model.evictable(this.size.maxFlows, this.time);
    const gone = this.removeGone();
    expect(gone).toHaveLength(1);
    if (this.isEven) expect(evictable).toContain(gone[0]);
  }

  /** Nothing has gone before its time. */
  expire(budget: number): void {
    const expired = this.table.expire(this.now, budget);
    expect(expired).toBeLessThanOrEqual(budget);
    const gone = this.removeGone();
    expect(gone).toHaveLength(expired);
    for (const flow of gone) expect(this.idle(flow)).toBeGreaterThanOrEqual(this.size.timeoutMs);
  }

  /** Expires until nothing is due; a wheel that never got there would hang here. */
  expireAll(): void {
    for (let calls = 0; this.table.isExpiryDue(this.now); calls++) {
      if (calls > 10_000) expect.fail('expiry does not come to its end');
      this.expire(100);
    }
  }

  idle(flow: ModelFlow): number {
    return this.time - flow.lastUsed;
  }

  private removeGone(): ModelFlow[] {
    const gone = [...this.model.flows.values()].filter(flow => findFlow(this.other, flow.key) < 0);
    for (const flow of gone) this.model.forget(flow);
    return gone;
  }

  expectAgreement(): void {
    this.model.expectAgreement(this.table, KEYS, CLIENTS, this.time);
    this.model.expectAgreement(this.other, KEYS, CLIENTS, this.time);
  }
}

describe('the flow table agrees with its model', () => {
  it('FlowTable does what its model does, with pauses longer than the wheel', () => {
    const waits = fc.oneof(fc.nat(20), fc.nat(2000), fc.nat(50_000), fc.nat(2_000_000));
    const budgets = fc.oneof(fc.nat(3), fc.constant(1000));
    fc.assert(
      fc.property(size, start, seed, steps(waits, budgets), (size, start, seed, all) => {
        const run = new Run(size, start, seed, false);
        for (const step of all) {
          run.do(step);
          run.expectAgreement();
        }
        // Once time goes evenly again everything gets its turn, whatever came before.
        const round = Math.ceil(size.timeoutMs / 1024) + 3;
        for (let i = 0; i < round; i++) {
          run.time += 1024;
          run.expireAll();
        }
        expect(run.table.count).toBe(0);
        run.expectAgreement();
      }),
      { numRuns: 150 },
    );
  });

  it('FlowTable does what its model does where time goes evenly: no flow outlives its timeout by more than a bucket, and the right one is evicted', () => {
    fc.assert(
      fc.property(size, start, seed, steps(fc.nat(1000), fc.constant(1000)), (size, start, seed, all) => {
        const run = new Run(size, start, seed, true);
        for (const step of all) {
          run.do(step);
          if (step.do === 'wait' || step.do === 'expire') {
            run.expireAll();
            for (const flow of run.model.flows.values())
              expect(run.idle(flow)).toBeLessThan(size.timeoutMs + 1024);
          }
          run.expectAgreement();
        }
      }),
      { numRuns: 100 },
    );
  });
});

describe('evictions', () => {
  it('an eviction takes the longest idle of up to 64 flows, or of those that were only ever marked', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 64 }),
        start,
        fc.array(fc.tuple(fc.nat(63), fc.nat(3000)), { maxLength: 150 }),
        (maxFlows, start, uses) => {
          const options = { maxFlows, timeoutMs: 2 ** 30, routesReplies: true, seed: 5 };
          const table = FlowTable.create(new ArrayBuffer(FlowTable.byteLength(options)), options, start | 0);
          const keys = Array.from({ length: 200 }, (_, i) => flowKey(`10.10.1.1:${i + 1} > 10.10.1.2:53`));
          const model = new FlowModel();
          let time = start;
          let next = 0;
          const add = () => {
            const evictable = model.evictable(maxFlows, time);
            const isFull = model.flows.size === maxFlows;
            learn(table, keys[next], CLIENTS[0], time | 0);
            const gone = [...model.flows.values()].filter(flow => findFlow(table, flow.key) < 0);
            expect(gone).toHaveLength(isFull ? 1 : 0);
            for (const flow of gone) {
              expect(evictable).toContain(flow);
              model.forget(flow);
            }
            model.learn(keys[next], CLIENTS[0], 0, time);
            next = (next + 1) % keys.length;
          };
          for (let i = 0; i < maxFlows; i++) add();
          for (const [choice, wait] of uses) {
            time += wait;
            const flows = [...model.flows.values()];
            if (choice % 4 === 0) add();
            else {
              const flow = flows[choice % flows.length];
              const use = choice % 4 === 1 ? 'recordReply' : 'recordInbound';
              table[use](findFlow(table, flow.key), time | 0);
              model[use](flow, time);
            }
          }
          add();
        },
      ),
      { numRuns: 150 },
    );
  });

  it('an eviction spares flows in use as long as others have been idle for longer than it takes to sort the table', () => {
    const shape = fc.record({
      maxFlows: fc.integer({ min: 100, max: 3000 }),
      used: fc.double({ min: 0.05, max: 0.9, noNaN: true }),
      /** How many new flows come between two moments, and how many of them are answered. */
      news: fc.integer({ min: 1, max: 40 }),
      answered: fc.double({ min: 0, max: 1, noNaN: true }),
      stepMs: fc.constantFrom(1, 20, 100),
      gapMs: fc.constantFrom(500, 2000, 8000),
      seed: fc.integer(),
    });
    fc.assert(
      fc.property(shape, start, ({ maxFlows, used, news, answered, stepMs, gapMs, seed }, start) => {
        const options = { maxFlows, timeoutMs: 360_000, routesReplies: true, seed };
        const table = FlowTable.create(new ArrayBuffer(FlowTable.byteLength(options)), options, start | 0);
        let time = start;
        let number = 0;
        const ends = int32('10.10.1.1', '10.10.1.2');
        const client = { words: int32('198.51.100.7'), port: 5555 };
        /** When each record was used last, by its number. */
        const lastUsed = new Float64Array(maxFlows);
        const add = (): FlowId => {
          number++;
          ends[3] = number >>> 16;
          const { flow } = table.learn(ends, 0, 4, flowPorts(number & 0xffff, 53), client, 0, time | 0);
          table.recordInbound(flow, time | 0);
          lastUsed[flow] = time;
          return flow;
        };
        const answer = (flow: FlowId): void => {
          table.recordReply(flow, time | 0);
          lastUsed[flow] = time;
        };
        const active = Array.from({ length: Math.floor(maxFlows * used) }, add);
        for (const flow of active) answer(flow);
        const isActive = new Set(active);
        while (table.count < maxFlows) answer(add());
        // Sorting takes so many new flows, during which those of a bucket, 1.024 s, may change their places.
        const slackMs = gapMs + Math.ceil(maxFlows / 32 / news + 1) * stepMs + 2 * 1024;
        for (let turn = 0; turn < (3 * maxFlows) / news; turn++) {
          time += stepMs;
          for (const flow of active) if (time - lastUsed[flow] >= gapMs) answer(flow);
          for (let i = 0; i < news; i++) {
            let longest = 0;
            for (let flow = 0; flow < maxFlows; flow++) longest = Math.max(longest, time - lastUsed[flow]);
            const flow = add();
            if (longest > slackMs && isActive.has(flow))
              expect.fail(`a flow in use went, one idle for ${longest} ms stayed`);
            isActive.delete(flow);
            if (i < answered * news) answer(flow);
          }
        }
      }),
      { numRuns: 20 },
    );
  });
});
