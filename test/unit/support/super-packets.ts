/**
 * Super-packets and unfinished checksums the slow, obvious way: what the kernel would make of a packet, and lists of
 * packets as a pipeline has them.
 */
import { Checksum, Packet } from '../../../src/codec/packet.js';
import { Arena, HEADROOM } from '../../../src/io/arena.js';
import { PacketList } from '../../../src/io/lists.js';
import { be16, checksum, type DatagramFields, datagram, type Octets, split, udpChecksum } from './wire.js';

/** A packet, and what is left to be done to it. */
export interface Unfinished {
  bytes: Uint8Array;
  checksum: Checksum;
  /** Bytes of payload per datagram; 0: it is one datagram. */
  segment: number;
}

/** Where the UDP header is: behind the IP header, and `opp` if there is one. */
function udpAt(packet: Octets): number {
  const { header, body, protocol } = split(packet);
  return header.length + (protocol === 248 ? body[2] * 256 + body[3] : 0);
}

/** The packet with the sum of its pseudo header in place of its UDP checksum, as whoever offloads it leaves it. */
export function partial(packet: Octets): Uint8Array {
  const { source, destination } = split(packet);
  const at = udpAt(packet);
  const sum = 0xffff - checksum([...source, ...destination, 0, 17, ...be16(packet.length - at)]);
  const bytes = Uint8Array.from(packet);
  bytes.set(be16(sum), at + 6);
  return bytes;
}

/** One datagram with its checksum: right, and known to be, or not there yet. */
export function single(fields: DatagramFields, state: Checksum = Checksum.full): Unfinished {
  const bytes = datagram(fields);
  return { bytes: state === Checksum.partial ? partial(bytes) : bytes, checksum: state, segment: 0 };
}

/** A super-packet as the kernel has it: one packet with the payload of all. */
export function superPacket(fields: DatagramFields, segment: number): Unfinished {
  return { bytes: partial(datagram(fields)), checksum: Checksum.partial, segment };
}

/** The datagrams that the kernel makes of a packet: segments with headers of their own, and whole checksums. */
export function datagramsOf({ bytes, checksum: state, segment }: Unfinished): Uint8Array[] {
  if (segment === 0 && state !== Checksum.partial) return [bytes];
  const { header: ip, source, destination } = split(bytes);
  const at = udpAt(bytes);
  const headers = Array.from(bytes.slice(0, at + 8));
  const payload = Array.from(bytes.slice(at + 8));
  const size = segment || payload.length || 1;
  const pieces: Uint8Array[] = [];
  for (let from = 0; from === 0 || from < payload.length; from += size) {
    const part = payload.slice(from, from + size);
    const datagramBytes = [...headers.slice(at, at + 4), ...be16(8 + part.length), 0, 0, ...part];
    datagramBytes.splice(6, 2, ...be16(udpChecksum(source, destination, datagramBytes)));
    const front = headers.slice(0, at);
    if (front[0] >> 4 === 6) front.splice(4, 2, ...be16(at - 40 + datagramBytes.length));
    else {
      front.splice(2, 2, ...be16(at + datagramBytes.length));
      front.splice(4, 2, ...be16((front[4] * 256 + front[5] + pieces.length) % 65536));
      front.splice(10, 2, 0, 0);
      front.splice(10, 2, ...be16(checksum(front.slice(0, ip.length))));
    }
    pieces.push(Uint8Array.from([...front, ...datagramBytes]));
  }
  return pieces;
}

const VIRTIO_HEADER = 12;
const NEEDS_CHECKSUM = 1;
const DATA_VALID = 2;
const GSO_UDP = 5;

/** A packet behind a virtio header (of a little-endian host) that says of it what is known. */
export function withHeader({ bytes, checksum: state, segment }: Unfinished): number[] {
  const le16 = (value: number) => be16(value).reverse();
  const at = udpAt(bytes);
  const flags = { [Checksum.full]: 0, [Checksum.good]: DATA_VALID, [Checksum.partial]: NEEDS_CHECKSUM }[
    state
  ];
  const gso = segment === 0 ? [0, ...le16(0), ...le16(0)] : [GSO_UDP, ...le16(at + 8), ...le16(segment)];
  const place = state === Checksum.partial ? [...le16(at), ...le16(6)] : [0, 0, 0, 0];
  return [flags, ...gso, ...place, 0, 0, ...bytes];
}

/** The reverse. */
export function withoutHeader(octets: Octets): Unfinished {
  const [flags, type, , , low, high] = Array.from(octets);
  return {
    bytes: Uint8Array.from(Array.from(octets).slice(VIRTIO_HEADER)),
    checksum: (flags & NEEDS_CHECKSUM) !== 0 ? Checksum.partial : flags !== 0 ? Checksum.good : Checksum.full,
    segment: type === GSO_UDP ? low + high * 256 : 0,
  };
}

/** Packets where a pipeline has them: in slots of an arena, and in a list. */
export class Place {
  readonly arena = new Arena();

  /** `apart` is how many bytes are between the packets' beginnings, if not those of a slot. */
  list(packets: readonly Unfinished[], apart?: number): PacketList {
    const list = new PacketList();
    packets.forEach((packet, i) => {
      list.add(this.put(packet, apart === undefined ? this.arena.packetOffset(i) : HEADROOM + i * apart));
    });
    return list;
  }

  put({ bytes, checksum: state, segment }: Unfinished, start = this.arena.packetOffset(0)): Packet {
    const { arena } = this;
    const packet = new Packet(arena.buffer, arena.bytes, arena.view);
    arena.bytes.set(bytes, start);
    packet.parse(start, start + bytes.length, state, segment);
    return packet;
  }

  /** What is in a list now. */
  read({ items, count }: PacketList): Unfinished[] {
    return items.slice(0, count).map(({ start, end, checksum: state, segment }) => ({
      bytes: this.arena.bytes.slice(start, end),
      checksum: state,
      segment,
    }));
  }
}
