/** The log: lines of text or JSON; warnings and errors go to stderr, the others to stdout. */
import { createLogger, format, type Logger, transports } from 'winston';

export interface LogOptions {
  level: string;
  format: string;
}

export type { Logger };

export function makeLogger(options: LogOptions): Logger {
  return createLogger({
    level: options.level,
    format: format.combine(format.timestamp(), options.format === 'json' ? format.json() : textFormat()),
    transports: [new transports.Console({ stderrLevels: ['error', 'warn'] })],
  });
}

/** Lines for the journal have no time, because it adds one. */
function textFormat(): ReturnType<typeof format.printf> {
  const inJournal = process.env.JOURNAL_STREAM !== undefined;
  return format.printf(({ timestamp, level, message }) =>
    inJournal ? `${level}: ${message}` : `${timestamp} ${level}: ${message}`,
  );
}
