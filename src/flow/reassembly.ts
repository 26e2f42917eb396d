/**
 * Puts datagrams together that came in fragments, for the few that can't be handled in pieces: in memory that is
 * bounded once and for all. Fragments that overlap spoil their datagram (RFC 5722's reason holds for IPv4 too); one
 * that came twice does not.
 */

import { ADDRESS_WORDS, copyAddress, sameAddress } from '../codec/addresses.js';
import { MAX_PACKET } from '../codec/ip-header.js';
import type { Ticks } from '../codec/units.js';

/** Milliseconds: on one path fragments overtake each other by far less. */
const LIFETIME = 2000;
const SLOTS = 8;
/** A datagram of the largest size in pieces for the smallest path (552 bytes). */
const MOST_PIECES = 128;

const SOURCE = 0;
const DESTINATION = SOURCE + ADDRESS_WORDS;
const ID = DESTINATION + ADDRESS_WORDS;
const TIME = ID + 1;
/** FREE, GATHERING or COMPLETE. */
const STATE = TIME + 1;
/** Of the first fragment's header, in bytes; 0 until it is there. */
const HEADER = STATE + 1;
/** Payload bytes that are there, and that there will be (0 until the last fragment tells). */
const GATHERED = HEADER + 1;
const TOTAL = GATHERED + 1;
const PIECES = TOTAL + 1;
/** Counts up, so that what was complete first goes first. */
const ORDER = PIECES + 1;
const SLOT_WORDS = ORDER + 1;

const FREE = 0;
const GATHERING = 1;
const COMPLETE = 2;

/** Room in front of the payload for the largest IPv4 header. */
const HEADER_ROOM = 64;

export interface Piece {
  /** Where the packet, its payload and its end are in `bytes`. */
  start: number;
  payload: number;
  end: number;
  /** Source and destination, eight words. */
  addresses: Int32Array;
  id: number;
  /** Of the payload in that of the datagram, in bytes. */
  offset: number;
  isLast: boolean;
}

export class Reassembly {
  private readonly slots = new Int32Array(SLOTS * SLOT_WORDS);
  /** Begin and end of each piece, two words. */
  private readonly pieces = new Int32Array(SLOTS * MOST_PIECES * 2);
  private readonly memory = new Uint8Array(SLOTS * (HEADER_ROOM + MAX_PACKET));
  private busy = 0;
  private complete = 0;
  private order = 0;

  /** Adds a fragment: 0 if it was kept, or how many were dropped, itself and those that it spoiled. */
  add(bytes: Uint8Array, piece: Piece, now: Ticks): number {
    const slot = this.slotFor(piece, now);
    if (slot < 0) return 1;
    const { slots } = this;
    const at = slot * SLOT_WORDS;
    const length = piece.end - piece.payload;
    const end = piece.offset + length;
    if (this.isRepeated(slot, piece.offset, end)) return 0;
    if (!this.fits(slot, piece, end)) return this.drop(slot) + 1;

    const to = slot * (HEADER_ROOM + MAX_PACKET) + HEADER_ROOM + piece.offset;
    for (let i = 0; i < length; i++) this.memory[to + i] = bytes[piece.payload + i];
    if (piece.offset === 0) this.keepHeader(slot, bytes, piece);
    if (piece.isLast) slots[at + TOTAL] = end;
    const entry = (slot * MOST_PIECES + slots[at + PIECES]) * 2;
    this.pieces[entry] = piece.offset;
    this.pieces[entry + 1] = end;
    slots[at + PIECES]++;
    slots[at + GATHERED] += length;
    if (slots[at + TOTAL] === 0 || slots[at + GATHERED] < slots[at + TOTAL]) return 0;
    // The first one's header may be longer than that of those that were looked at before.
    if (slots[at + HEADER] + slots[at + TOTAL] > MAX_PACKET) return this.drop(slot);
    slots[at + STATE] = COMPLETE;
    slots[at + ORDER] = this.order++;
    this.complete++;
    return 0;
  }

  /** Copies a complete datagram to `offset` in `bytes`, under its first fragment's header; its length, or 0 if none. */
  take(bytes: Uint8Array, offset: number): number {
    if (this.complete === 0) return 0;
    const { slots } = this;
    let first = -1;
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = slot * SLOT_WORDS;
      if (slots[at + STATE] !== COMPLETE) continue;
      if (first < 0 || slots[at + ORDER] - slots[first * SLOT_WORDS + ORDER] < 0) first = slot;
    }
    const header = slots[first * SLOT_WORDS + HEADER];
    const length = header + slots[first * SLOT_WORDS + TOTAL];
    const from = first * (HEADER_ROOM + MAX_PACKET) + HEADER_ROOM - header;
    for (let i = 0; i < length; i++) bytes[offset + i] = this.memory[from + i];
    this.drop(first);
    this.complete--;
    return length;
  }

  /** Drops what did not become whole in time, and says how many fragments that were. */
  expire(now: Ticks): number {
    if (this.busy === 0) return 0;
    let dropped = 0;
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = slot * SLOT_WORDS;
      if (this.slots[at + STATE] !== GATHERING || (now - this.slots[at + TIME]) >>> 0 < LIFETIME) continue;
      dropped += this.drop(slot);
    }
    return dropped;
  }

  /** The slot of the piece's datagram, a free one for its first piece, or -1. */
  private slotFor(piece: Piece, now: Ticks): number {
    const { slots } = this;
    let free = -1;
    for (let slot = 0; slot < SLOTS; slot++) {
      const at = slot * SLOT_WORDS;
      if (slots[at + STATE] === FREE) free = slot;
      else if (
        slots[at + STATE] === GATHERING &&
        slots[at + ID] === piece.id &&
        sameAddress(slots, at + SOURCE, piece.addresses, 0) &&
        sameAddress(slots, at + DESTINATION, piece.addresses, ADDRESS_WORDS)
      )
        return slot;
    }
    if (free >= 0) this.begin(free, piece, now);
    return free;
  }

  private begin(slot: number, piece: Piece, now: Ticks): void {
    const { slots } = this;
    const at = slot * SLOT_WORDS;
    slots.fill(0, at, at + SLOT_WORDS);
    copyAddress(piece.addresses, 0, slots, at + SOURCE);
    copyAddress(piece.addresses, ADDRESS_WORDS, slots, at + DESTINATION);
    slots[at + ID] = piece.id;
    slots[at + TIME] = now;
    slots[at + STATE] = GATHERING;
    this.busy++;
  }

  private isRepeated(slot: number, offset: number, end: number): boolean {
    const first = slot * MOST_PIECES * 2;
    for (let i = 0; i < this.slots[slot * SLOT_WORDS + PIECES]; i++)
      if (this.pieces[first + i * 2] === offset && this.pieces[first + i * 2 + 1] === end) return true;
    return false;
  }

  private fits(slot: number, piece: Piece, end: number): boolean {
    const { slots, pieces } = this;
    const at = slot * SLOT_WORDS;
    const total = slots[at + TOTAL];
    const header = piece.payload - piece.start;
    if (header > HEADER_ROOM || header + end > MAX_PACKET || slots[at + PIECES] === MOST_PIECES) return false;
    if (end === piece.offset || (total > 0 && (end > total || piece.isLast))) return false;
    const first = slot * MOST_PIECES * 2;
    for (let i = 0; i < slots[at + PIECES]; i++) {
      const from = pieces[first + i * 2];
      const to = pieces[first + i * 2 + 1];
      if ((piece.offset < to && from < end) || (piece.isLast && to > end)) return false;
    }
    return true;
  }

  /** Right in front of the payload. */
  private keepHeader(slot: number, bytes: Uint8Array, { start, payload }: Piece): void {
    const length = payload - start;
    const to = slot * (HEADER_ROOM + MAX_PACKET) + HEADER_ROOM - length;
    for (let i = 0; i < length; i++) this.memory[to + i] = bytes[start + i];
    this.slots[slot * SLOT_WORDS + HEADER] = length;
  }

  private drop(slot: number): number {
    const at = slot * SLOT_WORDS;
    this.slots[at + STATE] = FREE;
    this.busy--;
    return this.slots[at + PIECES];
  }
}
