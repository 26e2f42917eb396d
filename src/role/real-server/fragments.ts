/**
 * Later fragments go where the first one of their datagram went: it alone has ports and mark. Those that come before
 * it are kept for a moment. Only a datagram inside `opp` has to be whole before anything can be done: what the mark
 * takes out of it is no multiple of the 8 bytes that fragments are counted in.
 */
import { ADDRESS_WORDS, isMapped } from '../../codec/addresses.js';
import * as ipv4 from '../../codec/ipv4.js';
import type { Packet } from '../../codec/packet.js';
import { moveFragment, setFragmentAddresses } from '../../codec/rewrite.js';
import { toIpv4, toIpv6 } from '../../codec/translate.js';
import { type ByteOffset, NONE, type Ticks } from '../../codec/units.js';
import { FragmentTable } from '../../flow/fragments.js';
import { HeldFragments } from '../../flow/held-fragments.js';
import { type Piece, Reassembly } from '../../flow/reassembly.js';

const PAIR_WORDS = 2 * ADDRESS_WORDS;

/** A first fragment as it came. */
export interface FirstFragment {
  /** Source and destination, eight words. */
  readonly addresses: Int32Array;
  id: number;
  /** Of what fragments are counted in, in bytes. */
  length: number;
}

export class Fragments {
  private readonly table: FragmentTable;
  private readonly held = new HeldFragments();
  private readonly whole = new Reassembly();
  private readonly first: FirstFragment = { addresses: new Int32Array(PAIR_WORDS), id: 0, length: 0 };
  private readonly piece: Piece = {
    start: 0,
    payload: 0,
    end: 0,
    addresses: new Int32Array(PAIR_WORDS),
    id: 0,
    offset: 0,
    isLast: false,
  };

  constructor(seed: number) {
    this.table = new FragmentTable(seed);
  }

  /** Notes down a first fragment as it came, for `lead`. It is one object, the next call's too. */
  note(packet: Packet): FirstFragment {
    const { first } = this;
    first.addresses.set(packet.addresses);
    first.id = packet.fragmentId;
    first.length = packet.fragmentLength;
    return first;
  }

  /** Lets the other fragments go where the first one, noted down before, went as `packet`; those too that came before it. */
  lead({ addresses, id, length }: FirstFragment, packet: Packet, now: Ticks): void {
    // An IPv6 mark stands behind the fragment header, in what fragments are counted in.
    this.table.remember(addresses, id, packet.addresses, length - packet.fragmentLength, now);
    this.held.letGo(addresses, id);
  }

  /** Sends a later fragment after its first one; false if that has not come yet. */
  follow(packet: Packet, now: Ticks): boolean {
    const { table } = this;
    const first = table.find(packet.addresses, packet.fragmentId, now);
    if (first === NONE) return false;
    const at = table.addressesAt(first);
    if (table.removed(first) > 0) moveFragment(packet, table.removed(first));
    if (isMapped(table.words, at) !== packet.v6) setFragmentAddresses(packet, table.words, at);
    else if (packet.v6) toIpv4(packet, table.words, at);
    else toIpv6(packet, table.words, at);
    return true;
  }

  /** Keeps a later fragment until its first one comes; false if there is no room for it. */
  hold(packet: Packet, now: Ticks): boolean {
    const { bytes, start, end, addresses } = packet;
    return this.held.hold(bytes, start, end, addresses, packet.fragmentId, now);
  }

  /** Keeps an IPv4 fragment until all of its datagram is there: how many were dropped over it, mostly 0. */
  gather(packet: Packet, now: Ticks): number {
    const { piece } = this;
    const { view } = packet;
    // IPv6 has `opp` without extension headers only (its definition wants none).
    if (packet.v6) return 1;
    const field = view.getUint16(packet.start + ipv4.FRAGMENT);
    piece.start = packet.start;
    piece.payload = packet.transport;
    piece.end = packet.end;
    piece.addresses.set(packet.addresses);
    piece.id = packet.fragmentId;
    piece.offset = (field & ipv4.FRAGMENT_OFFSET) * 8;
    piece.isLast = (field & ipv4.MORE_FRAGMENTS) === 0;
    return this.whole.add(packet.bytes, piece, now);
  }

  /** Gives back what may go now: written to `offset` in `bytes`; its length, or 0 if there is nothing. */
  take(bytes: Uint8Array, offset: ByteOffset): number {
    return this.held.take(bytes, offset) || this.takeWhole(bytes, offset);
  }

  /** No fragment any more. Its checksum is made anew when the mark is taken out. */
  private takeWhole(bytes: Uint8Array, offset: ByteOffset): number {
    const length = this.whole.take(bytes, offset);
    if (length === 0) return 0;
    bytes[offset + ipv4.TOTAL_LENGTH] = length >>> 8;
    bytes[offset + ipv4.TOTAL_LENGTH + 1] = length & 0xff;
    bytes[offset + ipv4.FRAGMENT] = 0;
    bytes[offset + ipv4.FRAGMENT + 1] = 0;
    return length;
  }

  /** Drops what waited for too long, and says how many fragments that were. */
  expire(now: Ticks): number {
    return this.held.expire(now) + this.whole.expire(now);
  }
}
