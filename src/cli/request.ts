/** Requests to the running shim that a command's configuration names. */
import type { Command } from 'commander';
import { readControlSocket } from '../daemon/config/index.js';
import { request } from '../daemon/control/client.js';
import type { ControlRequest } from '../daemon/control/protocol.js';
import { ExitCode } from '../errors.js';
import { complain, sources } from './context.js';

/** The items of the answer; undefined if no shim is running, which is then said, with its exit status. */
export async function requestItems<T>(
  command: Command,
  message: ControlRequest,
): Promise<AsyncIterable<T> | undefined> {
  const path = readControlSocket(sources(command));
  const items = await request(path, message);
  if (items === undefined) {
    complain(`uoa-shim: not running (no process listens at ${path})`);
    process.exitCode = ExitCode.notRunning;
  }
  return items as AsyncIterable<T> | undefined;
}

/** The item of an answer that has only one; undefined if no shim is running. */
export async function requestItem<T>(command: Command, message: ControlRequest): Promise<T | undefined> {
  const items = await requestItems<T>(command, message);
  if (items === undefined) return undefined;
  let found: T | undefined;
  for await (const item of items) found = item;
  return found;
}
