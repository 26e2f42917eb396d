/** The shim's end of the control socket: it listens, and answers requests. */
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { ExitCode, OperatorError } from '../../errors.js';
import type { FlowAnswer, StatusAnswer } from './answers.js';
import type { FlowFilters } from './filters.js';
import type { ControlRequest, Done, Failure } from './protocol.js';

/** What the server can answer. The message of a thrown Error becomes the answer's `error`. */
export interface ControlHandler {
  status(): StatusAnswer;
  stats(): Record<string, number>;
  flows(filters: FlowFilters): Iterable<FlowAnswer>;
  lookup(source: string, destination: string): { client: string | null };
}

const LONGEST_REQUEST_CHARACTERS = 4096;
/** After so many items the event loop gets a turn: a long answer must not hold up signals and timers. */
const BURST_ITEMS = 256;

export class ControlServer {
  private constructor(
    private readonly server: Server,
    private readonly path: string,
  ) {}

  /**
   * Listens at `path`, which gets mode 0600. The socket of a process that has died is replaced. Throws an OperatorError
   * if a living process listens there, or if the socket can't be made.
   */
  static async listen(path: string, handler: ControlHandler): Promise<ControlServer> {
    if (await isListening(path))
      throw new OperatorError(`control.socket: ${path} is in use by another process`, ExitCode.failed);
    const server = createServer(socket => void serve(socket, handler));
    try {
      mkdirSync(dirname(path), { recursive: true });
      rmSync(path, { force: true });
      const mask = process.umask(0o177);
      try {
        server.listen(path);
        await once(server, 'listening');
      } finally {
        process.umask(mask);
      }
      chmodSync(path, 0o600);
    } catch (error) {
      server.close();
      throw new OperatorError(`control.socket: ${path}: ${(error as Error).message}`, ExitCode.failed);
    }
    return new ControlServer(server, path);
  }

  /** Safe to call twice. */
  close(): void {
    this.server.close();
    rmSync(this.path, { force: true });
  }
}

/** Whether a process listens at `path`. */
async function isListening(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function serve(socket: Socket, handler: ControlHandler): Promise<void> {
  socket.on('error', () => socket.destroy());
  try {
    const request = JSON.parse(await readLine(socket)) as ControlRequest;
    let count = 0;
    for (const item of answer(request, handler)) {
      const keepsUp = socket.write(`${JSON.stringify(item)}\n`);
      if (socket.destroyed) return;
      if (!keepsUp) await once(socket, 'drain');
      else if (++count % BURST_ITEMS === 0) await new Promise(resolve => setImmediate(resolve));
    }
    socket.end(`${JSON.stringify({ done: true } satisfies Done)}\n`);
  } catch (error) {
    const failure: Failure = { error: (error as Error).message };
    if (!socket.destroyed) socket.end(`${JSON.stringify(failure)}\n`);
  }
}

function answer(request: ControlRequest, handler: ControlHandler): Iterable<unknown> {
  switch (request.command) {
    case 'status':
      return [handler.status()];
    case 'stats':
      return [handler.stats()];
    case 'flows':
      return handler.flows(request.filters);
    case 'lookup':
      return [handler.lookup(request.source, request.destination)];
    default:
      throw new RangeError('there is no such request');
  }
}

async function readLine(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += chunk as string;
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
    if (text.length > LONGEST_REQUEST_CHARACTERS) throw new RangeError('the request is too long');
  }
  throw new RangeError('the connection ended before its request');
}
