import { Command } from 'commander';
import { loadConfig } from '../daemon/config/index.js';
import { roleKit } from '../daemon/roles/index.js';
import { downCommand, downScript, upCommand, upScript } from '../host/plan/script.js';
import { print, sources, wantsJson, withConfiguration, withJson } from './context.js';

/** `plan`: prints the commands that make the changes of `run`, and those that undo them. */
export function planCommand(): Command {
  return withJson(withConfiguration(new Command('plan')))
    .description('print the commands that make the changes of `run` on this host, and those that undo them')
    .option('--up', 'only the changes')
    .option('--down', 'only the commands that undo them')
    .action(async (options: { up?: true; down?: true }, command: Command) => {
      const config = loadConfig(sources(command));
      const { changes } = await roleKit(config.role).plan(config);
      const both = options.up === options.down;
      if (wantsJson(command)) {
        const down = changes.map(downCommand).filter(text => text !== undefined);
        print(
          JSON.stringify({
            ...((both || options.up) && { up: changes.map(upCommand) }),
            ...((both || options.down) && { down: down.reverse() }),
          }),
        );
        return;
      }
      const parts = [];
      if (both || options.up) parts.push(upScript(changes));
      if (both || options.down) parts.push(downScript(changes));
      print(`#!/bin/sh\n${parts.join('\n')}`.trimEnd());
    });
}
