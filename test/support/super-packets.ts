/** The programs of super-packets.py: many datagrams at once, and what became of them. */
import type { Namespace } from './netns.js';
import { eventually, JsonProgram } from './process.js';

export type End = readonly [address: string, port: number];

export interface Burst {
  flow: number;
  first?: number;
  count: number;
  size?: number;
  /** Bytes of the last datagram. */
  last?: number;
  /** Datagrams per send(): 1 is the ordinary way. */
  segments?: number;
}

export interface Tally {
  /** Datagrams by flow and ends: `1 from 203.0.113.7:5555 to 10.99.1.2:7000`; `next` is behind the last one's number. */
  flows: Record<string, { count: number; next: number }>;
  /** What was wrong: other bytes, another order, a bad checksum. */
  faults: string[];
  /** Calls of recvmsg() that brought them, or packets seen. */
  calls: number;
  /** The longest of what these brought, in bytes. */
  longest: number;
}

class Commanded extends JsonProgram<{ event: string }> {
  static async start(namespace: Namespace, ...args: (string | number)[]): Promise<Commanded> {
    const program = namespace.start(new Commanded(namespace.python('super-packets.py', args.map(String))));
    await program.event('it is ready', ({ event }) => event === 'ready');
    return program;
  }
}

function complete({ first = 0, size = 1200, segments = 50, ...rest }: Burst) {
  return { last: size, ...rest, first, size, segments };
}

/** Something that counts datagrams. */
class Counting {
  constructor(protected readonly program: Commanded) {}

  async tally(): Promise<Tally> {
    return (await this.program.ask({ do: 'tally' })) as unknown as Tally;
  }

  /** The tally once `count` datagrams have come in all. */
  until(count: number): Promise<Tally> {
    let last: Tally | undefined;
    return eventually(`${count} datagrams`, async () => {
      last = await this.tally();
      return totalOf(last) >= count ? last : undefined;
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${JSON.stringify(last)}`);
    });
  }
}

export function totalOf({ flows }: Tally): number {
  return Object.values(flows).reduce((sum, { count }) => sum + count, 0);
}

/** An application with one socket. */
export class ManyApp extends Counting {
  static async start(
    namespace: Namespace,
    address: string,
    port: number,
    ...args: string[]
  ): Promise<ManyApp> {
    return new ManyApp(await Commanded.start(namespace, 'app', address, port, ...args));
  }

  async reply(client: End, burst: Burst): Promise<void> {
    await this.program.ask({ do: 'reply', client, ...complete(burst) });
  }
}

/** Sockets that send, a load balancer's. */
export class ManyClient {
  private constructor(private readonly program: Commanded) {}

  static async start(namespace: Namespace): Promise<ManyClient> {
    return new ManyClient(await Commanded.start(namespace, 'client'));
  }

  /** `mark` is an option to go into every datagram. */
  async send(source: End, destination: End, burst: Burst, mark = ''): Promise<void> {
    await this.program.ask({ do: 'send', source, destination, mark, ...complete(burst) });
  }

  async corrupt(source: End, destination: End, flow: number, numbers: number[], size = 1200): Promise<void> {
    await this.program.ask({ do: 'corrupt', source, destination, flow, numbers, size });
  }
}

/** All UDP that comes in on an interface from some addresses, its checksums looked at. */
export class Sniffer extends Counting {
  static async start(namespace: Namespace, device: string, ...addresses: string[]): Promise<Sniffer> {
    return new Sniffer(await Commanded.start(namespace, 'sniff', device, ...addresses));
  }
}
