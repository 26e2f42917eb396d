/**
 * The CLI's way in: a unix socket, one request a connection. The request is a line of JSON; the answer is lines
 * of JSON, the last one `{"done":true}` or `{"error":"..."}`.
 */
import { once } from 'node:events';
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { ExitCode, OperatorError } from '../../errors.js';
import type { FlowAnswer, FlowFilters, StatusAnswer } from './answers.js';

export type ControlRequest =
  | { command: 'status' }
  | { command: 'stats' }
  | { command: 'flows'; filters: FlowFilters }
  | { command: 'lookup'; source: string; destination: string };

/** Who answers. A thrown Error's message becomes the answer's `error`. */
export interface ControlHandler {
  status(): StatusAnswer;
  stats(): Record<string, number>;
  flows(filters: FlowFilters): Iterable<FlowAnswer>;
  lookup(source: string, destination: string): { client: string | null };
}

const LONGEST_REQUEST = 4096;
/** Items between two looks at whether the reader keeps up, and at what else there is to do. */
const BURST = 256;

export class ControlServer {
  private constructor(
    private readonly server: Server,
    private readonly path: string,
  ) {}

  /** Listens with mode 0600. A socket that a dead predecessor left is replaced; a living one is an error. */
  static async listen(path: string, handler: ControlHandler): Promise<ControlServer> {
    if (await isAnswering(path))
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

async function isAnswering(path: string): Promise<boolean> {
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
      else if (++count % BURST === 0) await new Promise(resolve => setImmediate(resolve));
    }
    socket.end('{"done":true}\n');
  } catch (error) {
    if (!socket.destroyed) socket.end(`${JSON.stringify({ error: (error as Error).message })}\n`);
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
      throw new RangeError('unknown command');
  }
}

async function readLine(socket: Socket): Promise<string> {
  let text = '';
  for await (const chunk of socket.setEncoding('utf8').iterator({ destroyOnReturn: false })) {
    text += chunk as string;
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
    if (text.length > LONGEST_REQUEST) throw new RangeError('request too long');
  }
  throw new RangeError('no request');
}

/** Asks a running shim; undefined if nobody answers at `path`. Throws an OperatorError if the answer is one. */
export async function ask(
  path: string,
  request: ControlRequest,
): Promise<AsyncIterable<unknown> | undefined> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES')
      throw new OperatorError(`${path}: permission denied; ask as root`, ExitCode.notPermitted);
    return undefined;
  }
  socket.write(`${JSON.stringify(request)}\n`);
  return answers(socket);
}

async function* answers(socket: Socket): AsyncGenerator<unknown> {
  for await (const line of createInterface({ input: socket })) {
    const item = JSON.parse(line) as { done?: boolean; error?: string };
    if (item.done === true) return;
    if (item.error !== undefined) throw new OperatorError(item.error, ExitCode.failed);
    yield item;
  }
  throw new OperatorError('the shim ended before it had answered', ExitCode.failed);
}
