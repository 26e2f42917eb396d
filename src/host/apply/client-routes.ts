/**
 * Routes to single clients, in the table of the replies, with the MTU that an ICMP error reported. With them a service's
 * sockets fragment their datagrams, or get EMSGSIZE, as they would without the TUN. The kernel can't do that by itself: it
 * looks up the route of an ICMP error's packet without the ports (ipv4_sk_update_pmtu, ip6_update_pmtu), and so finds
 * another table.
 *
 * Their number is bounded, they are forgotten after a while, and they go with the TUN.
 */
import * as ipv4 from '../../codec/ipv4.js';
import * as ipv6 from '../../codec/ipv6.js';
import { PrefixList } from '../../flow/prefixes.js';
import { parseAddress, parsePrefix } from '../addresses.js';
import { run } from '../command.js';
import { type Family, familyOf } from '../family.js';
import type { HostLog } from '../log.js';
import type { ReplyTable } from '../plan/host-plan.js';

/** RFC 1191, 6.3. */
const LIFETIME_MS = 600_000;
const SWEEP_INTERVAL_MS = 30_000;
/** Errors come in bursts: one run of `ip` serves all of them. */
const GATHERING_MS = 5;
const MAX_ROUTES = 4096;
const MIN_PATH_MTU: Readonly<Record<Family, number>> = { 4: ipv4.MIN_PATH_MTU, 6: ipv6.MIN_PATH_MTU };

export class ClientRoutes {
  /** When each client's route was made, as performance.now() has it; the oldest first. */
  private readonly madeAtMs = new Map<string, number>();
  private readonly pending: string[] = [];
  private timer: NodeJS.Timeout | undefined;
  private turn: Promise<void> = Promise.resolve();
  private readonly sweeper: NodeJS.Timeout;

  private replies!: ReplyTable;
  /** The prefixes of `replies.sources`, in the same order. */
  private prefixes!: PrefixList;

  constructor(
    replies: ReplyTable,
    private readonly log: HostLog,
  ) {
    this.configure(replies);
    this.sweeper = setInterval(() => this.sweep(), SWEEP_INTERVAL_MS).unref();
  }

  /** Takes another reply table, for routes made from now on. */
  configure(replies: ReplyTable): void {
    this.replies = replies;
    this.prefixes = new PrefixList(replies.sources.map(({ prefix }) => parsePrefix(prefix)));
  }

  /** Makes the route for a client (text) whose path takes no more than `mtu` bytes. */
  set(client: string, mtu: number): void {
    const { tun, table, sources } = this.replies;
    const source = sources[this.prefixes.match(parseAddress(client), 0)]?.source;
    if (source === undefined) return;
    this.madeAtMs.delete(client);
    this.madeAtMs.set(client, performance.now());
    const bytes = Math.max(mtu, MIN_PATH_MTU[familyOf(client)]);
    this.do(`route replace ${client} dev ${tun} table ${table} src ${source} mtu ${bytes}`);
    if (this.madeAtMs.size > MAX_ROUTES) this.forget(this.madeAtMs.keys().next().value as string);
  }

  /** Stops making routes. Those that are there go with the TUN. */
  async close(): Promise<void> {
    clearInterval(this.sweeper);
    clearTimeout(this.timer);
    this.pending.length = 0;
    await this.turn;
  }

  private sweep(): void {
    const oldest = performance.now() - LIFETIME_MS;
    for (const [client, madeAtMs] of this.madeAtMs) {
      if (madeAtMs > oldest) return;
      this.forget(client);
    }
  }

  private forget(client: string): void {
    this.madeAtMs.delete(client);
    this.do(`route del ${client} dev ${this.replies.tun} table ${this.replies.table}`);
  }

  private do(command: string): void {
    this.pending.push(command);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      const batch = this.pending.splice(0).join('\n');
      this.turn = this.turn.then(() => this.runBatch(batch));
    }, GATHERING_MS);
  }

  private async runBatch(batch: string): Promise<void> {
    try {
      const { status, stderr } = await run('ip', ['-force', '-batch', '-'], `${batch}\n`);
      if (status !== 0)
        this.log.warn(`routes to clients with a smaller MTU: ${stderr.trim().replaceAll('\n', '; ')}`);
    } catch (error) {
      this.log.warn(`routes to clients with a smaller MTU: ${(error as Error).message}`);
    }
  }
}
