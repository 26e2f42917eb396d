/**
 * The addon's system calls: the only file that loads it. Each gives what the call gave, or -errno. Arguments of a wrong
 * type throw a TypeError, ranges outside their memory a RangeError.
 */
import { createRequire } from 'node:module';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface Native {
  /** A TUN without packet information, with a virtio-net header (codec/virtio.ts): descriptor. */
  openTun(name: string): number;
  /** What the reader of a TUN can do by itself: TUN_F_... (linux/if_tun.h). */
  setTunOffload(fd: number, flags: number): number;
  openSocket(domain: number, type: number, protocol: number): number;
  setSocketOption(fd: number, level: number, name: number, value: number): number;
  /** The option's value, 0 or more. */
  getSocketOption(fd: number, level: number, name: number): number;
  /** An option of 64 bits; 0 if the kernel has none such. */
  getSocketOption64(fd: number, level: number, name: number): bigint;
  /** To the address at `at` in `words` (codec/addresses.ts). */
  connectTo(fd: number, words: Int32Array, at: number, port: number): number;
  openEvent(): number;
  signalEvent(fd: number): number;
  /** Exclusive flock, without waiting; it goes with the descriptor. */
  lockFile(fd: number): number;
  closeDescriptor(fd: number): number;
  /** Asks for pages of 2 MB. */
  adviseHugePages(memory: Uint8Array): number;
  /** Waits for either descriptor, and drains the event: WAIT_... bits. */
  wait(dataFd: number, eventFd: number, timeoutMs: number): number;
  /** Monotonic milliseconds, their low 32 bits: ticks. */
  clock(): number;
  sleep(microseconds: number): number;
  /** How late, in nanoseconds, a sleep of this thread may end. */
  setTimerSlack(nanoseconds: number): number;
  /** Sends `length` bytes: how many went. */
  sendMessage(fd: number, memory: Uint8Array, length: number): number;
  /** Receives up to `length` bytes: how many came. */
  receiveMessage(fd: number, memory: Uint8Array, length: number): number;
  /** Reads packets, each of up to its length in bytes; `results` are how many it has. How many packets came. */
  readBatch(fd: number, ...batch: Batch): number;
  /** The same from a socket, by one call. */
  receiveBatch(fd: number, ...batch: Batch): number;
  /** Writes packets; `results` are 0 or -errno. How many failed. */
  writeBatch(fd: number, ...batch: Batch): number;
  /** The same for IP packets through raw sockets, one for each family, to the destinations in their headers. */
  sendBatch(fd4: number, fd6: number, ...batch: Batch): number;
}

/** `count` pieces of `memory`, MAX_BATCH at most, by offset and length in bytes; each gets its result. */
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

/** The addon's number of that name. */
export function constant(name: string): number {
  const value = addon.constants[name];
  if (value === undefined) throw new Error(`the addon has no ${name}: it was built from other sources`);
  return value;
}

const NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** A failed system call, as Node's own errors have it: `code` is the errno's name. */
export class SystemCallError extends Error {
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = NAMES.get(errno) ?? `errno ${errno}`;
    super(`${call}: ${code}`);
    this.code = code;
  }
}

/** Passes a result on, or throws the SystemCallError it stands for. */
export function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(call, -result);
  return result;
}
