/** A lab with an echo, for one test or for a group of them; shims as tests ask for them, gone when their test ends. */
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { App } from './apps.js';
import { freshPort, freshText } from './fresh.js';
import { Lab, type LabOptions, LIP, type Namespace, RIP, silence, withoutOffload } from './netns.js';
import { eventually } from './process.js';
import { Shim, type ShimOptions } from './shim.js';
import { mark, type PacketSpec, type Seen, Wire } from './wire.js';

export type Steering = 'policy-routing' | 'nft-ingress';
export const STEERINGS: readonly Steering[] = ['policy-routing', 'nft-ingress'];

export const CLIENT = '198.51.100.7:5555';
/** Beyond the load balancer: answers to it go by the default route. */
export const FAR = '203.0.113.9';
/** Behind the RS, on its eth1. */
export const BEHIND = '10.99.2.2';
const BEHIND_MAC = '02:00:00:63:02:02';

/** The hardware address of an interface in a namespace. */
export async function macOf(namespace: Namespace, name: string): Promise<string> {
  const [link] = JSON.parse(await namespace.ip(`-j link show dev ${name}`)) as { address: string }[];
  return link.address;
}

/** Who takes part in an exchange. */
export interface Ends {
  wire: Wire;
  app: App;
}

export interface Exchanged {
  /** Whom the application saw, and the address that was asked. */
  client: string;
  local: string;
  /** The echo, as it came back. */
  answer: Seen;
}

/** Sends a datagram and waits for its echo. */
export async function exchange({ wire, app }: Ends, packet: PacketSpec = {}): Promise<Exchanged> {
  const payload = packet.payload ?? freshText();
  const [from, fromApp] = [wire.now, app.now];
  await wire.send({ sourcePort: freshPort(), ...packet, payload });
  const { client, local } = await app.got(payload, fromApp);
  return { client, local, answer: await wire.answer(payload, from) };
}

export interface GroupOptions {
  lab?: LabOptions;
  /** Of a shim that runs all the time; without it, tests start their own. */
  shim?: ShimOptions;
  /** Before that shim starts: applications, or what happens without it. */
  prepare?: (stage: Stage) => Promise<void>;
}

export class Stage {
  lab!: Lab;
  wire!: Wire;
  /** Echoes from a wildcard socket, port 7000. */
  app!: App;
  /** The shim that runs for the whole group, where there is one. */
  resident!: Shim;
  private shims: Shim[] = [];

  /** For one test. */
  static async in(act: (stage: Stage) => Promise<void>, options?: LabOptions): Promise<void> {
    const stage = new Stage();
    try {
      await stage.up(options);
      await act(stage);
    } finally {
      await stage.clear();
      await stage.lab?.delete();
    }
  }

  /** For a group of tests that leave it as they found it; to be called inside `describe`. */
  static use({ lab, shim, prepare }: GroupOptions = {}): Stage {
    const stage = new Stage();
    beforeAll(async () => {
      await stage.up(lab);
      await prepare?.(stage);
      if (shim === undefined) return;
      stage.resident = new Shim(stage.lab.rs, shim);
      await stage.resident.start();
    });
    afterEach(() => stage.clear());
    afterAll(async () => {
      await stage.resident?.dispose();
      await stage.lab?.delete();
    });
    return stage;
  }

  private async up(options?: LabOptions): Promise<void> {
    this.lab = await Lab.create(options);
    [this.wire, this.app] = await Promise.all([
      Wire.besideLab(this.lab),
      App.start(this.lab.rs, 'echo', 7000),
    ]);
  }

  /** Ends the shims. */
  private async clear(): Promise<void> {
    for (const shim of this.shims.splice(0)) await shim.dispose();
  }

  /** A configuration; not running yet. */
  shim(options: ShimOptions = {}): Shim {
    const shim = new Shim(this.lab.rs, options);
    this.shims.push(shim);
    return shim;
  }

  async running(options: ShimOptions = {}): Promise<Shim> {
    const shim = this.shim(options);
    await shim.start();
    return shim;
  }

  /** What speaks for a namespace on the RS's eth1; its own stack says nothing about UDP. */
  async behind(...more: string[]): Promise<Wire> {
    const behind = await this.lab.behind(BEHIND_MAC);
    await behind.script(silence('ip'));
    await this.lab.rs.script(withoutOffload('eth1'));
    await eventually('its addresses are there to stay', async () => {
      return (await this.lab.rs.ip('-6 address show dev eth1 tentative')) === '' || undefined;
    });
    return Wire.start(behind, await macOf(this.lab.rs, 'eth1'), more);
  }

  /** Between the lab's load balancer and the echo on port 7000, if nobody else is named. */
  exchange(packet: PacketSpec = {}, ends: Partial<Ends> = {}): Promise<Exchanged> {
    return exchange({ wire: this.wire, app: this.app, ...ends }, packet);
  }

  /** A flow of the client's, with a mark and without: the application sees the client, the answers find back. */
  async serves(packet: PacketSpec = {}, ends: Partial<Ends> = {}, from = '198.51.100.7'): Promise<void> {
    for (const carrier of ['ipo', 'opp'] as const) {
      const sourcePort = freshPort();
      const client = `${from}:${freshPort()}`;
      for (const spec of [{ mark: mark(client, carrier) }, {}]) {
        const seen = await this.exchange({ ...packet, sourcePort, ...spec }, ends);
        expect(seen.client).toBe(client);
        expect(seen.answer).toMatchObject({
          ...{ destination: packet.source ?? LIP, destinationPort: sourcePort },
          ...{ headerChecksumGood: true, udpChecksum: 'good' },
          ...(packet.destination !== undefined && { source: packet.destination }),
          ...(packet.destinationPort !== undefined && { sourcePort: packet.destinationPort }),
        });
      }
    }
  }

  /** A flow that shows the load balancer's address, marked or not: nobody takes the mark. */
  async doesNotServe(packet: PacketSpec = {}, ends: Partial<Ends> = {}): Promise<void> {
    const sourcePort = freshPort();
    for (const spec of [{ mark: mark(CLIENT) }, {}]) {
      const { client } = await this.exchange({ ...packet, sourcePort, ...spec }, ends);
      expect(client).toBe(`${packet.source ?? LIP}:${sourcePort}`);
    }
  }

  /** Clients that come without a load balancer see the service, and it sees them. */
  async servesDirectly(sources: readonly string[]): Promise<void> {
    for (const source of sources) {
      const sourcePort = freshPort();
      const { client, answer } = await this.exchange({ source, sourcePort });
      expect(client).toBe(`${source}:${sourcePort}`);
      expect(answer).toMatchObject({ source: RIP, destination: source, destinationPort: sourcePort });
    }
  }
}
