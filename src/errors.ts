/** Exit statuses; those from 64 on are those of sysexits(3). */
export const ExitCode = {
  ok: 0,
  failed: 1,
  /** For commands that ask a running shim: no shim is running. */
  notRunning: 3,
  usage: 64,
  /** A needed kernel feature or program is missing. */
  unavailable: 69,
  notPermitted: 77,
  configuration: 78,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** An error that the operator can mend: it is shown as one line, without a stack trace. */
export class OperatorError extends Error {
  constructor(
    message: string,
    readonly exitCode: ExitCode,
  ) {
    super(message);
  }
}
