/** Exit statuses, after sysexits(3) where it has one. */
export const ExitCode = {
  ok: 0,
  failed: 1,
  /** `status` and its like: nothing is running. */
  notRunning: 3,
  usage: 64,
  /** A needed kernel feature or program is missing. */
  unavailable: 69,
  notPermitted: 77,
  configuration: 78,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** Something that the operator can mend: shown as one line, without a stack trace. */
export class OperatorError extends Error {
  constructor(
    message: string,
    readonly exitCode: ExitCode,
  ) {
    super(message);
  }
}
