/**
 * A client: asks several questions, one after the other, and prints each answer with its source. Arguments: its own
 * address, its own port, the server's address and port, how many questions.
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
