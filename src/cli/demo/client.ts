/**
 * A client: asks several times, one question after the other, and says who answered what. Arguments: own address,
 * own port, server's address and port, how often.
 */
import { createSocket } from 'node:dgram';

const [address, port, server, serverPort, times] = process.argv.slice(2);
const PATIENCE_MS = 3000;

const socket = createSocket('udp4');
let asked = 0;

function ask(): void {
  if (asked === Number(times)) process.exit(0);
  socket.send(`question ${++asked}`, Number(serverPort), server);
}

socket.on('message', (message, from) => {
  process.stdout.write(`${from.address}:${from.port} ${message}\n`);
  ask();
});
socket.bind(Number(port), address, ask);
setTimeout(() => process.exit(1), PATIENCE_MS);
