/**
 * Reads a flow table that another thread writes. Every record is copied between two looks at the table's version, and copied
 * again if a change came in between. The writer never waits.
 */

import { ADDRESS_WORDS } from '../codec/addresses.js';
import { type FlowId, NONE, type Port, type Ticks, type WordIndex } from '../codec/units.js';
import { CLIENT, flowPorts, LIP, SERVER } from './records.js';
import { FlowTable, type TableOptions } from './table.js';

export interface FlowEntry {
  /** Addresses as four 32-bit words, IPv4 as ::ffff:a.b.c.d. */
  lip: WordIndex[];
  lport: number;
  server: WordIndex[];
  serverPort: number;
  client: WordIndex[];
  clientPort: number;
  /** What the role keeps with a flow. */
  flags: number;
  packets: number;
  replies: number;
  /** Milliseconds since the last packet either way. */
  idleMs: number;
}

/** A change takes microseconds, so a copy without one in between comes long before that. */
const TRIES = 10_000;

export class FlowReader {
  private readonly table: FlowTable;

  /** Of the table that was created in `buffer` with the same options. */
  constructor(buffer: ArrayBufferLike, options: TableOptions) {
    this.table = FlowTable.open(buffer, options);
  }

  /** The flows in the table, one after the other; `now` in ticks. */
  *entries(now: Ticks): Generator<FlowEntry> {
    for (let flow = 0; flow < this.table.extent; flow++) {
      const entry = this.consistently(() => this.read(flow, now));
      if (entry !== undefined) yield entry;
    }
  }

  /** The flow LIP:lport -> RIP:rport, addresses as four words each; `now` in ticks. */
  find(
    lip: readonly number[],
    lport: Port,
    server: readonly number[],
    serverPort: Port,
    now: Ticks,
  ): FlowEntry | undefined {
    const words = Int32Array.from([...lip, ...server]);
    return this.consistently(() => {
      const flow = this.table.findFlow(words, 0, lip.length, flowPorts(lport, serverPort));
      return flow === NONE ? undefined : this.read(flow, now);
    });
  }

  private consistently<T>(read: () => T): T {
    for (let tries = TRIES; ; tries--) {
      const before = this.table.version;
      const result = read();
      if ((before % 2 === 0 && this.table.version === before) || tries === 0) return result;
    }
  }

  private read(flow: FlowId, now: Ticks): FlowEntry | undefined {
    const { records } = this.table;
    if (!records.isLive(flow)) return undefined;
    const words = (field: number): number[] => {
      const at = records.addressAt(flow, field);
      return Array.from(records.words.subarray(at, at + ADDRESS_WORDS));
    };
    return {
      lip: words(LIP),
      lport: records.lport(flow),
      server: words(SERVER),
      serverPort: records.serverPort(flow),
      client: words(CLIENT),
      clientPort: records.clientPort(flow),
      flags: records.flags(flow),
      packets: records.packetCount(flow),
      replies: records.replyCount(flow),
      // A packet may have come after the reader looked at the clock.
      idleMs: Math.max(
        0,
        Math.min((now - records.lastInbound(flow)) | 0, (now - records.lastReply(flow)) | 0),
      ),
    };
  }
}
