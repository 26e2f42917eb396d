/**
 * Captures the packets between two addresses on a host, in both directions, and describes each in a line. Arguments:
 * the LB's address and the RS's.
 */
import { ADDRESS_WORDS, readAddress4 } from '../../codec/addresses.js';
import { carrierName } from '../../codec/carriers.js';
import { HOST_IS_LITTLE_ENDIAN } from '../../codec/host-order.js';
import { DESTINATION_AT, Mark, Packet, SOURCE_AT } from '../../codec/packet.js';
import * as uoa from '../../codec/uoa.js';
import { formatEndpoint, parseAddress } from '../../host/addresses.js';
import { AF_PACKET, ETH_P_ALL, SOCK_RAW } from '../../io/linux.js';
import { check, NO_FD, native } from '../../io/native.js';

const ends = process.argv.slice(2, 4).map(text => parseAddress(text)[3]);

/** In network order, see packet(7). Such a socket gets packets of both directions, before any rule sees them. */
const ALL_PROTOCOLS = HOST_IS_LITTLE_ENDIAN ? ETH_P_ALL << 8 : ETH_P_ALL;
const ETHERNET_HEADER = 14;
const ETHERTYPE = 12;
const IPV4 = 0x0800;

const packet = new Packet(new ArrayBuffer(65536));
const fd = check('open packet socket', native.openSocket(AF_PACKET, SOCK_RAW, ALL_PROTOCOLS));
process.stdout.write('ready\n');
for (;;) {
  native.wait(fd, NO_FD, -1);
  const length = native.receiveMessage(fd, packet.bytes, packet.bytes.length);
  // The same packets pass the TUN, where they have no such header: there they are skipped.
  if (length < ETHERNET_HEADER || packet.view.getUint16(ETHERTYPE) !== IPV4) continue;
  packet.parse(ETHERNET_HEADER, length);
  if (ends.includes(packet.addresses[SOURCE_AT + 3]) && ends.includes(packet.addresses[DESTINATION_AT + 3]))
    process.stdout.write(`${describe(packet)}\n`);
}

function describe({ udp, payloadLength, sourcePort, destinationPort, addresses }: Packet): string {
  const text = new TextDecoder().decode(packet.bytes.subarray(udp + 8, udp + 8 + payloadLength));
  const way = `${endpoint(addresses, SOURCE_AT, sourcePort)} -> ${endpoint(addresses, DESTINATION_AT, destinationPort)}`;
  const isAck = packet.mark === Mark.found && addresses[SOURCE_AT + 3] === ends[1];
  return `${way}  ${describeMark().padEnd(44)}${isAck ? 'ACK' : JSON.stringify(text)}`;
}

function describeMark(): string {
  if (packet.mark !== Mark.found) return 'no mark';
  const { view, option, optionLength, carrier } = packet;
  const bytes = Buffer.from(packet.bytes.subarray(option, option + optionLength)).toString('hex');
  const client = new Int32Array(ADDRESS_WORDS);
  readAddress4(view, option + uoa.OPTION_ADDRESS, client, 0);
  const described = endpoint(client, 0, view.getUint16(option + uoa.OPTION_PORT));
  return `${carrierName(carrier)} ${bytes} = ${described}`;
}

function endpoint(words: Int32Array, at: number, port: number): string {
  return formatEndpoint([...words.subarray(at, at + ADDRESS_WORDS)], port);
}
