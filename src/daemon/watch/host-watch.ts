/** Whether the host is still as the plan made it, and which addresses it has. */
import { Integrity } from '../../host/apply/integrity.js';
import { readLocalAddresses } from '../../host/facts/host.js';
import type { HostLog } from '../../host/log.js';
import type { LocalAddresses } from '../roles/kit.js';
import { describeMissing, type Running } from '../running.js';

const INTERVAL_MS = 10_000;

export class HostWatch {
  private readonly timer = setInterval(() => void this.look(), INTERVAL_MS);

  private constructor(
    private readonly running: Running,
    private readonly log: HostLog,
    private integrity: Integrity,
  ) {}

  /** To be called when the plan's changes are made. */
  static async start(running: Running, log: HostLog): Promise<HostWatch> {
    return new HostWatch(running, log, await readIntegrity(running));
  }

  /** To be called when the changes of another plan are made. */
  async restart(): Promise<void> {
    this.integrity = await readIntegrity(this.running);
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Says what is missing, and tells the data plane of addresses that came or went. */
  private async look(): Promise<void> {
    const { running, log, integrity } = this;
    try {
      const missing = await integrity.missing();
      const addresses = await readLocalAddresses();
      // What was read meanwhile for a plan that is no longer in force says nothing about the present one.
      if (running.life.state !== 'running' || integrity !== this.integrity) return;
      for (const line of missing) if (!running.missing.includes(line)) log.warn(describeMissing(line));
      running.missing = missing;
      if (isSame(addresses, running.plan.addresses)) return;
      running.plan = { ...running.plan, addresses };
      running.plane.configure(running.plan.settings(addresses));
    } catch (error) {
      log.warn((error as Error).message);
    }
  }
}

function readIntegrity({ kit, config, plan }: Running): Promise<Integrity> {
  const settings = plan.changes.flatMap(change => (change.kind === 'sysctl' ? change : []));
  return Integrity.of(kit.tables(config), settings);
}

function isSame(a: LocalAddresses, b: LocalAddresses): boolean {
  const text = (of: LocalAddresses): string => JSON.stringify([of.ownAddresses, of.broadcastAddresses]);
  return text(a) === text(b);
}
