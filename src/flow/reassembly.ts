/**
 * Puts datagrams together that came in fragments, for the few that can't be handled in pieces, in memory of a fixed size.
 * Fragments that overlap spoil their datagram: RFC 5722's reason holds for IPv4 too. A fragment that came twice does not.
 */
import { MAX_PACKET } from '../codec/ip-header.js';
import * as ipv4 from '../codec/ipv4.js';
import { type ByteOffset, NONE, type Ticks } from '../codec/units.js';
import { DatagramSlots } from './datagram-slots.js';

/** Fragments on one path overtake each other by far less. */
const LIFETIME_MS = 2000;
const SLOTS = 8;
/** A slot's memory: the payload begins after room for the largest header, and the first fragment's ends there. */
const PAYLOAD_AT = ipv4.MAX_HEADER;
const SLOT_BYTES = PAYLOAD_AT + MAX_PACKET;
/** A datagram of the largest size in pieces for the smallest path (552 bytes). */
const MOST_PIECES = 128;

/** Words of a slot. The length in bytes of the first fragment's header; 0 until it is there. */
const HEADER = 0;
/** Payload bytes that are there, and that there will be (0 until the last fragment tells). */
const GATHERED = 1;
const TOTAL = 2;
const SLOT_WORDS = 3;

export interface Piece {
  /** Where the packet, its payload and its end are in `bytes`. */
  start: ByteOffset;
  payload: ByteOffset;
  end: ByteOffset;
  /** Source and destination, eight words. */
  addresses: Int32Array;
  id: number;
  /** Of the payload in that of the datagram, in bytes. */
  offset: number;
  isLast: boolean;
}

export class Reassembly {
  private readonly slots = new DatagramSlots(SLOTS, SLOT_WORDS);
  private readonly words = this.slots.words;
  /** Begin and end of each piece, two words. */
  private readonly pieces = new Int32Array(SLOTS * MOST_PIECES * 2);
  private readonly memory = new Uint8Array(SLOTS * SLOT_BYTES);

  /** Adds a fragment. Gives 0 if it was kept, or how many were dropped: itself and those that it spoiled. */
  add(bytes: Uint8Array, piece: Piece, now: Ticks): number {
    const slot = this.slotFor(piece, now);
    if (slot === NONE) return 1;
    const end = piece.offset + piece.end - piece.payload;
    if (this.isRepeated(slot, piece.offset, end)) return 0;
    if (!this.fits(slot, piece, end)) return this.slots.free(slot) + 1;
    this.keep(slot, bytes, piece, end);
    return this.isWhole(slot) ? this.complete(slot) : 0;
  }

  /** Copies a complete datagram to `offset` in `bytes`, under its first fragment's header; its length, or 0 if none. */
  take(bytes: Uint8Array, offset: ByteOffset): number {
    const { slots, words, memory } = this;
    const slot = slots.firstReady();
    if (slot === NONE) return 0;
    const at = slots.userAt(slot);
    const length = words[at + HEADER] + words[at + TOTAL];
    const from = slot * SLOT_BYTES + PAYLOAD_AT - words[at + HEADER];
    for (let i = 0; i < length; i++) bytes[offset + i] = memory[from + i];
    slots.free(slot);
    return length;
  }

  /** Drops what did not become whole in time, and says how many fragments that were. */
  expire(now: Ticks): number {
    return this.slots.expire(LIFETIME_MS, now);
  }

  /** The slot of the piece's datagram, a free one for its first piece, or NONE. */
  private slotFor({ addresses, id }: Piece, now: Ticks): number {
    const { slots } = this;
    const slot = slots.findWaiting(addresses, id);
    return slot === NONE ? slots.claim(addresses, id, now) : slot;
  }

  private isRepeated(slot: number, offset: number, end: number): boolean {
    const { pieces } = this;
    const first = slot * MOST_PIECES * 2;
    const last = first + this.slots.fragments(slot) * 2;
    for (let i = first; i < last; i += 2) if (pieces[i] === offset && pieces[i + 1] === end) return true;
    return false;
  }

  private fits(slot: number, piece: Piece, end: number): boolean {
    const { slots, pieces } = this;
    const total = this.words[slots.userAt(slot) + TOTAL];
    const count = slots.fragments(slot);
    const header = piece.payload - piece.start;
    if (header > PAYLOAD_AT || header + end > MAX_PACKET || count === MOST_PIECES) return false;
    if (end === piece.offset || (total > 0 && (end > total || piece.isLast))) return false;
    const first = slot * MOST_PIECES * 2;
    const last = first + count * 2;
    for (let i = first; i < last; i += 2) {
      if (piece.offset < pieces[i + 1] && pieces[i] < end) return false;
      if (piece.isLast && pieces[i + 1] > end) return false;
    }
    return true;
  }

  private keep(slot: number, bytes: Uint8Array, piece: Piece, end: number): void {
    const { slots, words, pieces, memory } = this;
    const at = slots.userAt(slot);
    const length = piece.end - piece.payload;
    const to = slot * SLOT_BYTES + PAYLOAD_AT + piece.offset;
    for (let i = 0; i < length; i++) memory[to + i] = bytes[piece.payload + i];
    if (piece.offset === 0) this.keepHeader(slot, bytes, piece);
    if (piece.isLast) words[at + TOTAL] = end;
    const entry = (slot * MOST_PIECES + slots.fragments(slot)) * 2;
    pieces[entry] = piece.offset;
    pieces[entry + 1] = end;
    slots.addFragment(slot);
    words[at + GATHERED] += length;
  }

  private keepHeader(slot: number, bytes: Uint8Array, { start, payload }: Piece): void {
    const length = payload - start;
    const to = slot * SLOT_BYTES + PAYLOAD_AT - length;
    for (let i = 0; i < length; i++) this.memory[to + i] = bytes[start + i];
    this.words[this.slots.userAt(slot) + HEADER] = length;
  }

  private isWhole(slot: number): boolean {
    const at = this.slots.userAt(slot);
    return this.words[at + TOTAL] > 0 && this.words[at + GATHERED] >= this.words[at + TOTAL];
  }

  /** Lets a whole datagram be taken, after those that were whole before it. How many fragments were dropped if it is too long. */
  private complete(slot: number): number {
    const { slots, words } = this;
    const at = slots.userAt(slot);
    // The first fragment's header may be longer than those that `fits` saw before it came.
    if (words[at + HEADER] + words[at + TOTAL] > MAX_PACKET) return this.slots.free(slot);
    slots.makeReady(slot);
    slots.moveBack(slot);
    return 0;
  }
}
