/** The command line's end of the control socket. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { ExitCode, OperatorError } from '../../errors.js';
import type { ControlRequest, Done, Failure } from './protocol.js';

/**
 * Sends a request to the shim that listens at `path`, and gives the items of its answer; undefined if no shim listens
 * there. Throws an OperatorError if this user may not connect, or if the shim answers with an error.
 */
export async function request(
  path: string,
  message: ControlRequest,
): Promise<AsyncIterable<unknown> | undefined> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EACCES')
      throw new OperatorError(`${path}: permission denied; run this command as root`, ExitCode.notPermitted);
    return undefined;
  }
  socket.write(`${JSON.stringify(message)}\n`);
  return readItems(socket);
}

async function* readItems(socket: Socket): AsyncGenerator<unknown> {
  for await (const line of createInterface({ input: socket })) {
    const item = JSON.parse(line) as Partial<Done & Failure>;
    if (item.done === true) return;
    if (item.error !== undefined) throw new OperatorError(item.error, ExitCode.failed);
    yield item;
  }
  throw new OperatorError('the shim stopped before its answer was complete', ExitCode.failed);
}
