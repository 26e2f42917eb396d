/** The applications of apps.py, which know nothing of marks. */
import type { Namespace } from './netns.js';
import { JsonProgram } from './process.js';

export interface AppEvent {
  event: 'ready' | 'datagram' | 'tally' | 'answer' | 'error';
  /** The source that the application sees, "address:port" or "[address]:port". */
  client: string;
  local: string;
  payload: string;
  options: string;
  tos: number;
  ttl: number;
  /** IPv6 alone. */
  flow?: number;
  socket: 'wildcard' | 'bound' | 'connected';
  clients?: Record<string, number>;
  peer?: string;
  error?: string;
}

export class App extends JsonProgram<AppEvent> {
  /** Starts `apps.py` with these arguments and waits until it listens. */
  static async start(namespace: Namespace, ...args: (string | number)[]): Promise<App> {
    const app = namespace.start(new App(namespace.python('apps.py', args.map(String))));
    await app.event('the application listens', ({ event }) => event === 'ready');
    return app;
  }

  /** Sends a datagram from a socket of its own and gives what came back. */
  static async query(
    namespace: Namespace,
    address: string,
    port: number,
    ...args: string[]
  ): Promise<AppEvent> {
    const app = namespace.start(
      new App(namespace.python('apps.py', ['query', address, String(port), ...args])),
    );
    const answer = await app.event('an answer', ({ event }) => event === 'answer' || event === 'error');
    await app.ended;
    return answer;
  }

  get now(): number {
    return this.events.length;
  }

  /** The datagram with this payload. */
  got(payload: string, from = 0): Promise<AppEvent> {
    return this.event(
      `the application got ${payload.slice(0, 40)}`,
      seen => seen.event === 'datagram' && seen.payload === payload,
      from,
    );
  }

  /** Sources of the datagrams that came since `from`. */
  clients(from = 0): string[] {
    return this.events
      .slice(from)
      .filter(({ event }) => event === 'datagram')
      .map(({ client }) => client);
  }

  /** Datagrams per client since the last time; for an application started with --quiet. */
  async tally(): Promise<Record<string, number>> {
    const from = this.now;
    this.write('tally');
    return (await this.event('a tally', ({ event }) => event === 'tally', from)).clients ?? {};
  }
}

/** What apps.py answers with `--answer`. */
export function pattern(length: number): string {
  const words = Buffer.alloc(length + 4);
  for (let i = 0; i * 4 <= length; i++) words.writeUInt32BE(i, i * 4);
  return words.subarray(0, length).toString('hex');
}
