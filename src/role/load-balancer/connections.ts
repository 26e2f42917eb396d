/** The kernel's connections, as far as the load balancer needs them. */
import { ADDRESS_WORDS, copyAddress } from '../../codec/addresses.js';
import type { OriginalTuple, ReplyTuple } from '../../codec/ctnetlink.js';
import { DESTINATION_AT, SOURCE_AT } from '../../codec/packet.js';
import type { Port, WordIndex } from '../../codec/units.js';

/** A connection, by its client. */
export interface Connection {
  /** Four words. */
  readonly client: Int32Array;
  readonly clientPort: Port;
  /** From the client to whom it asks. */
  readonly original: OriginalTuple;
  /** Tells it from an earlier connection with the same tuple. */
  readonly id: number;
}

/** Connections are looked for by their reply tuple, RIP:rport -> LIP:lport, which another client's may get later. */
export interface Connections {
  /** Puts a query for a connection on the list. Its number, or NONE if the list is full. */
  addQuery(tuple: ReplyTuple): number;
  /** Sends the queries on the list and begins another one. `answer` has their answers until the next time. */
  sendQueries(): void;
  /** The connection that a query has found, or undefined. It is one object, the next call's too. */
  answer(query: number): Connection | undefined;
  /** Looks for one connection at once; likewise. Answers to queries stay. */
  find(tuple: ReplyTuple): Connection | undefined;
  /**
   * Puts a connection on the list of those whose packets need not come here any more. If it has ended by the time that
   * the list is sent, that is without effect, even if another client's has its reply tuple.
   */
  addRelease(tuple: OriginalTuple): void;
  /** Lets the packets of all connections on the list go by without us. */
  sendReleases(): void;
}

/** A tuple that is made once, and set for every connection that is asked for. */
export class TupleBuffer implements ReplyTuple {
  readonly addresses = new Int32Array(2 * ADDRESS_WORDS);
  sourcePort: Port = 0;
  destinationPort: Port = 0;

  /** RIP:rport -> LIP:lport; the addresses are at `serverAt` and `lipAt` in `words`. */
  set(words: Int32Array, serverAt: WordIndex, serverPort: Port, lipAt: WordIndex, lport: Port): this {
    copyAddress(words, serverAt, this.addresses, SOURCE_AT);
    copyAddress(words, lipAt, this.addresses, DESTINATION_AT);
    this.sourcePort = serverPort;
    this.destinationPort = lport;
    return this;
  }
}
