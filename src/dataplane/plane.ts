/**
 * The data plane as the main thread sees it: a Worker, and the memory shared with it. Counters and flows are read
 * straight from that memory, so asking for them costs the packets nothing.
 */
import { randomInt } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { FlowReader } from '../flow/reader.js';
import { FlowTable, type TableOptions, type TableSize } from '../flow/table.js';
import { check, native } from '../io/native.js';
import { COUNTERS_BYTES, type Counters, makeCounters } from '../role/counters.js';
import type { RoleSettings } from './make-role.js';
import { type DataPlaneSetup, type FromWorker, NO_ROOM, type PathMtuNews, READY } from './messages.js';
import { SIGNAL_BYTES, Signal } from './signals.js';
import { type FlowNews, takeOver } from './take-over.js';

/** How long a worker may take to end by itself. */
const STOP_PATIENCE_MS = 1000;

export interface DataPlaneOptions {
  tunFd: number;
  /** The fwmark of what is sent. */
  fwmark: number;
  /** Whether neighbours of one flow may become one super-packet. */
  merges: boolean;
  /** How long a packet may wait under load for others to be merged with; 0: none does. */
  coalesceUs: number;
  size: TableSize;
  /** Where flows are saved for the next process, and found from the one before. */
  flowFile: string;
  /** Hears what became of those. */
  flowNews: FlowNews;
  role: RoleSettings;
  /** Called when the path to a client turns out to take no packets of more than so many bytes. */
  onPathMtu: (news: PathMtuNews) => void;
}

export class DataPlane {
  readonly counters: Counters;
  readonly flows: FlowReader;
  /** Settles when the worker ends: resolved after `stop`, rejected if it failed. */
  readonly ended: Promise<void>;
  private readonly signals: Int32Array;

  private constructor(
    private readonly worker: Worker,
    private readonly setup: DataPlaneSetup,
  ) {
    this.counters = makeCounters(setup.counters);
    this.signals = new Int32Array(setup.signals);
    this.flows = new FlowReader(setup.flows, setup.table);
    this.ended = new Promise((resolve, reject) => {
      worker.once('error', reject);
      worker.once('exit', () => resolve());
    });
    // A rejection reaches those who wait for `ended`. Without this one it would end the process before they do.
    this.ended.catch(() => {});
  }

  /** Starts the worker, and waits until it takes packets. The caller has to close the TUN's descriptor. Throws a SystemCallError. */
  static async start(options: DataPlaneOptions): Promise<DataPlane> {
    const { onPathMtu, size, flowFile, flowNews, ...rest } = options;
    // Behind the load balancer's NAT replies don't come through here.
    const routesReplies = options.role.name === 'real-server';
    const table: TableOptions = { ...size, routesReplies, seed: randomInt(2 ** 32) };
    const flows = new SharedArrayBuffer(FlowTable.byteLength(table));
    // A million flows in pages of 4 KB miss the TLB for nearly every packet. A kernel without larger ones refuses: no harm.
    native.adviseHugePages(new Uint8Array(flows));
    const file = takeOver(native, flowFile, flows, table, options.role, flowNews);
    const setup: DataPlaneSetup = {
      ...rest,
      table,
      wakeFd: check('eventfd', native.openEvent()),
      flows,
      file: file?.shared,
      counters: new SharedArrayBuffer(COUNTERS_BYTES),
      signals: new SharedArrayBuffer(SIGNAL_BYTES),
    };
    const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: setup });
    const plane = new DataPlane(worker, setup);
    const ready = new Promise<void>(resolve => {
      worker.on('message', (message: FromWorker) => {
        if (message === READY) resolve();
        else if (message === NO_ROOM)
          flowNews.warn(`further flows will not survive a restart: ${flowFile}: ENOSPC`);
        else onPathMtu(message);
      });
    });
    await Promise.race([ready, plane.ended]);
    return plane;
  }

  /** Gives the role other settings, from the next packet on. */
  configure(role: RoleSettings): void {
    this.worker.postMessage(role);
    Atomics.store(this.signals, Signal.message, 1);
    native.signalEvent(this.setup.wakeFd);
  }

  /** Counts up as long as the worker is well. */
  get heartbeat(): number {
    return Atomics.load(this.signals, Signal.heartbeat);
  }

  /** Handles the packets that are still in the TUN, and ends the worker. Safe to call twice. */
  async stop(): Promise<void> {
    if (Atomics.exchange(this.signals, Signal.stop, 1) === 1) return;
    native.signalEvent(this.setup.wakeFd);
    const stuck = setTimeout(() => void this.worker.terminate(), STOP_PATIENCE_MS);
    await this.ended.catch(() => {});
    clearTimeout(stuck);
    native.closeDescriptor(this.setup.wakeFd);
    if (this.setup.file !== undefined) native.closeDescriptor(this.setup.file.fd);
  }
}
