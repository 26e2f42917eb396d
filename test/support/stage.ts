/** A lab for one test: shims, echoes and load balancers as it asks for them, all of them gone afterwards. */
import { expect } from 'vitest';
import { App } from './apps.js';
import { Lab, type LabOptions, LIP, type Namespace, silence } from './netns.js';
import { eventually } from './process.js';
import { Shim, type ShimOptions } from './shim.js';
import { mark, type PacketSpec, type Seen, text, Wire } from './wire.js';

export type Steering = 'policy-routing' | 'nft-ingress';
export const STEERINGS: readonly Steering[] = ['policy-routing', 'nft-ingress'];

export const CLIENT = '198.51.100.7:5555';
/** Behind the RS, on its eth1. */
export const BEHIND = '10.99.2.2';
const BEHIND_MAC = '02:00:00:63:02:02';

let number = 0;
export const freshPort = (): number => 45000 + ++number;
export const freshText = (): string => text(`datagram ${++number}`);

/** The hardware address of an interface in a namespace. */
export async function macOf(namespace: Namespace, name: string): Promise<string> {
  const [link] = JSON.parse(await namespace.ip(`-j link show dev ${name}`)) as { address: string }[];
  return link.address;
}

/** Where an exchange takes place, if not between the lab's load balancer and the echo on port 7000. */
export interface Ends {
  wire?: Wire;
  app?: App;
}

export class Stage {
  private readonly shims: Shim[] = [];

  private constructor(
    readonly lab: Lab,
    readonly wire: Wire,
    /** Echoes from a wildcard socket, port 7000. */
    readonly app: App,
  ) {}

  static async in(act: (stage: Stage) => Promise<void>, options: LabOptions = {}): Promise<void> {
    const lab = await Lab.create(options);
    let stage: Stage | undefined;
    try {
      stage = new Stage(lab, await Wire.besideLab(lab), await App.start(lab.rs, 'echo', 7000));
      await act(stage);
    } finally {
      for (const shim of stage?.shims ?? []) await shim.dispose();
      await lab.delete();
    }
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
  async behind(): Promise<Wire> {
    const behind = await this.lab.behind(BEHIND_MAC);
    await behind.script(silence('ip'));
    // Checksums are to be looked at: none is left to a card that doesn't exist.
    await this.lab.rs.must(['ethtool', '-K', 'eth1', 'tx', 'off']);
    await eventually('its addresses are there to stay', async () => {
      return (await this.lab.rs.ip('-6 address show dev eth1 tentative')) === '' || undefined;
    });
    return Wire.start(behind, await macOf(this.lab.rs, 'eth1'));
  }

  /** Sends a datagram and waits for its echo; whom the application saw, and the echo. */
  async exchange(
    packet: PacketSpec = {},
    { wire = this.wire, app = this.app }: Ends = {},
  ): Promise<{ client: string; local: string; answer: Seen }> {
    const payload = packet.payload ?? freshText();
    const [from, fromApp] = [wire.now, app.now];
    await wire.send({ sourcePort: freshPort(), ...packet, payload });
    const { client, local } = await app.got(payload, fromApp);
    return { client, local, answer: await wire.answer(payload, from) };
  }

  /** A flow of the client's, with a mark and without: the application sees the client, the answers find back. */
  async serves(packet: PacketSpec = {}, ends: Ends = {}, from = '198.51.100.7'): Promise<void> {
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
  async doesNotServe(packet: PacketSpec = {}, ends: Ends = {}): Promise<void> {
    const sourcePort = freshPort();
    for (const spec of [{ mark: mark(CLIENT) }, {}]) {
      const { client } = await this.exchange({ ...packet, sourcePort, ...spec }, ends);
      expect(client).toBe(`${packet.source ?? LIP}:${sourcePort}`);
    }
  }
}
