/** The network namespaces of one candidate, named by their parts. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from './program.js';

/** The names of all that a run makes begin with this and its process id. */
export const PREFIX = 'uoa-bench-';
const all = new Set<Namespaces<string>>();

export class Namespaces<Part extends string> {
  private readonly names: Readonly<Record<Part, string>>;

  /** Makes them, with nothing in them but a loopback interface that is up. */
  constructor(candidate: string, parts: readonly Part[]) {
    const name = (part: Part) => `${PREFIX}${process.pid}-${candidate}-${part}`;
    this.names = Object.fromEntries(parts.map(part => [part, name(part)])) as Record<Part, string>;
    all.add(this);
    for (const part of parts) {
      must(['ip', 'netns', 'add', this.names[part]]);
      this.ip(part, 'link set lo up');
    }
  }

  /** A veth from one to the other, both ends with an address and up. */
  connect(from: Part, device: string, address: string, to: Part, peer: string, peerAddress: string): void {
    this.ip(from, `link add ${device} type veth peer name ${peer} netns ${this.names[to]}`);
    this.ip(from, `address add ${address} dev ${device}`);
    this.ip(to, `address add ${peerAddress} dev ${peer}`);
    this.ip(from, `link set ${device} up`);
    this.ip(to, `link set ${peer} up`);
  }

  /** The command line that runs `command` in one of them. */
  command(part: Part, command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.names[part], ...command];
  }

  ip(part: Part, args: string): string {
    return must(['ip', '-n', this.names[part], ...args.split(' ')]);
  }

  /** Safe to call twice. */
  remove(): void {
    if (!all.delete(this)) return;
    for (const name of Object.values<string>(this.names)) spawnSync('ip', ['netns', 'del', name]);
  }
}

/** For exit handlers. */
export function removeAllNamespaces(): void {
  for (const namespaces of all) namespaces.remove();
}

/** Removes the namespaces and temporary directories that killed runs of this program left behind. */
export function removeLeftovers(): void {
  for (const { name } of JSON.parse(must(['ip', '-j', 'netns', 'list']) || '[]') as { name: string }[])
    if (isLeftover(name)) spawnSync('ip', ['netns', 'del', name]);
  for (const name of readdirSync(tmpdir()))
    if (isLeftover(name)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

function isLeftover(name: string): boolean {
  const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}
