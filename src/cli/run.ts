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
      // From here on a signal waits until the start is complete, so that the stop finds all there is to undo.
      const signals = new Signals();
      log.info(`uoa-shim ${VERSION}, ${config.role}, process ${process.pid}`);
      const daemon = await Daemon.start(config, log);
      giveWay(log);
      process.exitCode = await serve(daemon, signals, log, () => loadConfig(sources(command)));
      log.info('stopped');
    });
}

/** What is added to the nice value of the main thread. */
const NICENESS = 10;

/**
 * Lets packets go first where cores are few: this thread, and every command that it starts from now on, get a higher
 * nice value. The data plane's thread was started before and keeps its own (sched(7): in Linux each thread has one).
 */
function giveWay(log: Logger): void {
  try {
    setPriority(Math.min(getPriority() + NICENESS, constants.priority.PRIORITY_LOW));
  } catch (error) {
    log.debug(`the main thread keeps its priority: ${(error as Error).message}`);
  }
}

/** Serves until the end, and gives the exit status. */
async function serve(
  daemon: Daemon,
  signals: Signals,
  log: Logger,
  reread: () => ReturnType<typeof loadConfig>,
): Promise<ExitCode> {
  try {
    for (;;) {
      const signal = await Promise.race([signals.next(), daemon.failed]);
      if (signal !== 'SIGHUP') {
        log.info(`${signal}: stopping`);
        return ExitCode.ok;
      }
      await reload(daemon, log, reread);
    }
  } catch (error) {
    log.error((error as Error).message);
    return ExitCode.failed;
  } finally {
    await daemon.stop();
  }
}

/** Where the new configuration can't be used, the log says why, and the old one stays. */
async function reload(
  daemon: Daemon,
  log: Logger,
  reread: () => ReturnType<typeof loadConfig>,
): Promise<void> {
  try {
    await daemon.reload(reread());
  } catch (error) {
    for (const line of (error as Error).message.split('\n'))
      log.error(`configuration kept as it was: ${line}`);
  }
}
