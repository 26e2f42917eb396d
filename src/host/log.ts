/** The log that the host's set-up writes to. */
export interface HostLog {
  info(message: string): void;
  warn(message: string): void;
}
