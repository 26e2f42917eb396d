/**
 * Listens on a host to what passes between two addresses, either way, and describes it, a line a packet.
 * Arguments: the LB's address and the RS's.
 */
import { Mark, Packet } from '../../codec/packet.js';
import * as uoa from '../../codec/uoa.js';
import { formatEndpoint, parseAddress } from '../../host/addresses.js';
import { check, native } from '../../io/native.js';

const ends = process.argv.slice(2, 4).map(text => parseAddress(text)[3]);

const AF_PACKET = 17;
const SOCK_RAW = 3;
/** ETH_P_ALL in network order, as packet(7) wants it: it is told of packets either way, before any rule sees them. */
const ETH_P_ALL = 0x0300;
const ETHERNET_HEADER = 14;
const ETHERTYPE = 12;
const IPV4 = 0x0800;

const packet = new Packet(new ArrayBuffer(65536));
const clock = new Int32Array(1);
const fd = check('open packet socket', native.openSocket(AF_PACKET, SOCK_RAW, ETH_P_ALL));
process.stdout.write('ready\n');
for (;;) {
  native.wait(fd, -1, -1, clock);
  const length = native.receiveMessage(fd, packet.bytes, packet.bytes.length);
  // On a TUN, which has no such header, the same packets are seen once more: not there.
  if (length < ETHERNET_HEADER || packet.view.getUint16(ETHERTYPE) !== IPV4) continue;
  packet.parse(ETHERNET_HEADER, length);
  if (ends.includes(packet.source) && ends.includes(packet.destination))
    process.stdout.write(`${describe(packet)}\n`);
}

function describe({ udp, payloadLength, sourcePort, destinationPort }: Packet): string {
  const text = new TextDecoder().decode(packet.bytes.subarray(udp + 8, udp + 8 + payloadLength));
  const way = `${endpoint(packet.source, sourcePort)} -> ${endpoint(packet.destination, destinationPort)}`;
  const isAck = packet.mark === Mark.found && packet.source === ends[1];
  return `${way}  ${describeMark().padEnd(44)}${isAck ? 'ACK' : JSON.stringify(text)}`;
}

function describeMark(): string {
  if (packet.mark !== Mark.found) return 'no mark';
  const { view, option, optionLength, carrier } = packet;
  const bytes = Buffer.from(packet.bytes.subarray(option, option + optionLength)).toString('hex');
  const client = endpoint(
    view.getInt32(option + uoa.OPTION_ADDRESS),
    view.getUint16(option + uoa.OPTION_PORT),
  );
  return `${carrier === uoa.Carrier.ipo ? 'ipo' : 'opp'} ${bytes} = ${client}`;
}

function endpoint(address: number, port: number): string {
  return formatEndpoint([0, 0, 0xffff, address], port);
}
