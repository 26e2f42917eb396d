/** Asking a running shim for its data. */
import type { Command } from 'commander';
import { readControlSocket } from '../daemon/config/index.js';
import { ask, type ControlRequest } from '../daemon/control/server.js';
import { ExitCode } from '../errors.js';
import { complain, sources } from './context.js';

/** The answer's items; undefined, with a word about it and the exit status set, if nothing is running. */
export async function askRunning<T>(
  command: Command,
  request: ControlRequest,
): Promise<AsyncIterable<T> | undefined> {
  const path = readControlSocket(sources(command));
  const items = await ask(path, request);
  if (items === undefined) {
    complain(`uoa-shim: not running (nobody answers at ${path})`);
    process.exitCode = ExitCode.notRunning;
  }
  return items as AsyncIterable<T> | undefined;
}

/** The one item of an answer that has just one. */
export async function askForOne<T>(command: Command, request: ControlRequest): Promise<T | undefined> {
  const items = await askRunning<T>(command, request);
  if (items === undefined) return undefined;
  let found: T | undefined;
  for await (const item of items) found = item;
  return found;
}
