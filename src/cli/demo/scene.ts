/** The demo's scene: who is where, and what is run on which host. */

import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { StatusAnswer } from '../../daemon/answers.js';
import { ask } from '../../daemon/control.js';
import { Namespaces } from './namespaces.js';

export const CLIENT = '203.0.113.7';
export const CLIENT_PORT = 5555;
export const VIP = '198.51.100.10';
export const LIP = '10.99.1.1';
export const RIP = '10.99.1.2';
export const PORT = 7000;

const PATIENCE_MS = 10_000;
const POLL_MS = 50;

export interface Exchange {
  /** Whom the application saw. */
  seen: string;
  /** Who answered the client, and what. */
  answer: string;
}

export class Scene {
  private readonly namespaces = new Namespaces();
  private readonly directory = mkdtempSync(join(tmpdir(), 'uoa-demo-'));
  private client!: string;
  private realServer!: string;
  private sightings!: Interface;

  /** client --- LB --- RS, with the stand-in for a load balancer and the application running. */
  async set(): Promise<void> {
    const hosts = this.namespaces;
    this.client = await hosts.add('client');
    const lb = await hosts.add('lb');
    this.realServer = await hosts.add('rs');
    await hosts.join(this.client, 'eth0', `${CLIENT}/24`, lb, 'clients', '203.0.113.1/24');
    await hosts.join(lb, 'servers', `${LIP}/24`, this.realServer, 'eth0', `${RIP}/24`);
    await hosts.ip(lb, `address add ${VIP}/32 dev lo`);
    await hosts.ip(this.client, 'route add default via 203.0.113.1');
    await hosts.ip(this.realServer, `route add default via ${LIP}`);

    await this.ready(hosts.start(lb, program('load-balancer'), [VIP, LIP, RIP, String(PORT)]));
    this.sightings = await this.ready(hosts.start(this.realServer, program('application'), [String(PORT)]));
  }

  /** One question of the client's to the VIP. */
  async exchange(): Promise<Exchange> {
    const seen = once(this.sightings, 'line');
    const asking = this.namespaces.start(this.client, program('client'), [
      CLIENT,
      `${CLIENT_PORT}`,
      VIP,
      `${PORT}`,
    ]);
    const answer = within(once(lines(asking), 'line'), 'the client got no answer');
    return {
      seen: String((await within(seen, 'the application saw nothing'))[0]),
      answer: String((await answer)[0]),
    };
  }

  /** Runs the shim on the RS. */
  async startShim(): Promise<void> {
    const socket = join(this.directory, 'control.sock');
    const file = join(this.directory, 'config.json');
    const realServer = { loadBalancers: [{ prefix: `${LIP}/32` }], services: [{ address: RIP, port: PORT }] };
    writeFileSync(file, JSON.stringify({ role: 'real-server', control: { socket }, realServer }));
    const shim = this.namespaces.start(this.realServer, new URL('../main.js', import.meta.url), [
      ...['run', '--config', file],
    ]);
    let said = '';
    shim.stderr?.on('data', text => {
      said += text;
    });
    for (const deadline = Date.now() + PATIENCE_MS; !(await isRunning(socket)); ) {
      if (shim.exitCode !== null || Date.now() > deadline) throw new Error(`the shim did not start: ${said}`);
      await new Promise(resolve => setTimeout(resolve, POLL_MS));
    }
  }

  /** Safe to call twice. */
  clear(): void {
    this.namespaces.remove();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async ready(child: ChildProcess): Promise<Interface> {
    const output = lines(child);
    await within(once(output, 'line'), 'a program of the demo did not start');
    return output;
  }
}

function program(name: string): URL {
  return new URL(`./${name}.js`, import.meta.url);
}

function lines(child: ChildProcess): Interface {
  return createInterface({ input: child.stdout as Readable });
}

async function isRunning(socket: string): Promise<boolean> {
  for await (const status of (await ask(socket, { command: 'status' })) ?? [])
    return (status as StatusAnswer).state === 'running';
  return false;
}

async function within<T>(promise: Promise<T>, complaint: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(complaint)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
