/**
 * A running shim: locks, TUN, data plane, control socket and host set-up, taken up in this order and down in the
 * reverse one. The way in is opened last and closed first, so packets never go where nothing reads them.
 */
import { DataPlane } from '../dataplane/plane.js';
import { formatAddress } from '../host/addresses.js';
import { ClientRoutes } from '../host/apply/client-routes.js';
import { HostSetup } from '../host/apply/host-setup.js';
import { flowPath } from '../host/run-directory.js';
import { claim } from './claim.js';
import type { Config } from './config/index.js';
import { Answering } from './control/answering.js';
import { ControlServer } from './control/server.js';
import { Lifecycle } from './lifecycle.js';
import type { Logger } from './log.js';
import { reloadable } from './restart.js';
import { type RolePlan, roleKit } from './roles/index.js';
import type { Running } from './running.js';
import { openOwnTun } from './tun.js';
import { watchCounters } from './watch/counter-watch.js';
import { HostWatch } from './watch/host-watch.js';
import { watchPlane } from './watch/plane-watch.js';

export class Daemon {
  private constructor(
    private readonly running: Running,
    private readonly clientRoutes: ClientRoutes | undefined,
    private readonly hostWatch: HostWatch,
    /** Rejected when the data plane has failed; the caller then calls `stop`. */
    readonly failed: Promise<never>,
    private readonly log: Logger,
  ) {}

  /**
   * Takes everything up, or nothing: what was done is undone when a later step fails. Throws an OperatorError where the
   * operator can mend it.
   */
  static async start(config: Config, log: Logger): Promise<Daemon> {
    const life = new Lifecycle();
    try {
      const daemon = await Daemon.takeUp(config, life, log);
      life.started();
      log.info(`serving as ${config.role} on ${config.tun.name}`);
      return daemon;
    } catch (error) {
      await life.stop(log);
      throw error;
    }
  }

  private static async takeUp(config: Config, life: Lifecycle, log: Logger): Promise<Daemon> {
    const kit = roleKit(config.role);
    const lock = await claim(config.tun.name, kit.tables(config));
    life.onStop(() => lock.unlock());
    const plan = await kit.plan(config);

    const tun = openOwnTun(config);
    life.onStop(() => tun.close());
    const clientRoutes = plan.replyTable && new ClientRoutes(plan.replyTable, log);
    life.onStop(() => clientRoutes?.close());
    const plane = await DataPlane.start({
      tunFd: tun.fd,
      merges: tun.merges,
      coalesceUs: tun.merges ? config.tun.coalesceUs : 0,
      fwmark: config.routing.fwmark,
      size: plan.limits,
      flowFile: flowPath(config.tun.name),
      flowNews: log,
      role: plan.settings(plan.addresses),
      onPathMtu: ({ client, mtu }) => clientRoutes?.set(formatAddress(client), mtu),
    });
    life.onStop(() => plane.stop());
    const planeWatch = watchPlane(plane);
    life.onStop(planeWatch.stop);

    const setup = new HostSetup(config.tun.name, plan.localRules, log);
    const running: Running = { kit, life, plane, setup, config, plan, missing: [] };
    const answering = new Answering(running);
    const control = await ControlServer.listen(config.control.socket, answering);
    life.onStop(() => control.close());

    if (setup.hasPredecessor) log.warn('a killed run has left its changes behind: taken over');
    life.onStop(() => setup.down());
    await setup.change(plan.changes);
    for (const warning of plan.warnings) log.warn(warning);
    const hostWatch = await HostWatch.start(running, log);
    life.onStop(() => hostWatch.stop());
    life.onStop(watchCounters(kit.counters.worrying, () => answering.stats(), log));
    return new Daemon(running, clientRoutes, hostWatch, planeWatch.failed, log);
  }

  /** Takes everything down again. Safe to call twice. */
  stop(): Promise<void> {
    return this.running.life.stop(this.log);
  }

  /** Takes another configuration without losing flows. Throws if the host refuses, and then all is as before. */
  async reload(next: Config): Promise<void> {
    const { running, log } = this;
    const { config, needRestart } = reloadable(running.config, next);
    if (needRestart.length > 0)
      log.warn(`${needRestart.join(', ')}: changed, but needs a restart; kept as it was`);
    const plan = await running.kit.plan(config);
    const before = { config: running.config, plan: running.plan };
    try {
      await this.apply(config, plan);
    } catch (error) {
      await this.apply(before.config, before.plan);
      throw error;
    }
    log.level = config.log.level;
    for (const warning of plan.warnings) log.warn(warning);
    await this.hostWatch.restart();
    log.info('configuration re-read');
  }

  private async apply(config: Config, plan: RolePlan): Promise<void> {
    const { running } = this;
    const { plane, setup } = running;
    // The host watch may find other addresses meanwhile, and has to combine them with this plan.
    running.config = config;
    running.plan = plan;
    plane.configure(plan.settings(plan.addresses));
    await setup.change(plan.changes);
    if (plan.replyTable !== undefined) this.clientRoutes?.configure(plan.replyTable);
  }
}
