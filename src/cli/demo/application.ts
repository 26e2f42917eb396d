/** An unmodified UDP program: prints the source of each datagram, and answers it. Argument: its port. */
import { createSocket } from 'node:dgram';

const socket = createSocket('udp4');
socket.on('message', (message, { address, port }) => {
  process.stdout.write(`${address}:${port}\n`);
  socket.send(`answer to ${message}`, port, address);
});
socket.bind(Number(process.argv[2]), () => process.stdout.write('ready\n'));
