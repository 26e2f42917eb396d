/**
 * The file in which flows outlive the process: flow/saved-flows.ts says what is in it. It lies where a reboot empties it.
 *
 * A start reads the old file, fills a new one under another name, and puts that in the old one's place, so that a kill at
 * any time leaves one of them whole. The file grows with the number of flows, and room is reserved before anything is
 * written: a full file system would end the process otherwise.
 */
import { randomInt } from 'node:crypto';
import { closeSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs';
import type { FlowId } from '../codec/units.js';
import {
  differenceOf,
  FORMAT,
  HEADER_WORDS,
  hasHeader,
  OWNER_WORDS,
  SAVED_WORDS,
  SavedFlows,
  savedBytes,
  writeHeader,
} from '../flow/saved-flows.js';
import { namespaceCookie } from '../io/namespace.js';
import { check, type Native, SystemCallError } from '../io/native.js';

/** Records by which a file grows: 304 KB, which the kernel has to clear between two batches. */
const GROWTH = 4096;
/** It grows before fewer records than these are left: more than a batch brings. */
const MARGIN = 1024;

/** Plain data: it goes from thread to thread. */
export interface FlowFileShape {
  fd: number;
  maxFlows: number;
  timeoutMs: number;
  seed: number;
  room: number;
}

export class FlowFile {
  readonly flows: SavedFlows;
  private canGrow = true;

  /** Over a file that has a header, and room for `shape.room` records. Throws a SystemCallError. */
  constructor(
    private readonly native: Native,
    private readonly shape: FlowFileShape,
  ) {
    const { fd, maxFlows, timeoutMs, seed, room } = shape;
    const memory = mapped(native, fd, savedBytes(maxFlows));
    this.flows = new SavedFlows(memory, seed, timeoutMs);
    this.flows.room = room;
  }

  /** As another thread can open it, too. */
  get shared(): FlowFileShape {
    return { ...this.shape, room: this.flows.room };
  }

  /**
   * To be called between batches, with the number of records in use so far: makes room for those to come. False once, when
   * the file system has no more: further flows are not saved.
   */
  makeRoom(extent: FlowId): boolean {
    const { flows, shape } = this;
    if (!this.canGrow || extent + MARGIN <= flows.room || flows.room === shape.maxFlows) return true;
    const room = roomFor(extent, shape.maxFlows);
    this.canGrow = this.native.allocateFile(shape.fd, savedBytes(room)) === 0;
    if (this.canGrow) flows.room = room;
    return this.canGrow;
  }
}

/** How many records a file has room for when so many are in use. */
function roomFor(extent: number, maxFlows: number): number {
  return Math.min(Math.ceil((extent + MARGIN) / GROWTH) * GROWTH, maxFlows);
}

function mapped(native: Native, fd: number, length: number): ArrayBuffer {
  const memory = native.mapFile(fd, length);
  if (typeof memory === 'number') throw new SystemCallError('mmap', -memory);
  return memory;
}

// ---- whose it is ---------------------------------------------------------------------------------------------

/** What two owners may differ in, by the words of `ownerWords`. */
const DIFFERENCES = [
  'another version',
  'another role',
  ...new Array<string>(4).fill('an earlier boot'),
  ...new Array<string>(2).fill('another network namespace'),
];

/** Who may believe a file: this version in this role, until the next boot, in this network namespace. */
export function ownerWords(role: number, bootId = readBootId(), cookie = namespaceCookie()): number[] {
  const boot = bootId.replaceAll('-', '').match(/.{8}/g) ?? [];
  const words = [FORMAT, role, ...boot.map(word => Number.parseInt(word, 16)), Number(cookie & 0xffffffffn)];
  return [...words, Number(cookie >> 32n)].map(word => word | 0).slice(0, OWNER_WORDS);
}

function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

// ---- the old one ---------------------------------------------------------------------------------------------

/** What a process before this one has left. */
export interface OldFlows {
  /** The file's words, if its flows may be restored. */
  words?: Int32Array;
  /** What is to be said about the file. */
  fault?: string;
}

/** Reads the file. One that is damaged is set aside as `.bad`. Throws if that is not possible. */
export function readOldFlows(path: string, owner: readonly number[]): OldFlows {
  const bytes = readIfThere(path);
  if (bytes === undefined) return {};
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2);
  if (!hasHeader(words)) {
    renameSync(path, `${path}.bad`);
    return { fault: `damaged, set aside as ${path}.bad` };
  }
  const difference = differenceOf(words, owner);
  if (difference !== undefined) return { fault: `of ${DIFFERENCES[difference]}, not used` };
  const records = words.length - HEADER_WORDS;
  const isCut = bytes.byteLength % 4 !== 0 || records % SAVED_WORDS !== 0;
  return isCut ? { words, fault: 'cut off: what is left of it is used' } : { words };
}

/** The content in memory of its own, aligned for words. */
function readIfThere(path: string): Uint8Array | undefined {
  try {
    return new Uint8Array(readFileSync(path));
  } catch {
    return undefined;
  }
}

// ---- the new one ---------------------------------------------------------------------------------------------

export interface NewFile {
  path: string;
  owner: readonly number[];
  maxFlows: number;
  timeoutMs: number;
  /** How many records will be in use at once. */
  extent: number;
}

/**
 * Makes a file, which is not in its place yet. If there is no room for two, the old one goes first. Throws if the file
 * system has no room, or does not let us write.
 */
export function createFlowFile(native: Native, file: NewFile): FlowFile {
  try {
    return create(native, file);
  } catch {
    rmSync(file.path, { force: true });
    return create(native, file);
  }
}

function create(native: Native, { path, owner, maxFlows, timeoutMs, extent }: NewFile): FlowFile {
  const fd = openSync(`${path}.new`, 'w+', 0o600);
  try {
    const room = roomFor(extent, maxFlows);
    check('reserve room', native.allocateFile(fd, savedBytes(room)));
    const seed = randomInt(2 ** 32) | 0;
    writeHeader(new Int32Array(mapped(native, fd, HEADER_WORDS * 4)), owner, seed);
    return new FlowFile(native, { fd, maxFlows, timeoutMs, seed, room });
  } catch (error) {
    closeSync(fd);
    rmSync(`${path}.new`, { force: true });
    throw error;
  }
}

/** Puts a new file, filled by now, in the place of the old one. */
export function putInPlace(path: string): void {
  renameSync(`${path}.new`, path);
}
