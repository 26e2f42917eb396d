/**
 * A running shim: locks, TUN, data plane, control socket and host set-up, taken up in this order and down in the
 * reverse one. The way in is opened last and closed first, so packets never go where nobody reads them.
 */
import { DataPlane } from '../dataplane/plane.js';
import { ExitCode, OperatorError } from '../errors.js';
import { formatAddress, formatEndpoint, parseEndpoint } from '../host/addresses.js';
import { HostSetup } from '../host/apply/apply.js';
import { ClientRoutes } from '../host/apply/client-routes.js';
import { Integrity } from '../host/apply/integrity.js';
import { lockAll } from '../host/apply/lock.js';
import { readLocalAddresses, tableHasRoutes } from '../host/facts/host.js';
import { native } from '../io/native.js';
import { offloadTun, openTun } from '../io/tun.js';
import { readCounters } from '../role/counters.js';
import { VERSION } from '../version.js';
import { ticks } from './clock.js';
import type { Config } from './config/index.js';
import { type FlowAnswer, type FlowFilters, flowFilter, type StatusAnswer } from './control/answers.js';
import { type ControlHandler, ControlServer } from './control/server.js';
import type { Logger } from './log.js';
import { type RoleKit, type RolePlan, roleKit } from './roles/kit.js';
import { CounterWatch } from './watch/counter-watch.js';

const HEARTBEAT_CHECK_MS = 1000;
/** Checks without a heartbeat before the data plane counts as stuck. */
const MISSED_HEARTBEATS = 5;
const LOOK_AROUND_MS = 10_000;

type Undo = () => void | Promise<void>;

export class Daemon implements ControlHandler {
  /** Rejected when the data plane has failed; the caller then calls `stop`. */
  readonly failed: Promise<never>;
  private fail!: (error: Error) => void;
  private readonly undo: Undo[] = [];
  private readonly started = Date.now();
  private state: StatusAnswer['state'] = 'starting';
  /** What the host was made to be. */
  private plan: RolePlan | undefined;
  /** Rules and routes of ours that somebody took away. */
  private gone: string[] = [];
  private readonly kit: RoleKit;
  private plane!: DataPlane;
  private setup!: HostSetup;
  private clientRoutes: ClientRoutes | undefined;
  private integrity!: Integrity;

  private constructor(
    private config: Config,
    private readonly log: Logger,
  ) {
    this.kit = roleKit(config.role);
    this.failed = new Promise((_, reject) => {
      this.fail = reject;
    });
    this.failed.catch(() => {});
  }

  /** Takes everything up, or nothing: what was done is undone when a later step fails. */
  static async start(config: Config, log: Logger): Promise<Daemon> {
    const daemon = new Daemon(config, log);
    try {
      await daemon.up();
    } catch (error) {
      await daemon.stop();
      throw error;
    }
    return daemon;
  }

  private async up(): Promise<void> {
    const { config, log, kit } = this;
    const tables = kit.tables(config);
    const lock = lockAll([`TUN ${config.tun.name}`, ...tables.map(table => `table ${table}`)]);
    this.undo.push(() => lock.release());
    await refuseUsedTables(tables);

    const plan = await kit.plan(config);
    const { maxFlows, flowTimeout } = kit.limits(config);
    const tunFd = this.openTun();
    // A load balancer's packets leave by raw sockets, one datagram at a time: the kernel cuts super-packets better.
    const offloads =
      config.tun.offload === 'auto' && config.role === 'real-server' && offloadTun(native, tunFd, true);
    const merges = offloads && config.tun.merge;
    this.plane = await DataPlane.start({
      tunFd,
      merges,
      coalesce: merges ? config.tun.coalesce : 0,
      mark: config.routing.mark,
      size: { maxFlows, timeoutMs: flowTimeout * 1000 },
      role: kit.settings(config, plan),
      onPathMtu: ({ client, mtu }) => this.clientRoutes?.set(formatAddress(client), mtu),
    });
    this.undo.push(() => this.plane.stop());
    if (plan.replyTable !== undefined) this.clientRoutes = new ClientRoutes(plan.replyTable, log);
    this.undo.push(() => this.clientRoutes?.close());
    this.plane.ended.then(
      () => this.fail(new Error('the data plane has ended')),
      error => this.fail(error),
    );
    const control = await ControlServer.listen(config.control.socket, this);
    this.undo.push(() => control.close());

    this.setup = new HostSetup(config.tun.name, plan.localRules, log);
    if (this.setup.hasPredecessor) log.warn('a killed run has left its changes behind: taken over');
    this.undo.push(() => this.setup.down());
    await this.setup.change(plan.changes);
    await this.takeNoteOf(plan);
    this.watch();
    this.state = 'running';
    log.info(`serving as ${config.role} on ${config.tun.name}`);
  }

  /** Takes everything down again. Safe to call twice. */
  async stop(): Promise<void> {
    this.state = 'stopping';
    for (const undo of this.undo.splice(0).reverse())
      try {
        await undo();
      } catch (error) {
        this.log.warn(`stop: ${(error as Error).message}`);
      }
  }

  /** Takes another configuration without losing flows. If the host refuses, all is as before. */
  async reload(config: Config): Promise<void> {
    const later = needsRestart(this.config, config, this.kit);
    if (later.length > 0) this.log.warn(`${later.join(', ')}: changed, but needs a restart; kept as it was`);
    const { role, tun, control, routing } = this.config;
    const next = this.kit.withLimits(
      { ...config, role, tun, control, routing },
      this.kit.limits(this.config),
    );
    const plan = await this.kit.plan(next);
    this.plane.configure(this.kit.settings(next, plan));
    try {
      await this.setup.change(plan.changes);
    } catch (error) {
      await this.goBackTo(this.plan);
      throw error;
    }
    this.config = next;
    this.log.level = next.log.level;
    await this.takeNoteOf(plan);
    this.log.info('configuration re-read');
  }

  // ---- answers -------------------------------------------------------------------------------------------

  status(): StatusAnswer {
    const { config } = this;
    const gone = [...this.gone, ...(this.state === 'running' ? this.setup.gone() : [])];
    return {
      state: this.state,
      role: config.role,
      version: VERSION,
      pid: process.pid,
      uptimeSeconds: Math.floor((Date.now() - this.started) / 1000),
      tun: config.tun.name,
      datapath: 'tun',
      steering: this.kit.steering(config),
      healthy: this.state === 'running' && gone.length === 0,
      warnings: [...gone.map(line => `gone from this host: ${line}`), ...(this.plan?.warnings ?? [])],
    };
  }

  stats(): Record<string, number> {
    return readCounters(this.plane.counters, this.kit.counters);
  }

  *flows(filters: FlowFilters): Generator<FlowAnswer> {
    const passes = flowFilter(filters);
    for (const entry of this.plane.flows.entries(ticks()))
      if (passes(entry)) yield this.kit.describeFlow(entry, this.config);
  }

  lookup(source: string, destination: string): { client: string | null } {
    const lb = requireEndpoint('source', source);
    const server = requireEndpoint('destination', destination);
    const entry = this.plane.flows.find(lb.words, lb.port, server.words, server.port, ticks());
    const { success, miss } = this.kit.lookupCounters;
    this.plane.counters[entry === undefined ? miss : success]++;
    return { client: entry === undefined ? null : formatEndpoint(entry.client, entry.clientPort) };
  }

  // ---- parts ---------------------------------------------------------------------------------------------

  private openTun(): number {
    const { name } = this.config.tun;
    try {
      const fd = openTun(native, name);
      this.undo.push(() => void native.closeDescriptor(fd));
      return fd;
    } catch (error) {
      throw tunError(name, error as NodeJS.ErrnoException);
    }
  }

  private async goBackTo(plan: RolePlan | undefined): Promise<void> {
    if (plan === undefined) return;
    await this.setup.change(plan.changes);
    this.plane.configure(this.kit.settings(this.config, plan));
  }

  private async takeNoteOf(plan: RolePlan): Promise<void> {
    this.plan = plan;
    if (plan.replyTable !== undefined) this.clientRoutes?.configure(plan.replyTable);
    const settings = plan.changes.flatMap(change => (change.kind === 'sysctl' ? change : []));
    this.integrity = await Integrity.of(this.kit.tables(this.config), settings);
    for (const warning of plan.warnings) this.log.warn(warning);
  }

  private watch(): void {
    let lastBeat = this.plane.heartbeat;
    let missed = 0;
    const heartbeat = setInterval(() => {
      const beat = this.plane.heartbeat;
      missed = beat === lastBeat ? missed + 1 : 0;
      lastBeat = beat;
      if (missed >= MISSED_HEARTBEATS) this.fail(new Error('the data plane is stuck'));
    }, HEARTBEAT_CHECK_MS);
    const counters = new CounterWatch(this.kit.worrying, () => this.stats());
    const around = setInterval(() => void this.lookAround(counters), LOOK_AROUND_MS);
    this.undo.push(() => {
      clearInterval(heartbeat);
      clearInterval(around);
    });
  }

  /** Warns of what the counters tell, of rules that are gone, and follows addresses that came or went. */
  private async lookAround(counters: CounterWatch): Promise<void> {
    const warning = counters.look();
    if (warning !== undefined) this.log.warn(warning);
    try {
      const gone = await this.integrity.gone();
      const addresses = await readLocalAddresses();
      if (this.state !== 'running') return;
      for (const line of gone) if (!this.gone.includes(line)) this.log.warn(`gone from this host: ${line}`);
      this.gone = gone;
      if (this.plan === undefined || isSame(addresses, this.plan.facts)) return;
      this.plan.facts = { ...this.plan.facts, ...addresses };
      this.plane.configure(this.kit.settings(this.config, this.plan));
    } catch (error) {
      this.log.warn((error as Error).message);
    }
  }
}

type Addresses = Awaited<ReturnType<typeof readLocalAddresses>>;

function isSame(a: Addresses, b: Addresses): boolean {
  const text = (of: Addresses): string => JSON.stringify([of.ownAddresses, of.broadcastAddresses]);
  return text(a) === text(b);
}

async function refuseUsedTables(tables: readonly number[]): Promise<void> {
  for (const number of tables)
    if (await tableHasRoutes(number))
      throw new OperatorError(
        `routing table ${number} has routes already (ip route show table ${number}); ` +
          'name a free pair with routing.table',
        ExitCode.failed,
      );
}

function requireEndpoint(name: string, text: string): { words: number[]; port: number } {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined)
    throw new RangeError(`--${name} ${text} is not allowed; allowed: address:port, IPv6 as [address]:port`);
  return endpoint;
}

function tunError(name: string, error: NodeJS.ErrnoException): OperatorError {
  switch (error.code) {
    case 'EPERM':
    case 'EACCES':
      return new OperatorError(
        `TUN ${name}: not permitted; run as root or with CAP_NET_ADMIN`,
        ExitCode.notPermitted,
      );
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO':
      return new OperatorError(
        '/dev/net/tun is missing; load the kernel module (modprobe tun) or allow the device in the container',
        ExitCode.unavailable,
      );
    case 'EBUSY':
      return new OperatorError(`TUN ${name} is in use by another process`, ExitCode.failed);
    case 'EINVAL':
      return new OperatorError(
        `${name} exists and is not such a TUN; name another in tun.name`,
        ExitCode.failed,
      );
    default:
      return new OperatorError(error.message, ExitCode.failed);
  }
}

/** Keys that differ and that a running shim can't change. */
function needsRestart(before: Config, after: Config, kit: RoleKit): string[] {
  const fixed: [string, unknown, unknown][] = [
    ['role', before.role, after.role],
    ['tun', before.tun, after.tun],
    ['control', before.control, after.control],
    ['routing', before.routing, after.routing],
    ['maxFlows and flowTimeout', kit.limits(before), kit.limits(after)],
  ];
  return fixed.filter(([, a, b]) => JSON.stringify(a) !== JSON.stringify(b)).map(([key]) => key);
}
