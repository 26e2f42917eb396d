/** The packets of a load balancer as they have to be, and as they are, byte for byte. */
import { expect } from 'vitest';
import type { App } from './apps.js';
import type { BenchTime, LbBench } from './lb-bench.js';
import type { Datagrams } from './lb-clients.js';
import { PORT } from './lb-lab.js';
import { type Side, useSide } from './lb-sides.js';
import { eventually } from './process.js';
import { mark, type PacketSpec, type Seen } from './wire.js';

/** What packets of a family are made of, in bytes. */
interface Layout {
  /** Of IP and UDP. */
  headers: number;
  /** Of a mark, in each carrier. */
  room: Partial<Record<string, number>>;
  /** Payload of UDP's packet in all fragments but the last, on a link of 1500. */
  fragment: number;
  icmp: number;
}

const LAYOUTS: Record<4 | 6, Layout> = {
  4: { headers: 28, room: { ipo: 8, opp: 12 }, fragment: 1480, icmp: 1 },
  6: { headers: 48, room: { dstopt: 24, opp: 24 }, fragment: 1448, icmp: 58 },
};

export interface Observed {
  client: string;
  seen: Seen[];
  from: BenchTime;
}

/** A load balancer before an RS with a shim, and one without. */
export class LbWire {
  readonly headers: number;
  /** What a mark takes. */
  readonly room: number;
  readonly fragment: number;
  private readonly icmp: number;

  constructor(
    readonly bench: LbBench,
    private readonly side: Side,
  ) {
    const { headers, room, fragment, icmp } = LAYOUTS[side.family];
    this.headers = headers;
    this.room = room[side.carrier] ?? 0;
    this.fragment = fragment;
    this.icmp = icmp;
  }

  /** To be called inside `describe`, on a bench whose second RS has no shim. */
  static use(bench: LbBench, side: Side): LbWire {
    useSide(bench, side);
    return new LbWire(bench, side);
  }

  /** The application of the RS with a shim. */
  get app(): App {
    return this.side.family === 4 ? this.bench.apps[0] : this.bench.apps6[0];
  }

  /** Where its list is, among others. */
  appTime({ apps, apps6 }: BenchTime): number {
    return this.side.family === 4 ? apps[0] : apps6[0];
  }

  /** Sends from a socket of its own to the nth RS; gives what came there of it, `packets` many, in their order. */
  async observe(datagrams: Omit<Datagrams, 'from' | 'target'>, packets: number, n = 1): Promise<Observed> {
    const { bench, side } = this;
    const from = bench.now;
    const client = side.freshClient(bench);
    await bench.clients.send({ from: client, target: side.targets[n], ...datagrams });
    const seen = await eventually(`${packets} packets`, () => {
      const arrived = bench.wires[n].events
        .slice(from.wires[n])
        .filter(({ event, protocol }) => event === 'packet' && protocol !== this.icmp);
      return arrived.length >= packets ? arrived : undefined;
    });
    expect(seen).toHaveLength(packets);
    return { client, seen, from };
  }

  /** The same to the RS with a shim, whose application gets one datagram of it, from the client, and answers. */
  async arrives(payload: string, datagrams: Partial<Datagrams>, packets: number): Promise<void> {
    const { client, from } = await this.observe({ payloads: [payload], ...datagrams }, packets, 0);
    expect(await this.app.got(payload, this.appTime(from))).toMatchObject({ client });
    expect(await this.bench.received(0, from)).toHaveLength(1);
    await this.bench.clients.got(client, payload, from.clients);
  }

  /** A packet to the RS without a shim, made by wire.py; what the kernels on the way chose is taken over. */
  laidOut(seen: Seen, spec: PacketSpec): Promise<string> {
    const { family, lips, rips } = this.side;
    return this.bench.wires[1].encode({
      ...{ source: lips[0], sourcePort: seen.sourcePort ?? 0, destination: rips[1], destinationPort: PORT },
      ...(family === 4
        ? { identification: seen.identification, dontFragment: true }
        : { flow: seen.flow ?? 0 }),
      ...{ ttl: 63, checksum: 'good' },
      ...spec,
    });
  }

  /** An empty datagram with nothing but a mark. */
  standalone(seen: Seen, client: string): Promise<string> {
    const spec = { payload: '', mark: mark(client, this.side.carrier), ttl: 64 };
    return this.laidOut(seen, this.side.family === 4 ? spec : { ...spec, flow: 0 });
  }
}
