import { Command } from 'commander';
import { type Config, ConfigError, loadConfig } from '../daemon/config/index.js';
import { ExitCode } from '../errors.js';
import { steeringAdvice, steeringObstacles } from '../host/advice/steering-advice.js';
import { readRealServerFacts } from '../host/facts/real-server.js';
import { print, sources, wantsJson, withConfiguration, withJson } from './context.js';

/** `check`: prints every fault in the configuration, each with its key, the value and what is allowed. */
export function checkCommand(): Command {
  return withJson(withConfiguration(new Command('check')))
    .description('list every fault in the configuration, and say which steering suits this host')
    .action(async (_options, command: Command) => {
      const json = wantsJson(command);
      try {
        const advice = await adviceFor(loadConfig(sources(command)));
        if (json) print(JSON.stringify({ faults: [], ...(advice !== undefined && { advice }) }));
        else print([`${sources(command).file}: no faults`, ...(advice ?? [])].join('\n'));
      } catch (error) {
        if (!json || !(error instanceof ConfigError)) throw error;
        print(JSON.stringify({ faults: error.faults }));
        process.exitCode = ExitCode.configuration;
      }
    });
}

/** undefined where facts can't be read: a configuration may be checked on another host, and by any user. */
async function adviceFor({ role, tun, routing, realServer }: Config): Promise<string[] | undefined> {
  if (role !== 'real-server') return undefined;
  try {
    const facts = await readRealServerFacts({ ...realServer, tun: tun.name });
    return [
      steeringAdvice(routing.steering, await steeringObstacles({ ...realServer, tun: tun.name }, facts)),
    ];
  } catch {
    return undefined;
  }
}
