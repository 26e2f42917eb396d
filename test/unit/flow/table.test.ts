import { describe, expect, it } from 'vitest';
import { type FlowId, NONE } from '../../../src/codec/units.js';
import { CLIENT, flowPorts, ROLE_FLAGS } from '../../../src/flow/records.js';
import { FlowTable, LearnOutcome, type TableOptions } from '../../../src/flow/table.js';
import { type FlowKey, findFlow, findReply, flowKey, learn } from '../support/flow-model.js';
import { endpoint, int32, words } from '../support/wire.js';

const SERVER = endpoint('10.10.1.2:53');
const CLIENT_A = endpoint('198.51.100.7:5555');
const CLIENT_B = endpoint('203.0.113.7:5555');
const FLOW_1 = flowKey('10.10.1.1:40000 > 10.10.1.2:53');
const FLOW_2 = flowKey('10.10.1.1:40001 > 10.10.1.2:53');

const ENDS = int32('0.0.0.0', '10.10.1.2');
const CLIENT_WORDS = int32('203.0.113.9');

const OPTIONS: TableOptions = { maxFlows: 8, timeoutMs: 10_000, routesReplies: true, seed: 0x5eed };

function make(some: Partial<TableOptions> = {}, now = 0): FlowTable {
  const options = { ...OPTIONS, ...some };
  return FlowTable.create(new ArrayBuffer(FlowTable.byteLength(options)), options, now);
}

/** The client's address in a record, as unsigned words. */
function clientWords({ records }: FlowTable, flow: FlowId): number[] {
  const at = records.addressAt(flow, CLIENT);
  return Array.from(records.words.slice(at, at + 4), word => word >>> 0);
}

/** How many flows each table has evicted for those that `hear` learned. */
const evictions = new WeakMap<FlowTable, number>();
const evictionsOf = (table: FlowTable): number => evictions.get(table) ?? 0;

/** Learns a flow and records its packet, as the role does. */
function hear(table: FlowTable, key: FlowKey, client = CLIENT_A, now = 0): FlowId {
  const { flow, evicted } = learn(table, key, client, now);
  if (evicted) evictions.set(table, evictionsOf(table) + 1);
  table.recordInbound(flow, now);
  return flow;
}

/** The lport of the flow by which replies to a client go, or -1. */
function ownerPort(table: FlowTable, client = CLIENT_A): number {
  const flow = findReply(table, SERVER, client);
  return flow === NONE ? -1 : table.records.lport(flow);
}

/** Calls `expire` until nothing is due. */
function expireAll(table: FlowTable, now: number): number {
  let expired = 0;
  for (let calls = 0; table.isExpiryDue(now); calls++) {
    if (calls > 1000) expect.fail('expiry does not come to its end');
    expired += table.expire(now, 100);
  }
  return expired;
}

/** Expires as time goes on from one tick to another, in steps of a second. */
function passTime(table: FlowTable, from: number, to: number): number {
  let expired = 0;
  for (let now = from; now < to; now += 1000) expired += expireAll(table, now | 0);
  return expired + expireAll(table, to | 0);
}

describe('learning', () => {
  it('an empty table knows nothing', () => {
    const table = make();
    expect([table.count, table.extent, findFlow(table, FLOW_1), ownerPort(table)]).toEqual([0, 0, -1, -1]);
  });

  it('learn says whether the flow is new, the same or another client’s', () => {
    const table = make();
    const learned = [CLIENT_A, CLIENT_A, CLIENT_B].map(client => learn(table, FLOW_1, client, 0));
    const { flow } = learned[0];
    expect(learned).toEqual([
      { flow, outcome: LearnOutcome.added, evicted: false },
      { flow, outcome: LearnOutcome.refreshed, evicted: false },
      { flow, outcome: LearnOutcome.replaced, evicted: false },
    ]);
    expect(findFlow(table, FLOW_1)).toBe(flow);
    expect(table.count).toBe(1);
    expect(clientWords(table, findFlow(table, FLOW_1))).toEqual(words('203.0.113.7'));
  });

  it('another client port alone is another client', () => {
    const table = make();
    const flow = hear(table, FLOW_1, CLIENT_A);
    expect(learn(table, FLOW_1, endpoint('198.51.100.7:5556'), 0).outcome).toBe(LearnOutcome.replaced);
    expect(table.records.clientPort(flow)).toBe(5556);
  });

  it('other flags of the same client refresh the flow and leave its replies alone', () => {
    const table = make();
    const { flow } = learn(table, FLOW_1, CLIENT_A, 0, 1);
    table.recordInbound(flow, 0);
    expect(learn(table, FLOW_1, CLIENT_A, 0, 6).outcome).toBe(LearnOutcome.refreshed);
    expect(table.records.flags(flow)).toBe(6);
    expect(ownerPort(table)).toBe(40000);
  });

  it('an IPv6 client of an IPv4 flow keeps its address', () => {
    const table = make();
    const record = hear(table, FLOW_1, endpoint('[2001:db8::7]:5555'));
    expect(clientWords(table, record)).toEqual([0x20010db8, 0, 0, 7]);
  });

  it('IPv6 flows differ by every word of every address, and by ports', () => {
    const keys = [
      '[fd00:1::1]:40000 > [fd00:1::2]:53',
      '[fd00:2::1]:40000 > [fd00:1::2]:53',
      '[fd00:1:0:1::1]:40000 > [fd00:1::2]:53',
      '[fd00:1::1:0:1]:40000 > [fd00:1::2]:53',
      '[fd00:1::3]:40000 > [fd00:1::2]:53',
      '[fd00:1::1]:40000 > [fd00:2::2]:53',
      '[fd00:1::1]:40000 > [fd00:1:0:1::2]:53',
      '[fd00:1::1]:40000 > [fd00:1::1:0:2]:53',
      '[fd00:1::1]:40000 > [fd00:1::3]:53',
      '[fd00:1::1]:40001 > [fd00:1::2]:53',
      '[fd00:1::1]:40000 > [fd00:1::2]:54',
      '[fd00:1::2]:40000 > [fd00:1::1]:53',
    ].map(flowKey);
    const table = make({ maxFlows: 16 });
    const records = keys.map(key => hear(table, key));
    expect(new Set(records).size).toBe(keys.length);
    expect(keys.map(key => findFlow(table, key))).toEqual(records);
  });

  it('flows of both families differ, whatever words they have in common', () => {
    const table = make();
    const mixed = flowKey('[::a0a:101]:40000 > [::a0a:102]:53');
    hear(table, FLOW_1);
    expect(findFlow(table, mixed)).toBe(-1);
    hear(table, mixed, endpoint('[::c633:6407]:5555'));
    expect(findFlow(table, FLOW_1)).not.toBe(findFlow(table, mixed));
    expect(ownerPort(table, endpoint('[::c633:6407]:5555'))).toBe(-1);
  });
});

describe('replies in the flow table', () => {
  it('replies go by a flow only after its first packet', () => {
    const table = make();
    const { flow } = learn(table, FLOW_1, CLIENT_A, 0);
    expect(ownerPort(table)).toBe(-1);
    table.recordInbound(flow, 0);
    expect(ownerPort(table)).toBe(40000);
  });

  it('replies that differ from a flow’s IPv6 ends in any part go by no flow', () => {
    const table = make();
    const server = endpoint('[fd00:1::2]:53');
    const client = endpoint('[2001:db8::7]:5555');
    const record = hear(table, flowKey('[fd00:1::1]:40000 > [fd00:1::2]:53'), client);
    expect(findReply(table, server, client)).toBe(record);
    for (const other of [
      '[2001:db9::7]:5555',
      '[2001:db8:0:1::7]:5555',
      '[2001:db8::8]:5555',
      '[2001:db8::7]:1',
    ])
      expect(findReply(table, server, endpoint(other)), other).toBe(-1);
    for (const other of ['[fd00:2::2]:53', '[fd00:1::3]:53', '[fd00:1::2]:54'])
      expect(findReply(table, endpoint(other), client), other).toBe(-1);
  });

  it('replies of an IPv4 server to an IPv6 client go by its flow', () => {
    const table = make();
    const client = endpoint('[2001:db8::7]:5555');
    const record = hear(table, FLOW_1, client);
    expect(findReply(table, SERVER, client)).toBe(record);
    expect(findReply(table, endpoint('[fd00:1::2]:53'), client)).toBe(-1);
  });

  it('a table without a reply index routes no replies', () => {
    const table = make({ routesReplies: false });
    const flow = hear(table, FLOW_1);
    hear(table, FLOW_1, CLIENT_B);
    expect([findFlow(table, FLOW_1), table.records.packetCount(flow)]).toEqual([flow, 2]);
    expect([ownerPort(table, CLIENT_A), ownerPort(table, CLIENT_B)]).toEqual([-1, -1]);
    table.forget(flow);
    expect(findFlow(table, FLOW_1)).toBe(NONE);
    const options = { ...OPTIONS, maxFlows: 1_048_576 };
    const spared = FlowTable.byteLength(options) - FlowTable.byteLength({ ...options, routesReplies: false });
    expect(spared).toBe(16 * 2 ** 20);
  });

  it('replies go by the flow whose packet came last', () => {
    const table = make();
    const first = hear(table, FLOW_1);
    const second = hear(table, FLOW_2);
    expect(ownerPort(table)).toBe(40001);
    table.recordInbound(first, 1);
    expect(ownerPort(table)).toBe(40000);
    table.recordInbound(first, 2);
    table.recordInbound(second, 3);
    expect(ownerPort(table)).toBe(40001);
  });

  it('replies don’t move to the flow of the last reply', () => {
    const table = make();
    const first = hear(table, FLOW_1);
    hear(table, FLOW_2);
    table.recordReply(first, 1);
    expect(ownerPort(table)).toBe(40001);
  });

  it('after their flow is gone replies go by the next one that has a packet', () => {
    for (const leave of ['forget', 'replace', 'expire'] as const) {
      const table = make();
      const first = hear(table, FLOW_1, CLIENT_A, 0);
      const second = hear(table, FLOW_2, CLIENT_A, 0);
      let now = 0;
      if (leave === 'forget') table.forget(second);
      if (leave === 'replace') hear(table, FLOW_2, CLIENT_B, 0);
      if (leave === 'expire') {
        table.recordReply(first, 9000);
        now = 12_000;
        expect(expireAll(table, now)).toBe(1);
      }
      expect(ownerPort(table), leave).toBe(-1);
      table.recordInbound(first, now);
      expect(ownerPort(table), leave).toBe(40000);
    }
  });

  it('replies stay with their flow when another one of the same client goes', () => {
    const table = make();
    const first = hear(table, FLOW_1);
    hear(table, FLOW_2);
    table.forget(first);
    expect(ownerPort(table)).toBe(40001);
    hear(table, FLOW_1);
    hear(table, FLOW_2);
    hear(table, FLOW_1, CLIENT_B);
    expect([ownerPort(table, CLIENT_A), ownerPort(table, CLIENT_B)]).toEqual([40001, 40000]);
  });

  it('replies of another server or port go by another flow', () => {
    const table = make();
    const flows = ['10.10.1.1:1 > 10.10.1.2:53', '10.10.1.1:2 > 10.10.1.2:54', '10.10.1.1:3 > 10.10.1.3:53'];
    for (const flow of flows) hear(table, flowKey(flow));
    for (const flow of flows) {
      const { server, lb } = flowKey(flow);
      expect(table.records.lport(findReply(table, server, CLIENT_A))).toBe(lb.port);
    }
  });
});

describe('the counts of a flow', () => {
  it('a record that is used again counts from 0', () => {
    const table = make({ maxFlows: 1 });
    const record = hear(table, FLOW_1);
    table.recordInbound(record, 0);
    table.recordReply(record, 0);
    expect([table.records.packetCount(record), table.records.replyCount(record)]).toEqual([2, 1]);
    const again = hear(table, FLOW_2);
    expect([again, table.records.packetCount(again), table.records.replyCount(again)]).toEqual([
      record,
      1,
      0,
    ]);
  });

  it('idle time is counted on over the end of the ticks', () => {
    const table = make({}, -5);
    const record = hear(table, FLOW_1, CLIENT_A, -5);
    expect(table.records.idleMs(record, 10)).toBe(15);
    table.recordReply(record, 7);
    expect(table.records.idleMs(record, 10)).toBe(3);
  });
});

describe('what a role keeps with a flow', () => {
  it('the role’s flags change neither client nor replies', () => {
    const table = make();
    const { flow } = learn(table, FLOW_1, CLIENT_A, 0, ROLE_FLAGS);
    table.recordInbound(flow, 0);
    for (const flags of [0, 1, ROLE_FLAGS]) {
      table.records.setFlags(flow, flags);
      expect([table.records.flags(flow), table.records.clientPort(flow)]).toEqual([flags, 5555]);
      expect([table.records.isLive(flow), ownerPort(table)]).toEqual([true, 40000]);
    }
  });

  it('each flow has a tag of its own', () => {
    const table = make();
    const [first, second] = [hear(table, FLOW_1), hear(table, FLOW_2)];
    table.records.setTag(first, -1);
    table.records.setTag(second, 7);
    expect([table.records.tag(first), table.records.tag(second)]).toEqual([-1, 7]);
    expect([table.records.replyCount(first), table.records.replyCount(second)]).toEqual([0, 0]);
  });
});

describe('expiry of flows', () => {
  // Before, on and over both places where ticks change their sign.
  it.each([0, 5_000, 0x7fffffff - 4_000, 0xffffffff - 4_000])(
    'a flow is forgotten at most a bucket after its timeout, from tick %i on',
    start => {
      const table = make({}, start | 0);
      hear(table, FLOW_1, CLIENT_A, start | 0);
      for (let ms = 0; ms < 10_000; ms += 100) {
        expect(expireAll(table, (start + ms) | 0)).toBe(0);
        expect(findFlow(table, FLOW_1)).toBeGreaterThanOrEqual(0);
      }
      expect(expireAll(table, (start + 10_000 + 1024) | 0)).toBe(1);
      expect([findFlow(table, FLOW_1), ownerPort(table), table.count]).toEqual([-1, -1, 0]);
    },
  );

  it('packets and replies keep a flow', () => {
    for (const use of ['recordInbound', 'recordReply'] as const) {
      const table = make();
      const record = hear(table, FLOW_1);
      for (let now = 0; now < 100_000; now += 5_000) {
        table[use](record, now);
        expect(passTime(table, now, now + 5_000)).toBe(0);
      }
      expect(findFlow(table, FLOW_1), use).toBe(record);
      expect(passTime(table, 100_000, 95_000 + 9_999)).toBe(0);
      expect(passTime(table, 105_000, 95_000 + 11_024)).toBe(1);
    }
  });

  it('learning alone does not keep a flow', () => {
    const table = make();
    hear(table, FLOW_1);
    learn(table, FLOW_1, CLIENT_A, 9_000);
    expect(expireAll(table, 11_024)).toBe(1);
  });

  it('expiry does no more than its budget at once, and says that there is more', () => {
    const table = make({ maxFlows: 100 });
    for (let port = 1; port <= 100; port++) hear(table, flowKey(`10.10.1.1:${port} > 10.10.1.2:53`));
    expect(table.isExpiryDue(11_100)).toBe(true);
    expect(table.expire(11_100, 0)).toBe(0);
    expect(table.expire(11_100, 30)).toBeLessThanOrEqual(30);
    expect(table.count).toBeGreaterThanOrEqual(70);
    expect(table.isExpiryDue(11_100)).toBe(true);
    expireAll(table, 11_100);
    expect(table.count).toBe(0);
    expect(table.isExpiryDue(11_100)).toBe(false);
  });

  it.each([20_000, 17 * 1024, 1_000_000, 2 ** 31, 2 ** 32 - 20_000])(
    'after a pause of %i ms expiry forgets every flow in its time',
    pause => {
      const table = make();
      const record = hear(table, FLOW_1, CLIENT_A, 0);
      hear(table, FLOW_2, CLIENT_B, 500);
      // One of both is heard at once when time goes on, before expiry has had its turn.
      table.recordInbound(record, pause | 0);
      expireAll(table, pause | 0);
      expect(findFlow(table, FLOW_1)).toBe(record);
      // The other is gone once the hand has been all around, the first one after its own time.
      passTime(table, pause, pause + 9_999);
      expect(findFlow(table, FLOW_1)).toBe(record);
      passTime(table, pause + 10_000, pause + 12_048);
      expect([table.count, findFlow(table, FLOW_1), findFlow(table, FLOW_2)]).toEqual([0, -1, -1]);
    },
  );
});

describe('a full table', () => {
  it('a full table forgets the flow that has been idle longest', () => {
    const table = make({ maxFlows: 3, timeoutMs: 100_000 });
    const flows = [1, 2, 3, 4, 5].map(port => flowKey(`10.10.1.1:${port} > 10.10.1.2:53`));
    const first = hear(table, flows[0], CLIENT_A, 0);
    hear(table, flows[1], CLIENT_A, 10);
    const third = hear(table, flows[2], CLIENT_A, 5000);
    table.recordInbound(first, 6000);
    hear(table, flows[3], CLIENT_A, 7000);
    expect(flows.map(flow => findFlow(table, flow) >= 0)).toEqual([true, false, true, true, false]);
    table.recordReply(third, 8000);
    hear(table, flows[4], CLIENT_A, 9000);
    expect(flows.map(flow => findFlow(table, flow) >= 0)).toEqual([false, false, true, true, true]);
    expect([table.count, evictionsOf(table), table.extent]).toEqual([3, 2, 3]);
  });

  it('a full table forgets no flow for one that it knows', () => {
    const table = make({ maxFlows: 1 });
    hear(table, FLOW_1);
    hear(table, FLOW_1, CLIENT_B);
    expect([table.count, evictionsOf(table)]).toEqual([1, 0]);
  });

  it('a new flow takes a freed record first', () => {
    const table = make({ maxFlows: 2 });
    const first = hear(table, FLOW_1);
    hear(table, FLOW_2);
    table.forget(first);
    expect(hear(table, flowKey('10.10.1.1:7 > 10.10.1.2:53'))).toBe(first);
    expect(evictionsOf(table)).toBe(0);
  });

  it('a table uses no more records than its size, however flows come and go', () => {
    const table = make({ maxFlows: 4 });
    const flows = [1, 2, 3, 4].map(port => flowKey(`10.10.1.1:${port} > 10.10.1.2:53`));
    for (let round = 0; round < 3; round++) {
      for (const flow of flows) hear(table, flow);
      expect(flows.map(flow => findFlow(table, flow)).sort()).toEqual([0, 1, 2, 3]);
      for (const flow of flows) table.forget(findFlow(table, flow));
    }
    expect([table.extent, evictionsOf(table)]).toEqual([4, 0]);
  });

  it('an eviction after a long pause leaves no flow behind the hand', () => {
    const table = make({ maxFlows: 5, timeoutMs: 360_000 });
    const flows = [1, 2, 3, 4, 5, 6].map(port => flowKey(`10.10.1.1:${port} > 10.10.1.2:53`));
    const old = [0, 1, 2].map(i => hear(table, flows[i], CLIENT_A, 0));
    const young = hear(table, flows[3], CLIENT_A, 55_000);
    table.recordInbound(old[2], 78_000);
    const later = 512 * 1024;
    table.recordInbound(young, later);
    hear(table, flows[4], CLIENT_A, later);
    hear(table, flows[5], CLIENT_A, later);
    expect([table.count, evictionsOf(table)]).toEqual([5, 1]);
    expect(passTime(table, later, later + 360_000 + 2 * 1024)).toBe(5);
  });

  it('an eviction among many flows of the same second takes a long idle one', () => {
    const table = make({ maxFlows: 5000, timeoutMs: 360_000 });
    const flows = Array.from({ length: 6000 }, (_, i) => flowKey(`10.10.1.1:${i + 1} > 10.10.1.2:53`));
    for (let i = 0; i < 5000; i++) hear(table, flows[i], CLIENT_A, 0);
    for (let i = 1000; i < 5000; i++) table.recordInbound(findFlow(table, flows[i]), 10_000);
    for (let i = 5000; i < 6000; i++) hear(table, flows[i], CLIENT_A, 20_000);
    expect(flows.map(flow => findFlow(table, flow) >= 0)).toEqual(flows.map((_, i) => i >= 1000));
  });
});

describe('a full flow table, some of whose flows were only ever marked,', () => {
  /** Flows 1, 2, 3 …, heard one after the other. */
  const key = (i: number) => flowKey(`10.10.${i >>> 16}.1:${i & 0xffff} > 10.10.1.2:53`);

  it('pushes out the one that was only ever marked, though the other has been idle longer', () => {
    for (const establish of ['recordReply', 'establish'] as const) {
      const table = make({ maxFlows: 2, timeoutMs: 100_000 });
      table[establish](hear(table, FLOW_1, CLIENT_A, 0), 0);
      hear(table, FLOW_2, CLIENT_A, 5000);
      hear(table, key(3), CLIENT_A, 9000);
      expect(
        [FLOW_1, FLOW_2, key(3)].map(flow => findFlow(table, flow) >= 0),
        establish,
      ).toEqual([true, false, true]);
    }
  });

  it('pushes out an established one that has been idle for 10 s, if few others were only ever marked', () => {
    const table = make({ maxFlows: 16, timeoutMs: 100_000 });
    for (let i = 1; i <= 14; i++) table.recordReply(hear(table, key(i), CLIENT_A, 0), i === 7 ? 0 : 5000);
    hear(table, key(15), CLIENT_A, 9000);
    hear(table, key(16), CLIENT_A, 9000);
    hear(table, key(17), CLIENT_A, 10_000);
    expect([7, 15, 16, 17].map(i => findFlow(table, key(i)) >= 0)).toEqual([false, true, true, true]);
    // Now there are three of 16: more than their part.
    hear(table, key(18), CLIENT_A, 20_000);
    expect([15, 16, 17, 18].map(i => findFlow(table, key(i)) >= 0)).toEqual([false, true, true, true]);
  });

  it('forgets both kinds when their time is over', () => {
    const table = make();
    table.recordReply(hear(table, FLOW_1), 0);
    hear(table, FLOW_2);
    expect(expireAll(table, 11_024)).toBe(2);
    expect(table.count).toBe(0);
  });

  it.each([
    ['one after the other', 1000, 50],
    ['all of them at once', 5000, 1],
  ])('keeps every flow in use for 60 s under a flood of marks, used %s', (_, gapMs, parts) => {
    const maxFlows = 5000;
    const table = make({ maxFlows, timeoutMs: 360_000 });
    for (let i = 1; i <= maxFlows; i++) table.recordReply(hear(table, key(i), CLIENT_A, 0), 0);
    const active = Array.from({ length: 1000 }, (_, i) => findFlow(table, key(i + 1)));
    // A bucket later: within one there is no order.
    for (const flow of active) table.recordReply(flow, 2000);
    let next = maxFlows + 1;
    for (let now = 2020; now <= 65_000; now += 20) {
      table.expire(now, 128);
      for (let i = 0; i < active.length; i++)
        if (now % gapMs === (i % parts) * 20) table.recordReply(active[i], now);
      if (now >= 5000) for (let i = 0; i < 20; i++) learnOnly(table, next++, now);
    }
    expect(active.filter((flow, i) => findFlow(table, key(i + 1)) !== flow)).toHaveLength(0);
  });

  it('evicts idle flows and none of those in use behind which they wait', () => {
    const maxFlows = 5000;
    const table = make({ maxFlows, timeoutMs: 360_000 });
    // The oldest bucket holds 4000 flows, all used since. Behind them wait those that were idle.
    const active = Array.from({ length: 4000 }, (_, i) => hear(table, key(i + 1), CLIENT_A, 0));
    for (let i = 4001; i <= 4600; i++) hear(table, key(i), CLIENT_A, 3000);
    for (let i = 1; i <= 4600; i++) table.establish(findFlow(table, key(i)), 3000);
    for (const flow of active) table.recordReply(flow, 20_000);
    for (let i = 4601; i <= 5600; i++) table.establish(hear(table, key(i), CLIENT_A, 20_000), 20_000);
    const gone = Array.from({ length: 5600 }, (_, i) => i + 1).filter(i => findFlow(table, key(i)) === NONE);
    expect([gone.length, gone[0], gone.at(-1)]).toEqual([600, 4001, 4600]);
  });

  /** A mark for a new flow, without the slow helpers. */
  function learnOnly(table: FlowTable, i: number, now: number): void {
    ENDS[3] = i >>> 16;
    const client = { words: CLIENT_WORDS, port: i & 0xffff };
    table.recordInbound(table.learn(ENDS, 0, 4, flowPorts(i & 0xffff, 53), client, 0, now).flow, now);
  }
});

describe('the memory of a flow table', () => {
  it('two tables open over the same buffer see each other’s changes', () => {
    const buffer = new SharedArrayBuffer(FlowTable.byteLength(OPTIONS));
    const table = FlowTable.create(buffer, OPTIONS, 0);
    hear(table, FLOW_1);
    const other = FlowTable.open(buffer, OPTIONS);
    expect([other.count, findFlow(other, FLOW_1), ownerPort(other)]).toEqual([1, 0, 40000]);
    hear(other, FLOW_2, CLIENT_B, 50);
    expect([table.count, ownerPort(table, CLIENT_B)]).toEqual([2, 40001]);
    expect(expireAll(table, 12_000)).toBe(2);
    expect(findFlow(other, FLOW_1)).toBe(-1);
  });

  it('each change gives the table another version, and an even one', () => {
    const table = make();
    const versions = [table.version];
    const change = (make: () => void) => {
      make();
      versions.push(table.version);
    };
    change(() => learn(table, FLOW_1, CLIENT_A, 0));
    const flow = findFlow(table, FLOW_1);
    change(() => table.recordInbound(flow, 0));
    change(() => learn(table, FLOW_1, CLIENT_B, 0));
    change(() => table.forget(flow));
    expect(versions.every(version => version % 2 === 0)).toBe(true);
    expect(new Set(versions).size).toBe(versions.length);
  });

  it('a million flows take less than 200 MB, in the buffer and nowhere else', { timeout: 60_000 }, () => {
    const options = { ...OPTIONS, maxFlows: 1_048_576, timeoutMs: 360_000 };
    const { maxFlows } = options;
    const bytes = FlowTable.byteLength(options);
    expect(bytes).toBeLessThan(200e6);
    const table = FlowTable.create(new SharedArrayBuffer(bytes), options, 0);
    const ends = int32('10.10.1.1', '10.10.1.2');
    const client = { words: int32('198.51.0.0'), port: 0 };
    const [lip, clients] = [ends[3], client.words[3]];
    let evicted = 0;
    /** Sets LIP, and gives the ports. */
    const portsOf = (i: number) => {
      ends[3] = lip + (i >>> 15);
      return flowPorts((i & 0x7fff) + 1, 53);
    };
    const learnFlow = (i: number, now: number) => {
      const ports = portsOf(i);
      client.words[3] = clients + (i >>> 10);
      client.port = (i & 0x3ff) + 1;
      const learned = table.learn(ends, 0, 4, ports, client, 1, now);
      table.recordInbound(learned.flow, now);
      if (learned.evicted) evicted++;
    };
    const before = process.memoryUsage();
    for (let i = 0; i < maxFlows; i++) learnFlow(i, i >>> 8);
    const after = process.memoryUsage();
    expect(after.heapUsed - before.heapUsed).toBeLessThan(50e6);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1e6);
    expect([table.count, table.extent, evicted]).toEqual([maxFlows, maxFlows, 0]);

    learnFlow(maxFlows, 5000);
    expect([table.count, table.extent, evicted]).toEqual([maxFlows, maxFlows, 1]);
    let found = 0;
    for (let i = 0; i <= maxFlows; i++) {
      if (table.findFlow(ends, 0, 4, portsOf(i)) !== NONE) found++;
    }
    expect(found).toBe(maxFlows);
    let expired = 0;
    for (let calls = 0; table.isExpiryDue(400_000) && calls < 100_000; calls++)
      expired += table.expire(400_000, 1024);
    expect([expired, table.count]).toEqual([maxFlows, 0]);
  });
});
