/** Programs such as `ip` and `nft` that answer what a test tells them to. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class FakePrograms {
  private readonly directory = mkdtempSync(join(tmpdir(), 'uoa-shim-host-'));
  private readonly path = process.env.PATH;

  /** From now on they are found ahead of the real ones. */
  constructor() {
    process.env.PATH = `${this.directory}:${this.path}`;
  }

  /** A program that prints an answer by its arguments, and fails where it has none. */
  add(name: string, answers: Record<string, string>): void {
    const cases = Object.entries(answers).map(([args, answer], i) => {
      const file = join(this.directory, `${name}-${i}`);
      writeFileSync(file, answer);
      return `'${args}') exec cat '${file}' ;;`;
    });
    const text = [
      '#!/bin/sh',
      `echo "$*" >> '${join(this.directory, 'asked')}'`,
      `env > '${join(this.directory, 'environment')}'`,
      'case "$*" in',
      ...cases,
      'esac',
      'echo "RTNETLINK answers: Network is unreachable" >&2',
      'exit 2',
    ];
    writeFileSync(join(this.directory, name), `${text.join('\n')}\n`, { mode: 0o755 });
  }

  /** The arguments of every call so far. Throws if there was none. */
  asked(): string[] {
    return readFileSync(join(this.directory, 'asked'), 'utf8').trim().split('\n');
  }

  /** The environment of the last call, as `env` prints it. */
  environment(): string[] {
    return readFileSync(join(this.directory, 'environment'), 'utf8').trim().split('\n');
  }

  remove(): void {
    process.env.PATH = this.path;
    rmSync(this.directory, { recursive: true, force: true });
  }
}
