/** Running the host's own programs (`ip`, `nft`), and the errors for their failures. */
import { execFile } from 'node:child_process';
import { ExitCode, OperatorError } from '../errors.js';

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

const PACKAGES: Record<string, string> = { ip: 'iproute2', nft: 'nftables' };
const MAX_OUTPUT_BYTES = 64 << 20;

/** For programs whose output is read: messages as they are in their source. */
export const PLAIN_ENVIRONMENT: Readonly<NodeJS.ProcessEnv> = { LC_ALL: 'C' };

/** Runs a program without a shell, with `input` on stdin. Throws an OperatorError only if it isn't installed. */
export function run(program: string, args: readonly string[], input = ''): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const options = { maxBuffer: MAX_OUTPUT_BYTES, env: { ...process.env, ...PLAIN_ENVIRONMENT } };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
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
    // If the program ends before it has read its input, its exit status tells.
    child.stdin?.on('error', () => {}).end(input);
  });
}

/** Runs a program and returns its output. Throws an OperatorError with the command and its message if it fails. */
export async function runChecked(program: string, args: readonly string[]): Promise<string> {
  const outcome = await run(program, args);
  if (outcome.status !== 0) throw commandFailed(program, args, outcome);
  return outcome.stdout;
}

/** The error messages of a program that failed, on one line. */
export function complaint(outcome: Outcome): string {
  return outcome.stderr.trim().replaceAll('\n', '; ') || `exit status ${outcome.status}`;
}

/** The error for a command that failed. */
export function commandFailed(program: string, args: readonly string[], outcome: Outcome): OperatorError {
  const reason = complaint(outcome);
  const notPermitted = /not permitted|permission denied/i.test(reason);
  return new OperatorError(
    `${[program, ...args].join(' ')}: ${reason}${notPermitted ? '; root or CAP_NET_ADMIN is needed' : ''}`,
    notPermitted ? ExitCode.notPermitted : ExitCode.failed,
  );
}
