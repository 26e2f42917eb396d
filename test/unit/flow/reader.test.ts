import { describe, expect, it } from 'vitest';
import { FlowReader } from '../../../src/flow/reader.js';
import { FlowTable, type TableOptions } from '../../../src/flow/table.js';
import { flowKey, learn } from '../support/flow-model.js';
import { endpoint, words } from '../support/wire.js';

const OPTIONS: TableOptions = { maxFlows: 4, timeoutMs: 10_000, routesReplies: true, seed: 77 };

function make(): { table: FlowTable; reader: FlowReader } {
  const buffer = new SharedArrayBuffer(FlowTable.byteLength(OPTIONS));
  return { table: FlowTable.create(buffer, OPTIONS, 0), reader: new FlowReader(buffer, OPTIONS) };
}

const signed = (address: string): number[] => words(address).map(value => value | 0);

describe('FlowReader', () => {
  it('an empty table has no entries', () => {
    const { reader } = make();
    expect([...reader.entries(0)]).toEqual([]);
    expect(reader.find(words('10.10.1.1'), 40000, words('10.10.1.2'), 53, 0)).toBeUndefined();
  });

  it('an entry has all that is known of its flow', () => {
    const { table, reader } = make();
    const key = flowKey('10.10.1.1:40000 > 10.10.1.2:53');
    const { flow } = learn(table, key, endpoint('198.51.100.7:5555'), 100, 1);
    table.recordInbound(flow, 100);
    table.recordInbound(flow, 200);
    table.recordReply(flow, 250);
    learn(table, flowKey('[fd00:1::1]:1 > [fd00:1::2]:2'), endpoint('[2001:db8::7]:3'), 300, 6);
    const first = {
      lip: signed('10.10.1.1'),
      lport: 40000,
      server: signed('10.10.1.2'),
      serverPort: 53,
      client: signed('198.51.100.7'),
      clientPort: 5555,
      flags: 1,
      packets: 2,
      replies: 1,
      idleMs: 150,
    };
    const second = {
      lip: signed('fd00:1::1'),
      lport: 1,
      server: signed('fd00:1::2'),
      serverPort: 2,
      client: signed('2001:db8::7'),
      clientPort: 3,
      flags: 6,
      packets: 0,
      replies: 0,
      idleMs: 100,
    };
    expect([...reader.entries(400)]).toEqual([first, second]);
    expect(reader.find(words('10.10.1.1'), 40000, words('10.10.1.2'), 53, 400)).toEqual(first);
    expect(reader.find(words('fd00:1::1'), 1, words('fd00:1::2'), 2, 400)).toEqual(second);
    expect(reader.find(words('10.10.1.1'), 40001, words('10.10.1.2'), 53, 400)).toBeUndefined();
  });

  it('a forgotten flow has no entry', () => {
    const { table, reader } = make();
    const { flow } = learn(table, flowKey('10.10.1.1:1 > 10.10.1.2:53'), endpoint('198.51.100.7:5555'), 0);
    learn(table, flowKey('10.10.1.1:2 > 10.10.1.2:53'), endpoint('198.51.100.7:5555'), 0);
    table.forget(flow);
    expect([...reader.entries(0)].map(({ lport }) => lport)).toEqual([2]);
  });

  it('a packet after the reader’s clock makes a flow idle for 0 ms', () => {
    const { table, reader } = make();
    learn(table, flowKey('10.10.1.1:1 > 10.10.1.2:53'), endpoint('198.51.100.7:5555'), 1000);
    expect([...reader.entries(990)].map(({ idleMs }) => idleMs)).toEqual([0]);
  });
});
