/** The application of features.py: what UDP can do besides sending and receiving. */
import type { Namespace } from './netns.js';
import { JsonProgram } from './process.js';

export interface FeatureEvent {
  event: 'ready' | 'datagram' | 'error' | 'refused';
  client: string;
  payload: string;
  label: string;
  tos: number;
  ttl: number;
  /** IP_PKTINFO: the interface's name, ipi_spec_dst and ipi_addr. */
  interface: string;
  local: string;
  asked: string;
  /** IP_ORIGDSTADDR, "address:port". */
  original: string;
  /** Bytes of each datagram in one that UDP_GRO made. */
  pieces: number[];
  /** How many recvmmsg gave. */
  batch: number;
  error: string;
  offender: string;
}

export class Features extends JsonProgram<FeatureEvent> {
  /** Starts `features.py serve` and waits until it listens. */
  static async serve(namespace: Namespace, port: number, ...args: (string | number)[]): Promise<Features> {
    const command = namespace.python('features.py', ['serve', String(port), ...args.map(String)]);
    const app = namespace.start(new Features(command));
    await app.event('the application listens', ({ event }) => event === 'ready');
    return app;
  }

  /** One large send, cut into datagrams of `segment` bytes by the kernel. */
  static async send(
    namespace: Namespace,
    [source, sport]: readonly [string, number],
    [destination, dport]: readonly [string, number],
    bytes: number,
    segment: number,
  ): Promise<void> {
    const ends = [source, String(sport), destination, String(dport)];
    const size = ['--bytes', String(bytes), '--segment', String(segment)];
    await namespace.must(['python3', namespace.python('features.py', [])[5], 'send', ...ends, ...size]);
  }

  get now(): number {
    return this.events.length;
  }

  /** The datagram with this payload. */
  got(payload: string, from = 0): Promise<FeatureEvent> {
    return this.event(
      `the application got ${payload.slice(0, 40)}`,
      seen => seen.event === 'datagram' && seen.payload === payload,
      from,
    );
  }

  get datagrams(): FeatureEvent[] {
    return this.events.filter(({ event }) => event === 'datagram');
  }
}
