/**
 * What the flow table has to do, as two maps and no cleverness: the model that it is compared with, and the keys
 * that tests of it use.
 */
import { expect } from 'vitest';
import { CLIENT, CLIENT_PORT, type FlowTable, LB, PORTS, SERVER } from '../../../src/flow/table.js';
import { address, type Endpoint, endpoint, word, words } from './wire.js';

export interface FlowKey {
  lb: Endpoint;
  server: Endpoint;
}

/** `10.10.1.1:40000 > 10.10.1.2:53` */
export function flowKey(text: string): FlowKey {
  const [lb, server] = text.split(' > ').map(endpoint);
  return { lb, server };
}

/** Puts LIP:lport -> RIP:rport into the table's key, both of one family. */
export function setFlow(table: FlowTable, { lb, server }: FlowKey): void {
  if (lb.address.includes(':')) table.setFlow(words(lb.address), lb.port, words(server.address), server.port);
  else table.setFlow4(word(lb.address), lb.port, word(server.address), server.port);
}

/** Puts RIP:rport -> client:cport into the table's key. */
export function setReply(table: FlowTable, server: Endpoint, client: Endpoint): void {
  if (server.address.includes(':') || client.address.includes(':')) {
    table.key.set(words(server.address), SERVER);
    table.key.set(words(client.address), CLIENT);
    table.key[PORTS] = server.port;
    table.key[CLIENT_PORT] = client.port << 16;
  } else table.setReply4(word(server.address), server.port, word(client.address), client.port);
}

export function setClient(table: FlowTable, client: Endpoint): void {
  const bytes = Uint8Array.from([0xa5, ...address(client.address)]);
  table.setClient(new DataView(bytes.buffer), 1, client.address.includes(':'), client.port);
}

export function findFlow(table: FlowTable, key: FlowKey): number {
  setFlow(table, key);
  return table.findFlow();
}

export function findReply(table: FlowTable, server: Endpoint, client: Endpoint): number {
  setReply(table, server, client);
  return table.findReply();
}

/** Learns a flow as the role does; gives what `learn` says. */
export function learn(table: FlowTable, key: FlowKey, client: Endpoint, now: number, flags = 0): number {
  setFlow(table, key);
  setClient(table, client);
  return table.learn(flags, now);
}

export const text = (end: Endpoint): string => `${end.address} ${end.port}`;

export interface ModelFlow {
  key: FlowKey;
  client: Endpoint;
  flags: number;
  /** Milliseconds since the beginning of time, which never wrap. */
  lastUsed: number;
  packets: number;
  replies: number;
}

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
      this.flows.set(FlowModel.id(key), { key, client, flags, lastUsed: time, packets: 0, replies: 0 });
      return 'added';
    }
    known.flags = flags;
    if (text(known.client) === text(client)) return 'refreshed';
    this.giveUpReplies(known);
    known.client = client;
    return 'replaced';
  }

  heard(flow: ModelFlow, time: number): void {
    flow.lastUsed = time;
    flow.packets++;
    this.owners.set(FlowModel.replyId(flow.key.server, flow.client), flow);
  }

  answered(flow: ModelFlow, time: number): void {
    flow.lastUsed = time;
    flow.replies++;
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
    expect(table.count).toBe(this.flows.size);
    expect(table.version % 2).toBe(0);
    for (const key of keys) {
      const record = findFlow(table, key);
      const flow = this.get(key);
      expect(record >= 0, FlowModel.id(key)).toBe(flow !== undefined);
      if (flow !== undefined) this.expectRecord(table, record, flow, time);
      for (const client of clients) {
        const by = findReply(table, key.server, client);
        const owner = this.owner(key.server, client);
        expect(by >= 0, FlowModel.replyId(key.server, client)).toBe(owner !== undefined);
        if (owner !== undefined) expect(by).toBe(findFlow(table, owner.key));
      }
    }
    let live = 0;
    for (let record = 0; record < table.extent; record++) if (table.isLive(record)) live++;
    expect(live).toBe(this.flows.size);
  }

  private expectRecord(table: FlowTable, record: number, flow: ModelFlow, time: number): void {
    const addressOf = (field: number) =>
      [0, 1, 2, 3].map(word => table.addressWord(record, field, word) >>> 0);
    const { lb, server } = flow.key;
    expect(addressOf(LB)).toEqual(words(lb.address));
    expect(addressOf(SERVER)).toEqual(words(server.address));
    expect(addressOf(CLIENT)).toEqual(words(flow.client.address));
    expect(table.address4(record, CLIENT) >>> 0).toBe(words(flow.client.address)[3]);
    expect([table.lbPort(record), table.serverPort(record), table.clientPort(record)]).toEqual([
      lb.port,
      server.port,
      flow.client.port,
    ]);
    expect([table.flags(record), table.packets(record), table.replyCount(record)]).toEqual([
      flow.flags,
      flow.packets,
      flow.replies,
    ]);
    expect(table.isLive(record)).toBe(true);
    expect(table.idle(record, time | 0)).toBe(time - flow.lastUsed);
  }
}
