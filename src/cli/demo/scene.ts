/** The demo's scene: its hosts, their addresses, and the programs that run on each. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { StatusAnswer } from '../../daemon/control/answers.js';
import { request } from '../../daemon/control/client.js';
import { IN_OWN_RUN_DIRECTORY, Namespaces } from './namespaces.js';

export const CLIENT = '203.0.113.7';
export const VIP = '198.51.100.10';
export const LIP = '10.99.1.1';
export const RIP = '10.99.1.2';
export const PORT = 7000;

const LB_CONFIG = {
  role: 'load-balancer',
  loadBalancer: {
    localAddresses: [LIP],
    services: [{ vip: VIP, port: PORT, realServers: [{ address: RIP, port: PORT }] }],
    interface: { clients: 'clients', servers: 'servers' },
  },
};
const RS_CONFIG = {
  role: 'real-server',
  realServer: { loadBalancers: [{ prefix: `${LIP}/32` }], services: [{ address: RIP, port: PORT }] },
};

const PATIENCE_MS = 10_000;
const POLL_MS = 50;
/** The output of the other programs may come a little later than the end of an exchange. */
const LAST_WORDS_MS = 100;

export interface Exchange {
  /** The sources that the application saw, one for each question. */
  seen: string[];
  /** What the client printed: the source and text of each answer. */
  answers: string[];
  /** The packets between LB and RS, described by wire.ts. */
  packets: string[];
}

/** The names of the hosts' namespaces. */
interface Hosts {
  client: string;
  loadBalancer: string;
  realServer: string;
}

export class Scene {
  private readonly namespaces = new Namespaces();
  private readonly directory = mkdtempSync(join(tmpdir(), 'uoa-demo-'));
  private hosts: Hosts | undefined;
  private readonly sightings: string[] = [];
  private readonly packets: string[] = [];

  /** Sets up client --- LB --- RS, with the application running. */
  async set(): Promise<void> {
    const { namespaces } = this;
    const client = await namespaces.add('client');
    const loadBalancer = await namespaces.add('lb');
    const realServer = await namespaces.add('rs');
    this.hosts = { client, loadBalancer, realServer };
    await namespaces.join(client, 'eth0', `${CLIENT}/24`, loadBalancer, 'clients', '203.0.113.1/24');
    await namespaces.join(loadBalancer, 'servers', `${LIP}/24`, realServer, 'eth0', `${RIP}/24`);
    await namespaces.ip(client, 'route add default via 203.0.113.1');
    await namespaces.ip(realServer, `route add default via ${LIP}`);

    await this.listen(namespaces.start(realServer, program('application'), [`${PORT}`]), this.sightings);
    await this.listen(namespaces.start(realServer, program('wire'), [LIP, RIP]), this.packets);
  }

  startLoadBalancer(): Promise<void> {
    return this.startShim(this.host('loadBalancer'), LB_CONFIG);
  }

  startRealServer(): Promise<void> {
    return this.startShim(this.host('realServer'), RS_CONFIG);
  }

  /** Has the client ask the VIP some questions from one port, which is one flow. */
  async exchange(port: number, questions: number): Promise<Exchange> {
    this.sightings.length = 0;
    this.packets.length = 0;
    const answers: string[] = [];
    const args = [CLIENT, `${port}`, VIP, `${PORT}`, `${questions}`];
    const asking = this.namespaces.start(this.host('client'), program('client'), args);
    createInterface({ input: asking.stdout as Readable }).on('line', line => answers.push(line));
    await within(once(asking, 'close'), 'the client did not end');
    await new Promise(resolve => setTimeout(resolve, LAST_WORDS_MS));
    if (answers.length < questions) throw new Error('the client got no answer');
    return { seen: [...this.sightings], answers, packets: [...this.packets] };
  }

  /** Safe to call twice. */
  clear(): void {
    this.namespaces.remove();
    rmSync(this.directory, { recursive: true, force: true });
  }

  private host(name: keyof Hosts): string {
    if (this.hosts === undefined) throw new Error('the scene is not set');
    return this.hosts[name];
  }

  private async startShim(host: string, config: { role: string }): Promise<void> {
    const socket = join(this.directory, `${config.role}.sock`);
    const file = join(this.directory, `${config.role}.json`);
    writeFileSync(file, JSON.stringify({ ...config, control: { socket } }));
    const main = new URL('../main.js', import.meta.url);
    const shim = this.namespaces.start(host, main, ['run', '--config', file], IN_OWN_RUN_DIRECTORY);
    let said = '';
    shim.stderr?.on('data', text => {
      said += text;
    });
    for (const deadline = Date.now() + PATIENCE_MS; !(await isRunning(socket)); ) {
      if (shim.exitCode !== null || Date.now() > deadline) throw new Error(`the shim did not start: ${said}`);
      await new Promise(resolve => setTimeout(resolve, POLL_MS));
    }
  }

  /** Waits for a program's first line, which says that it is ready, and collects the later ones in `into`. */
  private async listen(child: ChildProcess, into: string[]): Promise<void> {
    const output = createInterface({ input: child.stdout as Readable });
    await within(once(output, 'line'), 'a program of the demo did not start');
    output.on('line', line => into.push(line));
  }
}

function program(name: string): URL {
  return new URL(`./${name}.js`, import.meta.url);
}

async function isRunning(socket: string): Promise<boolean> {
  for await (const status of (await request(socket, { command: 'status' })) ?? [])
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
