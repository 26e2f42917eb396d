/**
 * What the flow table has to do, as two maps and no cleverness: the model that it is compared with, and the keys
 * that tests of it use.
 */

import { expect } from 'vitest';
import type { FlowId } from '../../../src/codec/units.js';
import { CLIENT, flowPorts, LIP, replyPorts, SERVER } from '../../../src/flow/records.js';
import type { FlowTable, Learned } from '../../../src/flow/table.js';
import { type Endpoint, endpoint, int32, words } from './wire.js';

export interface FlowKey {
  lb: Endpoint;
  server: Endpoint;
}

/** `10.10.1.1:40000 > 10.10.1.2:53` */
export function flowKey(text: string): FlowKey {
  const [lb, server] = text.split(' > ').map(endpoint);
  return { lb, server };
}

/** Whichever record is looked at first, free ones too, it has to be the same in the end. */
const HINTS = [0, 1, 2, 3].map(hint => hint);

export function findFlow(table: FlowTable, { lb, server }: FlowKey): FlowId {
  const ends = int32(lb.address, server.address);
  const ports = flowPorts(lb.port, server.port);
  const found = table.findFlow(ends, 0, 4, ports);
  for (const hint of [...HINTS, found])
    if (table.findFlow(ends, 0, 4, ports, hint) !== found)
      throw new Error(`another flow is found if record ${hint} is looked at first`);
  return found;
}

export function findReply(table: FlowTable, server: Endpoint, client: Endpoint): FlowId {
  const ends = int32(server.address, client.address);
  const ports = replyPorts(client.port, server.port);
  const found = table.findReply(ends, 0, 4, ports);
  for (const hint of [...HINTS, found])
    if (table.findReply(ends, 0, 4, ports, hint) !== found)
      throw new Error(`another flow is found for a reply if record ${hint} is looked at first`);
  return found;
}

/** Learns a flow; gives a copy of what `learn` says. */
export function learn(table: FlowTable, key: FlowKey, client: Endpoint, now: number, flags = 0): Learned {
  const ends = int32(key.lb.address, key.server.address);
  const ports = flowPorts(key.lb.port, key.server.port);
  const { address, port } = client;
  return { ...table.learn(ends, 0, 4, ports, { words: int32(address), port }, flags, now) };
}

export const text = (end: Endpoint): string => `${end.address} ${end.port}`;

export interface ModelFlow {
  key: FlowKey;
  client: Endpoint;
  flags: number;
  /** Milliseconds since the beginning of time, which never wrap. */
  lastUsed: number;
  /** Of these the last one from the load balancer. */
  lastInbound: number;
  packets: number;
  replies: number;
  /** Whether it has been more than marks. */
  established: boolean;
}

/** What README and table.ts say of evictions. */
const IDLE_MS = 10_000;
const MARKED_PART = 8;

export class FlowModel {
  readonly flows = new Map<string, ModelFlow>();
  /** Which flow replies to a client go by. */
  readonly owners = new Map<string, ModelFlow>();

  static id({ lb, server }: FlowKey): string {
    return `${text(lb)} > ${text(server)}`;
  }

  static replyId(server: Endpoint, client: Endpoint): string {
    return `${text(server)} > ${text(client)}`;
  }

  get(key: FlowKey): ModelFlow | undefined {
    return this.flows.get(FlowModel.id(key));
  }

  owner(server: Endpoint, client: Endpoint): ModelFlow | undefined {
    return this.owners.get(FlowModel.replyId(server, client));
  }

  learn(key: FlowKey, client: Endpoint, flags: number, time: number): 'added' | 'refreshed' | 'replaced' {
    const known = this.get(key);
    if (known === undefined) {
      const counts = { packets: 0, replies: 0 };
      this.flows.set(FlowModel.id(key), {
        key,
        client,
        flags,
        lastUsed: time,
        lastInbound: time,
        ...counts,
        established: false,
      });
      return 'added';
    }
    known.flags = flags;
    if (text(known.client) === text(client)) return 'refreshed';
    this.giveUpReplies(known);
    known.client = client;
    return 'replaced';
  }

  recordInbound(flow: ModelFlow, time: number): void {
    flow.lastUsed = time;
    flow.lastInbound = time;
    flow.packets++;
    this.owners.set(FlowModel.replyId(flow.key.server, flow.client), flow);
  }

  recordReply(flow: ModelFlow, time: number): void {
    flow.lastUsed = time;
    flow.replies++;
    flow.established = true;
  }

  /** Those that may be evicted from a full table of `maxFlows`: the longest idle of the kind whose turn it is. */
  evictable(maxFlows: number, time: number): ModelFlow[] {
    const longestIdle = (established: boolean): ModelFlow[] => {
      const flows = [...this.flows.values()].filter(flow => flow.established === established);
      const first = Math.min(...flows.map(flow => flow.lastUsed));
      return flows.filter(flow => flow.lastUsed === first);
    };
    const [marked, established] = [longestIdle(false), longestIdle(true)];
    if (marked.length === 0 || established.length === 0) return [...marked, ...established];
    const areMany =
      [...this.flows.values()].filter(flow => !flow.established).length > maxFlows / MARKED_PART;
    const isActive = time - established[0].lastUsed < IDLE_MS;
    return areMany || isActive || marked[0].lastUsed < established[0].lastUsed ? marked : established;
  }

  forget(flow: ModelFlow): void {
    this.giveUpReplies(flow);
    this.flows.delete(FlowModel.id(flow.key));
  }

  private giveUpReplies(flow: ModelFlow): void {
    const id = FlowModel.replyId(flow.key.server, flow.client);
    if (this.owners.get(id) === flow) this.owners.delete(id);
  }

  /** Compares a table with the model: every flow and every way back, for all keys that a test uses. */
  expectAgreement(
    table: FlowTable,
    keys: readonly FlowKey[],
    clients: readonly Endpoint[],
    time: number,
  ): void {
    same(table.count, this.flows.size, 'count');
    same(table.version % 2, 0, 'version');
    for (const key of keys) {
      const record = findFlow(table, key);
      const flow = this.get(key);
      if (flow === undefined) same(record, -1, FlowModel.id(key));
      else expectRecord(table, record, flow, time);
      for (const client of clients) {
        const owner = this.owner(key.server, client);
        const expected = owner === undefined ? -1 : findFlow(table, owner.key);
        same(findReply(table, key.server, client), expected, FlowModel.replyId(key.server, client));
      }
    }
    let live = 0;
    for (let flow = 0; flow < table.extent; flow++) if (table.records.isLive(flow)) live++;
    same(live, this.flows.size, 'live records');
  }
}

function expectRecord({ records }: FlowTable, record: FlowId, flow: ModelFlow, time: number): void {
  const { lb, server } = flow.key;
  const { client } = flow;
  const id = FlowModel.id(flow.key);
  same(record >= 0 && records.isLive(record), true, `${id} is there`);
  for (const [field, end] of [
    [LIP, lb],
    [SERVER, server],
    [CLIENT, client],
  ] as const) {
    const at = records.addressAt(record, field);
    words(end.address).forEach((word, i) => {
      same(records.words[at + i] >>> 0, word, `${id}: ${text(end)}, word ${i}`);
    });
  }
  same(records.lport(record), lb.port, `${id}: lport`);
  same(records.serverPort(record), server.port, `${id}: rport`);
  same(records.clientPort(record), client.port, `${id}: cport`);
  same(records.flags(record), flow.flags, `${id}: flags`);
  same(records.packetCount(record), flow.packets, `${id}: packets`);
  same(records.replyCount(record), flow.replies, `${id}: replies`);
  same(records.lastInbound(record), flow.lastInbound | 0, `${id}: last inbound`);
  same(records.idleMs(record, time | 0), time - flow.lastUsed, `${id}: idle`);
}

/** `expect(...).toBe` takes too long for hundreds of comparisons a step. */
function same(actual: number | boolean, expected: number | boolean, what: string): void {
  if (actual !== expected) expect.fail(`${what}: ${actual}, not ${expected}`);
}
