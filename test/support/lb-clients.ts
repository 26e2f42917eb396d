/** lb-clients.py: many clients of a load balancer in one namespace. */
import type { Namespace } from './netns.js';
import { JsonProgram } from './process.js';

export interface ClientEvent {
  event: 'ready' | 'answer' | 'error';
  /** The socket, "address:port" or "[address]:port". */
  client: string;
  peer: string;
  payload: string;
  error?: string;
}

export interface Talk {
  sent: number;
  answered: number;
  /** What was said and not answered. */
  lost: string[];
}

export interface Datagrams {
  from: string;
  target: string;
  /** Hex, each a datagram. */
  payloads: string[];
  /** Hex: IPv4 options, or IPv6 destination options. */
  options?: string;
  checksum?: boolean;
  /** true unless said otherwise, for as long as nobody knows the path to be narrower; 'ever': then it is refused. */
  dontFragment?: boolean | 'ever';
  /** Bytes; the kernel makes datagrams of that size of each payload (UDP_SEGMENT). */
  segment?: number;
  ttl?: number;
  /** From now on the socket hears of errors, and nobody else. */
  connect?: boolean;
}

export interface TalkOptions {
  rounds?: number;
  burst?: number;
  together?: number;
}

export class Clients extends JsonProgram<ClientEvent> {
  static async start(namespace: Namespace): Promise<Clients> {
    const clients = namespace.start(new Clients(namespace.python('lb-clients.py', [])));
    await clients.event('the clients are ready', ({ event }) => event === 'ready');
    return clients;
  }

  /** Gives how many of them the socket refused to send, as too large. */
  async send(datagrams: Datagrams): Promise<number> {
    return (await this.ask({ op: 'send', ...datagrams })).refused as number;
  }

  /** The MTU of the path, as a connected socket knows it. */
  async mtu(from: string): Promise<number> {
    return (await this.ask({ op: 'mtu', from })).mtu as number;
  }

  /** Everyone says something and waits for the echo, `rounds` times. */
  async talk(from: readonly string[], target: string, options: TalkOptions = {}): Promise<Talk> {
    const { rounds = 1, burst = 1, together = 64 } = options;
    const { sent, answered, lost } = await this.ask({ op: 'talk', from, target, rounds, burst, together });
    return { sent, answered, lost } as Talk;
  }

  /** The same on and on, and visitors besides, one after the other, until `halt`. */
  async stream(from: readonly string[], target: string, visitors: [string, number, number]): Promise<void> {
    await this.ask({ op: 'stream', from, target, visitors });
  }

  async halt(): Promise<Talk & { visitors: Talk }> {
    const { sent, answered, lost, visitors } = await this.ask({ op: 'halt' });
    return { sent, answered, lost, visitors } as Talk & { visitors: Talk };
  }

  /** One client more each time, and all that are there say something, until `disperse`. */
  async swarm(
    address: string,
    ports: readonly [number, number],
    target: string,
    everySeconds: number,
  ): Promise<void> {
    await this.ask({ op: 'swarm', address, ports, target, every: everySeconds });
  }

  /** Ends a swarm; how many datagrams it has sent. */
  async disperse(): Promise<number> {
    return (await this.ask({ op: 'halt' })).sent as number;
  }

  get now(): number {
    return this.events.length;
  }

  /** What came since `from` and was not the answer to something said. */
  async unasked(from = 0): Promise<ClientEvent[]> {
    await this.ask({ op: 'ping' });
    return this.events.slice(from);
  }

  /** The datagram with this payload. */
  got(client: string, payload: string, from = 0): Promise<ClientEvent> {
    return this.event(
      `${client} got ${payload.slice(0, 40)}`,
      seen => seen.event === 'answer' && seen.client === client && seen.payload === payload,
      from,
    );
  }
}
