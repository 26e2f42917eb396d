/** The demo's hosts: network namespaces on this machine, joined by veth pairs, and deleted when the demo ends. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { runChecked } from '../../host/command.js';
import { RUN_DIRECTORY } from '../../host/run-directory.js';

/** Gives a host's program a run directory of its own, so that what it leaves there goes with it. */
export const IN_OWN_RUN_DIRECTORY: readonly string[] = [
  ...['sh', '-ec', `mkdir -p ${RUN_DIRECTORY}; mount -t tmpfs none ${RUN_DIRECTORY}; exec "$@"`, 'sh'],
];

export class Namespaces {
  private readonly names: string[] = [];
  private readonly children: ChildProcess[] = [];
  private readonly prefix = `uoa-demo-${process.pid}`;

  /** Makes a host, and gives the name that the other methods take. */
  async add(host: string): Promise<string> {
    const name = `${this.prefix}-${host}`;
    await runChecked('ip', ['netns', 'add', name]);
    this.names.push(name);
    await this.ip(name, 'link set lo up');
    return name;
  }

  /** Joins two hosts by a cable: an interface with an address on either side. */
  async join(
    a: string,
    ifA: string,
    addressA: string,
    b: string,
    ifB: string,
    addressB: string,
  ): Promise<void> {
    await runChecked('ip', [
      ...['link', 'add', ifA, 'netns', a, 'type', 'veth'],
      'peer',
      'name',
      ifB,
      'netns',
      b,
    ]);
    for (const [host, name, address] of [
      [a, ifA, addressA],
      [b, ifB, addressB],
    ]) {
      await this.ip(host, `address add ${address} dev ${name}`);
      await this.ip(host, `link set ${name} up`);
    }
  }

  async ip(host: string, command: string): Promise<void> {
    await runChecked('ip', ['-n', host, ...command.split(' ')]);
  }

  /** Starts a Node program on a host; behind another command line, if there is one. */
  start(host: string, file: URL, args: readonly string[], behind: readonly string[] = []): ChildProcess {
    const command = ['netns', 'exec', host, ...behind, process.execPath, file.pathname, ...args];
    const child = spawn('ip', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.children.push(child);
    return child;
  }

  /** Ends the programs and deletes the hosts. Safe to call twice, and from an exit handler. */
  remove(): void {
    for (const child of this.children.splice(0)) child.kill('SIGTERM');
    for (const name of this.names.splice(0)) spawnSync('ip', ['netns', 'del', name]);
  }
}
