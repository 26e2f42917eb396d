/** The whole chain for a group of tests: clients, a load balancer with the shim, two real servers with an echo. */
import { afterAll, beforeAll } from 'vitest';
import { App, type AppEvent } from './apps.js';
import { Clients } from './lb-clients.js';
import { client, client6, LbLab, type LbLabOptions, lbOptions, PORT, rsOptions } from './lb-lab.js';
import { Shim, type ShimOptions } from './shim.js';
import type { Seen, Wire } from './wire.js';

type Json = Record<string, unknown>;

export interface LbBenchOptions {
  lab?: LbLabOptions;
  /** Keys under loadBalancer, beside those of `lbOptions`. */
  loadBalancer?: Json;
  more?: ShimOptions;
  /** The real servers' configuration, beside what is in `rsOptions`. */
  realServers?: ShimOptions;
  /** Which of the real servers have a shim of their own: both. */
  marked?: readonly [boolean, boolean];
  /** Before the LB's shim starts. */
  prepare?: (bench: LbBench) => Promise<void>;
  /** The LB's shim is up to the tests. */
  stopped?: boolean;
}

export class LbBench {
  lab!: LbLab;
  clients!: Clients;
  /** On each real server: an application (with IPv6 another one for that), wire.py, and a shim where it has one. */
  apps: App[] = [];
  apps6: App[] = [];
  wires: Wire[] = [];
  servers: (Shim | undefined)[] = [];
  /** The load balancer's. */
  shim!: Shim;
  private number = 0;
  private ipv6 = false;

  async up(options: LbBenchOptions): Promise<void> {
    const { marked = [true, true] } = options;
    this.lab = await LbLab.create(options.lab);
    this.ipv6 = options.lab?.ipv6 ?? false;
    const { lb, rs } = this.lab;
    this.apps = await Promise.all(rs.map(server => App.start(server, 'echo', PORT)));
    if (this.ipv6)
      this.apps6 = await Promise.all(rs.map(server => App.start(server, 'echo', PORT, '--bind', '::')));
    this.wires = await Promise.all(rs.map((_, n) => this.lab.wire(n)));
    this.clients = await Clients.start(this.lab.clients);
    this.servers = rs.map((server, n) =>
      marked[n] ? new Shim(server, rsOptions(n, options.realServers, this.ipv6)) : undefined,
    );
    this.shim = new Shim(lb, this.options(options.loadBalancer, options.more));
    await options.prepare?.(this);
    const shims = [...this.servers, ...(options.stopped ? [] : [this.shim])];
    await Promise.all(shims.map(shim => shim?.start()));
  }

  async down(): Promise<void> {
    for (const shim of [...this.servers, this.shim]) await shim?.dispose();
    await this.lab?.delete();
  }

  /** A configuration of the LB's shim, for the families that there are. */
  options(loadBalancer: Json = {}, more: ShimOptions = {}): ShimOptions {
    return lbOptions(loadBalancer, more, this.ipv6);
  }

  /** Gives the LB's shim another configuration, which is in force when this returns. */
  reload(loadBalancer: Json): Promise<void> {
    return this.shim.reload(this.options(loadBalancer));
  }

  /** Starts the LB's shim (anew, if it runs) with another configuration: what it knew is forgotten. */
  async restart(loadBalancer: Json): Promise<void> {
    if (this.shim.program?.running) await this.shim.stop();
    this.lab.lb.forgetFlows();
    this.shim.configure(this.options(loadBalancer));
    await this.shim.start();
  }

  /** A client's socket that nobody has used: its own address and port. */
  freshClient(): string {
    this.number++;
    return `${client(this.number % 200)}:${20000 + this.number}`;
  }

  freshClient6(): string {
    this.number++;
    return `[${client6(this.number % 200)}]:${20000 + this.number}`;
  }

  /** The same of both real servers. */
  async receivedByAll(from: BenchTime): Promise<AppEvent[]> {
    return (await Promise.all([0, 1].map(n => this.received(n, from)))).flat();
  }

  async arrivedAtAll(from: BenchTime): Promise<Seen[]> {
    return (await Promise.all([0, 1].map(n => this.arrived(n, from)))).flat();
  }

  /** Where each of the lists is now, for looking at what comes later. */
  get now(): BenchTime {
    return {
      apps: this.apps.map(app => app.now),
      apps6: this.apps6.map(app => app.now),
      wires: this.wires.map(wire => wire.now),
      clients: this.clients.now,
    };
  }

  /** What the nth real server's applications have got, and what was answered is among it; IPv6 comes last. */
  async received(n: number, from: BenchTime): Promise<AppEvent[]> {
    const of = async (app: App | undefined, start: number): Promise<AppEvent[]> => {
      await app?.tally();
      return app?.events.slice(start).filter(({ event }) => event === 'datagram') ?? [];
    };
    return [...(await of(this.apps[n], from.apps[n])), ...(await of(this.apps6[n], from.apps6[n]))];
  }

  /** What has come to the nth real server from the LB, fragments and ICMP apart. */
  async arrived(n: number, from: BenchTime): Promise<Seen[]> {
    await this.wires[n].ask({ op: 'ping' });
    return this.wires[n].since(from.wires[n]);
  }
}

export interface BenchTime {
  apps: number[];
  apps6: number[];
  wires: number[];
  clients: number;
}

/** The time before everything. */
export const START: BenchTime = { apps: [0, 0], apps6: [0, 0], wires: [0, 0], clients: 0 };

/** To be called inside `describe`; what it returns is filled in once the tests run. */
export function useLbBench(options: LbBenchOptions = {}): LbBench {
  const bench = new LbBench();
  beforeAll(() => bench.up(options));
  afterAll(() => bench.down());
  return bench;
}

/** Text from a payload in hex. */
export function said(payload = ''): string {
  return Buffer.from(payload, 'hex').toString();
}
