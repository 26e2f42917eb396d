/**
 * Reading a flow table that another thread is writing: every record is copied between two looks at the table's
 * version, and copied again if a change came in between. The writer is never held up.
 */
import { ADDRESS_WORDS } from '../codec/addresses.js';
import { CLIENT, LB, SERVER } from './records.js';
import { FlowTable, type TableSize } from './table.js';

export interface FlowEntry {
  /** Addresses as four 32-bit words, IPv4 as ::ffff:a.b.c.d. */
  lb: number[];
  lbPort: number;
  server: number[];
  serverPort: number;
  client: number[];
  clientPort: number;
  /** What the role keeps with a flow. */
  flags: number;
  packets: number;
  replies: number;
  /** Milliseconds since the last packet. */
  idle: number;
}

/** A change takes microseconds; this many tries outlast any storm of them. */
const TRIES = 10_000;

export class FlowReader {
  private readonly table: FlowTable;

  constructor(buffer: ArrayBufferLike, size: TableSize, seed: number) {
    this.table = new FlowTable(buffer, size, seed);
  }

  /** The flows in the table, one after the other; `now` in ticks. */
  *entries(now: number): Generator<FlowEntry> {
    for (let record = 0; record < this.table.extent; record++) {
      const entry = this.consistently(() => this.read(record, now));
      if (entry !== undefined) yield entry;
    }
  }

  /** The flow LIP:lport -> RIP:rport, or undefined. */
  find(
    lb: readonly number[],
    lbPort: number,
    server: readonly number[],
    serverPort: number,
    now: number,
  ): FlowEntry | undefined {
    const ends = Int32Array.from([...lb, ...server]);
    return this.consistently(() => {
      this.table.setFlow(ends, 0, lbPort, lb.length, serverPort);
      const record = this.table.findFlow();
      return record < 0 ? undefined : this.read(record, now);
    });
  }

  private consistently<T>(read: () => T): T {
    for (let tries = TRIES; ; tries--) {
      const before = this.table.version;
      const result = read();
      if ((before % 2 === 0 && this.table.version === before) || tries === 0) return result;
    }
  }

  private read(record: number, now: number): FlowEntry | undefined {
    const { table } = this;
    if (!table.isLive(record)) return undefined;
    const words = (field: number): number[] => {
      const at = table.addressAt(record, field);
      return Array.from(table.records.subarray(at, at + ADDRESS_WORDS));
    };
    return {
      lb: words(LB),
      lbPort: table.lbPort(record),
      server: words(SERVER),
      serverPort: table.serverPort(record),
      client: words(CLIENT),
      clientPort: table.clientPort(record),
      flags: table.flags(record),
      packets: table.packets(record),
      replies: table.replyCount(record),
      idle: Math.max(0, table.idle(record, now) | 0),
    };
  }
}
