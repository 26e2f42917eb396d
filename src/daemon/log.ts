/** Logs for the journal: text or JSON lines, warnings and errors on stderr. */
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

/** The journal has its own times. */
function textFormat(): ReturnType<typeof format.printf> {
  const inJournal = process.env.JOURNAL_STREAM !== undefined;
  return format.printf(({ timestamp, level, message }) =>
    inJournal ? `${level}: ${message}` : `${timestamp} ${level}: ${message}`,
  );
}
