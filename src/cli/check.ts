import { Command } from 'commander';
import { ConfigError, loadConfig } from '../daemon/config/index.js';
import { ExitCode } from '../errors.js';
import { print, sources, wantsJson, withConfiguration, withJson } from './context.js';

/** `check`: every fault in the configuration, each with its key, the value and what is allowed. */
export function checkCommand(): Command {
  return withJson(withConfiguration(new Command('check')))
    .description('say every fault in the configuration')
    .action((_options, command: Command) => {
      const json = wantsJson(command);
      try {
        loadConfig(sources(command));
        print(json ? '{"faults":[]}' : `${sources(command).file}: no faults`);
      } catch (error) {
        if (!json || !(error instanceof ConfigError)) throw error;
        print(JSON.stringify({ faults: error.faults }));
        process.exitCode = ExitCode.configuration;
      }
    });
}
