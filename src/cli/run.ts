import { constants, getPriority, setPriority } from 'node:os';
import { Command } from 'commander';
import { loadConfig } from '../daemon/config/index.js';
import { Daemon } from '../daemon/daemon.js';
import { type Logger, makeLogger } from '../daemon/log.js';
import { ExitCode } from '../errors.js';
import { VERSION } from '../version.js';
import { sources, withConfiguration } from './context.js';
import { Signals } from './signals.js';

/** `run`: serves in the foreground until SIGTERM or SIGINT; SIGHUP re-reads the configuration. */
export function runCommand(): Command {
  return withConfiguration(new Command('run'))
    .description('set up TUN and routes, and serve in the foreground')
    .action(async (_options, command: Command) => {
      const config = loadConfig(sources(command));
      const log = makeLogger(config.log);
      // From here on a signal waits for its turn: a half-made set-up is not left behind.
      const signals = new Signals();
      log.info(`uoa-shim ${VERSION}, ${config.role}, process ${process.pid}`);
      const daemon = await Daemon.start(config, log);
      giveWay(log);
      process.exitCode = await serve(daemon, signals, log, () => loadConfig(sources(command)));
      log.info('stopped');
    });
}

/** By how much this thread is nicer than that of the data plane. */
const NICENESS = 10;

/**
 * Lets packets go first where there are not cores enough: this thread, and every command that it starts to look after
 * the host, become nicer. The data plane's thread, which is there already, does not (sched(7): Linux has a nice value a
 * thread).
 */
function giveWay(log: Logger): void {
  try {
    setPriority(Math.min(getPriority() + NICENESS, constants.priority.PRIORITY_LOW));
  } catch (error) {
    log.debug(`the main thread keeps its priority: ${(error as Error).message}`);
  }
}

async function serve(
  daemon: Daemon,
  signals: Signals,
  log: Logger,
  reread: () => ReturnType<typeof loadConfig>,
): Promise<number> {
  let status: number = ExitCode.ok;
  for (;;) {
    try {
      const signal = await Promise.race([signals.next(), daemon.failed]);
      if (signal !== 'SIGHUP') {
        log.info(`${signal}: stopping`);
        break;
      }
    } catch (error) {
      log.error((error as Error).message);
      status = ExitCode.failed;
      break;
    }
    try {
      await daemon.reload(reread());
    } catch (error) {
      for (const line of (error as Error).message.split('\n'))
        log.error(`configuration kept as it was: ${line}`);
    }
  }
  await daemon.stop();
  return status;
}
