/**
 * The conntrack of a FakeKernel: answers each request for a connection by a message of its own, in the order of the
 * requests, and sets marks. It knows connections by the bytes of their two tuples alone.
 */
import { constants } from 'node:os';
import type { FakeKernel } from './fake-kernel.js';
import { bytesOf, connection, notThere, originalOf, tuple } from './netlink.js';
import { type Octets, toHex } from './wire.js';

const IPCTNL_MSG_CT_GET = 1;

interface Connection {
  client: string;
  from: string;
  to: string;
  id: number;
}

export class FakeConntrack {
  /** What each send() held: kinds of requests. */
  readonly sends: ('get' | 'mark')[][] = [];
  /** The connections that got a mark, as `from > to` of their replies, as often as they got one. */
  readonly marked: string[] = [];
  /** Which of the answers to a send() get lost, by their place. */
  readonly lost = new Set<number>();
  sendFails = false;
  private readonly connections = new Map<string, Connection>();
  private lastId = 256;

  constructor(kernel: FakeKernel) {
    kernel.answers = message => this.receive(Buffer.from(message));
  }

  /** A connection of `client` that the LB's `from` has `to` a real server; in the place of an earlier one. */
  track(from: string, to: string, client: string): void {
    this.connections.set(keyOf(to, from), { client, from: to, to: from, id: ++this.lastId });
  }

  forget(from: string, to: string): void {
    this.connections.delete(keyOf(to, from));
  }

  private receive(message: Buffer): Octets[] | number {
    if (this.sendFails) return -constants.errno.ENOBUFS;
    const requests: Buffer[] = [];
    for (let at = 0; at < message.length; at += message.readUInt32LE(at))
      requests.push(message.subarray(at, at + message.readUInt32LE(at)));
    this.sends.push(requests.map(request => (isGet(request) ? 'get' : 'mark')));
    const answers = requests.map(request => this.answer(request));
    return answers.filter((answer, i) => answer.length > 0 && !this.lost.has(i));
  }

  /** Nothing for a mark that was set: NLM_F_ACK is not asked for. */
  private answer(request: Buffer): Octets {
    const found = this.find(toHex(request.subarray(20, 20 + request.readUInt16LE(20))), isGet(request));
    if (found === undefined) return bytesOf(notThere(request));
    const { client, from, to, id } = found;
    if (isGet(request)) return bytesOf(connection(request.subarray(8, 12), client, from, to, id));
    this.marked.push(`${from} > ${to}`);
    return [];
  }

  /** Connections are asked for by their reply tuple, and marked by their original one. */
  private find(key: string, byReply: boolean): Connection | undefined {
    if (byReply) return this.connections.get(key);
    return [...this.connections.values()].find(({ client }) => toHex(bytesOf(originalOf(client))) === key);
  }
}

const isGet = (request: Buffer) => request[4] === IPCTNL_MSG_CT_GET;
const keyOf = (from: string, to: string) => toHex(bytesOf(tuple(2, from, to)));
