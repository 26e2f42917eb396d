/**
 * A stand-in for a load balancer: source-NATs every datagram and puts its client in as `ipo`. Arguments: VIP, LIP,
 * RIP and the port of all three.
 */
import { createSocket, type Socket } from 'node:dgram';
import * as ipv4 from '../../codec/ipv4.js';
import { Packet } from '../../codec/packet.js';
import { insertOption } from '../../codec/rewrite.js';
import * as udp from '../../codec/udp.js';
import { parseAddress } from '../../host/addresses.js';
import { PacketList } from '../../io/device.js';
import { RawSocket } from '../../io/raw.js';

const [vip, lip, rip, port] = process.argv.slice(2);
const HEADROOM = 64;
const LARGEST = 2048;

const raw = new RawSocket(0);
const packet = new Packet(new ArrayBuffer(LARGEST));
const list = new PacketList(1);
const localPorts = new Map<string, Socket>();

const front = createSocket('udp4');
front.on('message', (message, client) => {
  const key = `${client.address}:${client.port}`;
  const local = localPorts.get(key);
  if (local !== undefined) send(message, local.address().port, client);
  else openLocalPort(key, client, lport => send(message, lport, client));
});
front.bind(Number(port), vip, () => process.stdout.write('ready\n'));

interface Client {
  address: string;
  port: number;
}

function openLocalPort(key: string, client: Client, opened: (lport: number) => void): void {
  const local = createSocket('udp4');
  localPorts.set(key, local);
  // An ACK arrives here as an empty datagram, and ends here.
  local.on('message', answer => answer.length > 0 && front.send(answer, client.port, client.address));
  local.bind(0, lip, () => opened(local.address().port));
}

function send(message: Buffer, lport: number, client: Client): void {
  const { view, bytes } = packet;
  const length = ipv4.MIN_HEADER + udp.HEADER + message.length;
  bytes.fill(0, 0, HEADROOM + length);
  view.setUint8(HEADROOM, 0x45);
  view.setUint16(HEADROOM + ipv4.TOTAL_LENGTH, length);
  view.setUint8(HEADROOM + ipv4.TTL, 64);
  view.setUint8(HEADROOM + ipv4.PROTOCOL, udp.PROTOCOL);
  view.setInt32(HEADROOM + ipv4.SOURCE, parseAddress(lip)[3]);
  view.setInt32(HEADROOM + ipv4.DESTINATION, parseAddress(rip)[3]);
  const datagram = HEADROOM + ipv4.MIN_HEADER;
  view.setUint16(datagram + udp.SOURCE_PORT, lport);
  view.setUint16(datagram + udp.DESTINATION_PORT, Number(port));
  view.setUint16(datagram + udp.LENGTH, udp.HEADER + message.length);
  bytes.set(message, datagram + udp.HEADER);

  packet.parse(HEADROOM, HEADROOM + length);
  insertOption(packet, { v6: false, words: parseAddress(client.address), port: client.port });
  list.count = 0;
  list.add(packet.start, packet.end - packet.start);
  raw.send(bytes, list);
}
