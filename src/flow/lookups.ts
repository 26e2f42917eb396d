/**
 * Finding flows: two hash indexes over the records, by LIP:lport -> RIP:rport and by the ends of a reply. Nothing here
 * changes anything.
 */
import { isMapped, sameAddress } from '../codec/addresses.js';
import { hash3, hash9 } from './hash.js';
import { HashIndex } from './hash-index.js';
import {
  ANSWERS,
  CLIENT,
  CLIENT_PORT,
  FlowRecords,
  LB,
  LIVE,
  PORTS,
  RECORD_WORDS,
  SERVER,
} from './records.js';

export class FlowLookups extends FlowRecords {
  /** Kept so that nobody finds the loads superfluous that it comes from. */
  protected fetched = 0;
  protected readonly byFlow: HashIndex;
  protected readonly byClient: HashIndex;
  private readonly seed: number;

  /** Bytes of the records and both indexes. */
  static lookupBytes(count: number): number {
    return FlowRecords.recordBytes(count) + 2 * HashIndex.byteLength(count);
  }

  /** Over `lookupBytes(count)` bytes at `byteOffset`. */
  constructor(buffer: ArrayBufferLike, byteOffset: number, count: number, seed: number) {
    super(buffer, byteOffset, count);
    this.seed = seed | 0;
    const indexes = byteOffset + FlowRecords.recordBytes(count);
    this.byFlow = new HashIndex(buffer, indexes, count);
    this.byClient = new HashIndex(buffer, indexes + HashIndex.byteLength(count), count);
  }

  // ---- one at a time -------------------------------------------------------------------------------------

  /** The record of the flow in `key` (LIP:lport -> RIP:rport), or -1. */
  findFlow(): number {
    return this.searchFlow(this.key, LB, SERVER, this.key[PORTS]);
  }

  /** The record by which replies in `key` (RIP:rport -> client:cport) go back, or -1. */
  findReply(): number {
    const { key } = this;
    return this.searchReply(key, SERVER, CLIENT, replyPorts(key, 0));
  }

  /** As `findFlow`, without a key: for what is asked of each packet. `likely` is a record to look at first, or -1. */
  flowOf(
    words: Int32Array,
    lb: number,
    lbPort: number,
    server: number,
    serverPort: number,
    likely: number,
  ): number {
    const ports = (lbPort << 16) | serverPort;
    if (likely >= 0 && this.isFlow(likely, words, lb, server, ports)) return likely;
    return this.searchFlow(words, lb, server, ports);
  }

  /** As `findReply`, likewise. */
  replyOf(
    words: Int32Array,
    server: number,
    serverPort: number,
    client: number,
    clientPort: number,
    likely: number,
  ): number {
    const ports = (clientPort << 16) | serverPort;
    if (likely >= 0 && this.answers(likely, words, server, client, ports)) return likely;
    return this.searchReply(words, server, client, ports);
  }

  private searchFlow(words: Int32Array, lb: number, server: number, ports: number): number {
    const { byFlow } = this;
    const hash = this.hash(words, lb, server, ports);
    for (let at = byFlow.first(hash); ; at = byFlow.next(at)) {
      const record = byFlow.record(at);
      if (record < 0) return -1;
      if (byFlow.hash(at) === hash && this.isFlow(record, words, lb, server, ports)) return record;
    }
  }

  /** `ports` is cport << 16 | rport. */
  private searchReply(words: Int32Array, server: number, client: number, ports: number): number {
    const { byClient } = this;
    const hash = this.hash(words, client, server, ports);
    for (let at = byClient.first(hash); ; at = byClient.next(at)) {
      const record = byClient.record(at);
      if (record < 0) return -1;
      if (byClient.hash(at) === hash && this.answers(record, words, server, client, ports)) return record;
    }
  }

  /** Whether a record, which may be a free one, is that of this flow. */
  private isFlow(record: number, words: Int32Array, lb: number, server: number, ports: number): boolean {
    const { records } = this;
    const base = record * RECORD_WORDS;
    return (
      records[base + PORTS] === ports &&
      (records[base + CLIENT_PORT] & LIVE) !== 0 &&
      sameAddress(records, base + LB, words, lb) &&
      sameAddress(records, base + SERVER, words, server)
    );
  }

  /** Whether a record, which may be a free one, is what this reply goes by. */
  private answers(record: number, words: Int32Array, server: number, client: number, ports: number): boolean {
    const { records } = this;
    const base = record * RECORD_WORDS;
    return (
      replyPorts(records, base) === ports &&
      (records[base + CLIENT_PORT] & ANSWERS) !== 0 &&
      sameAddress(records, base + CLIENT, words, client) &&
      sameAddress(records, base + SERVER, words, server)
    );
  }

  // ---- a batch ahead -------------------------------------------------------------------------------------

  /** The hash of a flow. `ports` is lport << 16 | rport. */
  flowHash(words: Int32Array, lb: number, server: number, ports: number): number {
    return this.hash(words, lb, server, ports);
  }

  /** The hash of a reply. `ports` is cport << 16 | rport. */
  replyHash(words: Int32Array, server: number, client: number, ports: number): number {
    return this.hash(words, client, server, ports);
  }

  /**
   * Has the memory behind `count` hashes, of flows (`areReplies` 0) or replies (1), brought to the cache, so that their
   * misses overlap: a packet needs two lines, of an index and of a record. Puts the record that each of them probably has
   * into `likely`, or -1.
   */
  fetch(hashes: Int32Array, areReplies: Uint8Array, count: number, likely: Int32Array): void {
    const { byFlow, byClient, records } = this;
    let fetched = 0;
    // A loop for each step, and nothing in the first that depends on what it loads: a branch guessed wrong would make the
    // processor wait for this packet's line before it asks for the next one's.
    for (let i = 0; i < count; i++) {
      const index = areReplies[i] === 0 ? byFlow : byClient;
      fetched ^= index.hash(index.first(hashes[i]));
    }
    for (let i = 0; i < count; i++) {
      const index = areReplies[i] === 0 ? byFlow : byClient;
      const record = index.candidate(hashes[i]);
      likely[i] = record;
      if (record >= 0) fetched ^= records[record * RECORD_WORDS + PORTS];
    }
    this.fetched = fetched;
  }

  // ---- hashes --------------------------------------------------------------------------------------------

  /** Of two addresses and a word of ports. */
  private hash(words: Int32Array, a: number, b: number, ports: number): number {
    return isMapped(words, a) && isMapped(words, b)
      ? hash3(words[a + 3], words[b + 3], ports, this.seed)
      : hash9(words, a, b, ports, this.seed);
  }

  protected hashFlow(words: Int32Array, base: number): number {
    return this.hash(words, base + LB, base + SERVER, words[base + PORTS]);
  }

  protected hashClient(words: Int32Array, base: number): number {
    return this.hash(words, base + CLIENT, base + SERVER, replyPorts(words, base));
  }
}

/** cport << 16 | rport, of a record or a key at `base`. */
function replyPorts(words: Int32Array, base: number): number {
  return (words[base + CLIENT_PORT] & ~0xffff) | (words[base + PORTS] & 0xffff);
}
