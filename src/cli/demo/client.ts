/** A client: asks, and says who answered what. Arguments: own address, own port, server's address and port. */
import { createSocket } from 'node:dgram';

const [address, port, server, serverPort] = process.argv.slice(2);
const PATIENCE_MS = 3000;

const socket = createSocket('udp4');
socket.on('message', (message, from) => {
  process.stdout.write(`${from.address}:${from.port} ${message}\n`);
  process.exit(0);
});
socket.bind(Number(port), address, () => socket.send('client', Number(serverPort), server));
setTimeout(() => process.exit(1), PATIENCE_MS);
