/**
 * The addon's system calls: the only file that loads it. Each gives what the call gave, or -errno. Arguments of a wrong
 * type throw a TypeError, ranges outside their memory a RangeError.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Ticks } from '../codec/units.js';

export interface Native {
  /** Attaches to a TUN without packet information and with virtio-net headers (codec/virtio.ts). Its descriptor. */
  openTun(name: string): number;
  /** Says what the reader of a TUN does by itself: TUN_F_... bits. */
  setTunOffload(fd: number, flags: number): number;
  /** A non-blocking socket's descriptor. */
  openSocket(domain: number, type: number, protocol: number): number;
  setSocketOption(fd: number, level: number, name: number, value: number): number;
  /** The option's value, 0 or more. */
  getSocketOption(fd: number, level: number, name: number): number;
  /** An option of 64 bits; 0 if the kernel has none such. */
  getSocketOption64(fd: number, level: number, name: number): bigint;
  /** Connects to the address at `at` in `words` (codec/addresses.ts). */
  connectTo(fd: number, words: Int32Array, at: number, port: number): number;
  /** An eventfd. */
  openEvent(): number;
  signalEvent(fd: number): number;
  /** Takes an exclusive flock without waiting. It ends with the descriptor. */
  lockFile(fd: number): number;
  closeDescriptor(fd: number): number;
  /** Asks for pages of 2 MB (madvise(2)). */
  adviseHugePages(memory: Uint8Array): number;
  /** Makes a file at least so many bytes long, and reserves room for them, so that writing to its mapping can't fail. */
  allocateFile(fd: number, length: number): number;
  /** A file as memory, shared with whoever maps it. Bytes behind the file's end must not be touched: that ends the process. */
  mapFile(fd: number, length: number): ArrayBuffer | number;
  /** Waits until a descriptor is readable, and drains the event: WAIT_... bits, 0 after the time-out or a signal. */
  wait(dataFd: number, eventFd: number, timeoutMs: number): number;
  /** The time now. */
  clock(): Ticks;
  sleep(microseconds: number): number;
  /** Says how late a sleep of this thread may end. */
  setTimerSlack(nanoseconds: number): number;
  /** Sends `length` bytes. How many went. */
  sendMessage(fd: number, memory: Uint8Array, length: number): number;
  /** Receives up to `length` bytes. How many came. */
  receiveMessage(fd: number, memory: Uint8Array, length: number): number;
  /** Reads packets, each of up to its length in bytes. Results are how many bytes each has. How many packets came. */
  readBatch(fd: number, ...batch: Batch): number;
  /** Receives packets from a socket by one system call, likewise. */
  receiveBatch(fd: number, ...batch: Batch): number;
  /** Writes packets. Results are 0 or -errno. How many failed. */
  writeBatch(fd: number, ...batch: Batch): number;
  /** Sends IP packets through raw sockets, one for each family, to the destinations in their headers; likewise. */
  sendBatch(fd4: number, fd6: number, ...batch: Batch): number;
}

/** `count` pieces of `memory`, MAX_BATCH at most, each by its offset and length in bytes and with a result. */
export type Batch = [
  memory: Uint8Array,
  offsets: Int32Array,
  lengths: Int32Array,
  results: Int32Array,
  count: number,
];

interface Addon extends Native {
  /** Numbers from the headers that it was compiled with, and its own limits (linux.ts). */
  readonly constants: Readonly<Record<string, number | undefined>>;
}

const require = createRequire(import.meta.url);
const load = require('node-gyp-build') as (root: string) => Addon;

const addon = load(fileURLToPath(new URL('../..', import.meta.url)));

export const native: Native = addon;

/** The addon's number of that name. Throws an Error if it has none. */
export function constant(name: string): number {
  const value = addon.constants[name];
  if (value === undefined) throw new Error(`the addon has no ${name}: it was built from other sources`);
  return value;
}

/** No descriptor: `wait` leaves it out, every other call gives -EBADF. */
export const NO_FD = -1;

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** A failed system call. Its `code` is the errno's name, as in Node's own errors. */
export class SystemCallError extends Error {
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = NAMES.get(errno) ?? `errno ${errno}`;
    super(`${call}: ${code}`);
    this.code = code;
  }
}

/** Gives a result back, or throws it as a SystemCallError if it is a -errno. */
export function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, -result);
  return result;
}
