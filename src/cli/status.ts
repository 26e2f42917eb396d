import { Command } from 'commander';
import type { StatusAnswer } from '../daemon/control/answers.js';
import { ExitCode } from '../errors.js';
import { print, wantsJson, withConfiguration, withJson } from './context.js';
import { requestItem } from './request.js';

/** `status`: what is running, since when, on what datapath, its health. */
export function statusCommand(): Command {
  return withJson(withConfiguration(new Command('status')))
    .description('what is running, since when, and its health')
    .action(async (_options, command: Command) => {
      const status = await requestItem<StatusAnswer>(command, { command: 'status' });
      if (status === undefined) return;
      if (status.state !== 'running') process.exitCode = ExitCode.notRunning;
      if (wantsJson(command)) print(JSON.stringify(status));
      else for (const line of describe(status)) print(line);
    });
}

function describe(status: StatusAnswer): string[] {
  const { warnings, ...facts } = status;
  const width = Math.max(...Object.keys(facts).map(key => key.length));
  return [
    ...Object.entries(facts).map(([key, value]) => `${key.padEnd(width)}  ${value}`),
    ...warnings.map(warning => `warning: ${warning}`),
  ];
}
