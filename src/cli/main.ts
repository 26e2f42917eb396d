#!/usr/bin/env node
/** The command line: finds the command, runs it, and gives its exit status. */
import { Command, CommanderError } from 'commander';
import { ConfigError } from '../daemon/config/index.js';
import { ExitCode, OperatorError } from '../errors.js';
import { VERSION } from '../version.js';
import { checkCommand } from './check.js';
import { cleanupCommand } from './cleanup.js';
import { complain } from './context.js';
import { demoCommand } from './demo.js';
import { flowsCommand } from './flows.js';
import { lookupCommand } from './lookup.js';
import { planCommand } from './plan.js';
import { runCommand } from './run.js';
import { statsCommand } from './stats.js';
import { statusCommand } from './status.js';

const COMMANDS = [
  runCommand,
  checkCommand,
  planCommand,
  cleanupCommand,
  statusCommand,
  statsCommand,
  flowsCommand,
  lookupCommand,
  demoCommand,
];

function program(): Command {
  const root = new Command('uoa-shim')
    .description('Gives UDP applications behind a source-NATing load balancer their clients’ real addresses.')
    .version(VERSION)
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  for (const make of COMMANDS) root.addCommand(make().copyInheritedSettings(root));
  return root;
}

async function main(args: string[]): Promise<number> {
  const root = program();
  try {
    if (args.length === 0)
      throw new CommanderError(ExitCode.usage, 'usage', 'there is no command; uoa-shim --help lists them');
    await root.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? ExitCode.ok);
  } catch (error) {
    return report(error, args.includes('debug'));
  }
}

/** Prints an error, one line for each fault, and gives the exit status. */
function report(error: unknown, verbose: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return ExitCode.ok;
    complain(`uoa-shim: ${error.message.replace(/^error: /, '').replaceAll('\n', ' ')}`);
    return ExitCode.usage;
  }
  if (error instanceof ConfigError) {
    complain(error.message);
    return ExitCode.configuration;
  }
  const { message, stack } = error as Error;
  complain(`uoa-shim: ${verbose || !(error instanceof Error) ? (stack ?? String(error)) : message}`);
  return error instanceof OperatorError ? error.exitCode : ExitCode.failed;
}

// In `uoa-shim flows | head` it is no error that the reader ends first. `run` goes on serving even if its log has lost
// its reader: an exit from here would take nothing down.
const isServing = process.argv[2] === 'run';
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' && !isServing) process.exit(ExitCode.ok);
  });
process.exitCode = await main(process.argv.slice(2));
