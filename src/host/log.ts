/** Where the host's set-up says what it does. */
export interface HostLog {
  info(message: string): void;
  warn(message: string): void;
}
