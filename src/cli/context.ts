/** What the commands share: options, the sources of the configuration, and output. */
import type { Command } from 'commander';
import { flagDefinitions, type Sources } from '../daemon/config/index.js';

export const DEFAULT_CONFIG = '/etc/uoa-shim/config.yaml';

/** Adds `--config` and a flag for every scalar key. */
export function withConfiguration(command: Command): Command {
  command.option('--config <file>', 'the configuration, YAML or JSON by its ending', DEFAULT_CONFIG);
  for (const { flag, description, hidden } of flagDefinitions()) {
    const option = command.createOption(flag, description);
    command.addOption(hidden ? option.hideHelp() : option);
  }
  return command;
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON');
}

/** The sources of a command's configuration: its file, the environment, its flags. */
export function sources(command: Command): Sources {
  const flags: Record<string, string> = {};
  for (const { flag, key } of flagDefinitions()) {
    const name = flag.split(' ')[0];
    const option = command.options.find(({ long }) => long === name);
    const value = option === undefined ? undefined : command.getOptionValue(option.attributeName());
    if (typeof value === 'string') flags[key] = value;
  }
  return { file: command.getOptionValue('config') as string, env: process.env, flags };
}

export function wantsJson(command: Command): boolean {
  return command.getOptionValue('json') === true;
}

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

export function complain(text: string): void {
  process.stderr.write(`${text}\n`);
}
