import { Command } from 'commander';
import { print, wantsJson, withConfiguration, withJson } from './context.js';
import { requestItem } from './request.js';

/** `stats`: the counters. */
export function statsCommand(): Command {
  return withJson(withConfiguration(new Command('stats')))
    .description('the counters')
    .action(async (_options, command: Command) => {
      const stats = await requestItem<Record<string, number>>(command, { command: 'stats' });
      if (stats === undefined) return;
      if (wantsJson(command)) {
        print(JSON.stringify(stats));
        return;
      }
      const width = Math.max(...Object.keys(stats).map(name => name.length));
      for (const [name, value] of Object.entries(stats)) print(`${name.padEnd(width)}  ${value}`);
    });
}
