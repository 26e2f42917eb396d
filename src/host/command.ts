/** Running the host's own programs (`ip`, `nft`), and what their failures mean. */
import { execFile } from 'node:child_process';
import { ExitCode, OperatorError } from '../errors.js';

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

const PACKAGES: Record<string, string> = { ip: 'iproute2', nft: 'nftables' };
const LARGEST_OUTPUT = 64 << 20;

/** Runs a program without a shell, on `input`. Throws an OperatorError only if it isn't there. */
export function run(program: string, args: readonly string[], input = ''): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = execFile(program, args, { maxBuffer: LARGEST_OUTPUT }, (error, stdout, stderr) => {
      if (error === null) resolve({ status: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ status: error.code, stdout, stderr });
      else if (error.code === 'ENOENT')
        reject(
          new OperatorError(
            `${program} is not installed; install the package ${PACKAGES[program] ?? program}`,
            ExitCode.unavailable,
          ),
        );
      else reject(error);
    });
    // A program that ends before it has read its input says so by its exit status.
    child.stdin?.on('error', () => {}).end(input);
  });
}

/** Runs a program that has to succeed; an OperatorError names the command and what it said. */
export async function runChecked(program: string, args: readonly string[]): Promise<string> {
  const outcome = await run(program, args);
  if (outcome.status !== 0) throw commandFailed(program, args, outcome);
  return outcome.stdout;
}

/** What a program said against it, on one line. */
export function said(outcome: Outcome): string {
  return outcome.stderr.trim().replaceAll('\n', '; ') || `exit status ${outcome.status}`;
}

export function commandFailed(program: string, args: readonly string[], outcome: Outcome): OperatorError {
  const reason = said(outcome);
  const notPermitted = /not permitted|permission denied/i.test(reason);
  return new OperatorError(
    `${[program, ...args].join(' ')}: ${reason}${notPermitted ? '; root or CAP_NET_ADMIN is needed' : ''}`,
    notPermitted ? ExitCode.notPermitted : ExitCode.failed,
  );
}
