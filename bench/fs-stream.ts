/**
 * A TUN as npm's tuntap2 reads and writes it, for comparison: Node's fs streams on its descriptor (3, from with-tun).
 * Packets are changed as by c-loop: the source becomes the client's.
 */
import { close, createReadStream, createWriteStream, write } from 'node:fs';
import { applyChange, applyUdpChange, longChange, wordChange } from '#shim/codec/checksum.js';
import * as ipv4 from '#shim/codec/ipv4.js';
import * as udp from '#shim/codec/udp.js';

const DESCRIPTOR = 3;
const LARGEST_PACKET = 65536;
/** 10.98.0.0/16 becomes 198.18.0.0/16. */
const LIP_NETWORK = 0x0a62;
const CLIENT_NETWORK = 0xc612;
const CLIENT_PORT = 5555;
const UDP = ipv4.MIN_HEADER;

function becomesClients(bytes: Buffer): boolean {
  if (bytes.length < UDP + udp.HEADER || bytes[0] !== 0x45 || bytes[ipv4.PROTOCOL] !== udp.PROTOCOL)
    return false;
  if (bytes.readUInt16BE(ipv4.SOURCE) !== LIP_NETWORK) return false;
  const before = bytes.readInt32BE(ipv4.SOURCE);
  const after = (CLIENT_NETWORK << 16) | (before & 0xffff);
  const change = longChange(before, after);
  const portChange = wordChange(bytes.readUInt16BE(UDP + udp.SOURCE_PORT), CLIENT_PORT);
  bytes.writeInt32BE(after, ipv4.SOURCE);
  bytes.writeUInt16BE(CLIENT_PORT, UDP + udp.SOURCE_PORT);
  bytes.writeUInt16BE(applyChange(bytes.readUInt16BE(ipv4.CHECKSUM), change), ipv4.CHECKSUM);
  const checksum = applyUdpChange(bytes.readUInt16BE(UDP + udp.CHECKSUM), change + portChange);
  bytes.writeUInt16BE(checksum, UDP + udp.CHECKSUM);
  return true;
}

// writev() would make one packet of several, so the stream gets no such function.
const output = createWriteStream('', { fd: DESCRIPTOR, autoClose: false, fs: { close, write } });
createReadStream('', { fd: DESCRIPTOR, autoClose: false, highWaterMark: LARGEST_PACKET }).on(
  'data',
  chunk => {
    if (becomesClients(chunk as Buffer)) output.write(chunk);
  },
);
