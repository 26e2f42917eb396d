/** The path from a service to its clients is narrower than the host's own link: what its sockets come to know of that. */
import { describe, expect, it } from 'vitest';
import { useBench } from '../../support/bench.js';
import { LIP, LIP6, missing, RIP, RIP6 } from '../../support/netns.js';
import { eventually, JsonProgram } from '../../support/process.js';
import { STEERINGS } from '../../support/stage.js';
import { mark, type Seen, text } from '../../support/wire.js';

interface Answer {
  event: 'ready' | 'client' | 'sent';
  client?: string;
  bytes?: number;
  error?: string | null;
  mtu?: number;
}

/** sender.py: says what the kernel says of each datagram. */
class Sender extends JsonProgram<Answer> {
  async send(bytes: number): Promise<Answer> {
    const from = this.events.length;
    this.write(String(bytes));
    return this.event(`${bytes} bytes are sent`, ({ event }) => event === 'sent', from);
  }
}

const FAMILIES = [
  { family: 'IPv4', headers: 28, lb: LIP, server: RIP, any: '0.0.0.0', carrier: 'ipo' },
  { family: 'IPv6', headers: 48, lb: LIP6, server: RIP6, any: '::', carrier: 'dstopt' },
] as const;
type Family = (typeof FAMILIES)[number];

const ROUTER = { IPv4: '10.99.1.99', IPv6: 'fd00:99:1::99' } as const;
const NARROW = 1400;

let number = 0;
/** What the host knows of paths goes by addresses: each flow has a client of its own, and a service. */
function freshClient(family: Family): { client: string; port: number } {
  const n = ++number;
  return {
    client: family.family === 'IPv4' ? `198.51.100.${n}:5555` : `[2001:db8::${n}]:5555`,
    port: 7100 + n,
  };
}

interface Socket {
  isBound?: boolean;
  isConnected?: boolean;
  mayFragment?: boolean;
}

describe.skipIf(missing() !== undefined).each(STEERINGS)('a narrow path, by %s', steering => {
  const bench = useBench({
    shim: {
      routing: { steering },
      loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP6}/128` }],
      services: [RIP, RIP6].map(address => ({ address, port: '7100-7199' })),
    },
  });

  /** A flow of a client's to a service of one of the kinds, on a host that reaches the load balancer by 1500 bytes. */
  async function served(family: Family, socket: Socket) {
    const { lab, wire } = bench;
    const { lb, server, any, carrier } = family;
    const { client, port } = freshClient(family);
    const args = [
      ...[String(port), '--bind', socket.isBound ? server : any],
      ...(socket.isConnected ? ['--connect'] : []),
      ...(socket.mayFragment ? ['--fragment'] : []),
    ];
    const sender = lab.rs.start(new Sender(lab.rs.python('sender.py', args)));
    await sender.event('the service listens', ({ event }) => event === 'ready');
    const lport = 40000 + port;
    await wire.send({
      ...{ source: lb, destination: server, sourcePort: lport, destinationPort: port },
      ...{ payload: text('hello'), mark: mark(client, carrier) },
    });
    const seen = await sender.event('the client is seen', ({ event }) => event === 'client');
    expect(seen.client).toBe(client);
    return { sender, lport };
  }

  /** A router on the way to the load balancer has no room for a packet. */
  async function narrow(family: Family, hex: string): Promise<void> {
    const quoted = hex.slice(0, 2 * 548);
    const [type, code] = family.family === 'IPv4' ? [3, 4] : [2, 0];
    const icmp = { type, code, value: NARROW, quoted };
    await bench.wire.send({ source: ROUTER[family.family], destination: family.server, icmp });
  }

  /** The packet of so many bytes, headers and all, on its way to the load balancer. */
  function packet(bytes: number, from: number): Promise<Seen> {
    return bench.wire.event(
      `${bytes} bytes for the load balancer`,
      seen => seen.bytes === bytes && seen.event === 'packet',
      from,
    );
  }

  describe.each(FAMILIES)('$family', family => {
    const { headers } = family;

    /** The kernel has come to know that the path is narrow. */
    async function learns(sender: Sender): Promise<void> {
      const from = bench.wire.now;
      expect(await sender.send(1500 - headers)).toMatchObject({ error: null, mtu: 1500 });
      await narrow(family, (await packet(1500, from)).hex);
      await eventually('the kernel knows', async () => (await sender.send(1)).mtu === NARROW || undefined);
    }

    it.each([
      ['a wildcard socket', {}],
      ['a bound socket', { isBound: true }],
      ['a connected socket', { isConnected: true }],
    ])('%s is refused what is larger than the path, and may send the rest', async (_, socket) => {
      const { sender, lport } = await served(family, socket);
      await learns(sender);
      expect(await sender.send(1500 - headers)).toMatchObject({ error: 'EMSGSIZE', mtu: NARROW });
      expect(await sender.send(NARROW - headers + 1)).toMatchObject({ error: 'EMSGSIZE' });
      const fits = bench.wire.now;
      expect(await sender.send(NARROW - headers)).toMatchObject({ error: null });
      expect(await packet(NARROW, fits)).toMatchObject({
        ...{ source: family.server, destination: family.lb, destinationPort: lport, udpChecksum: 'good' },
      });
    });

    it('datagrams of a socket that allows fragments are cut to fit the path', async () => {
      const { sender, lport } = await served(family, { mayFragment: true });
      await learns(sender);
      const cut = bench.wire.now;
      expect(await sender.send(3000)).toMatchObject({ error: null });
      const whole = await bench.wire.event('the whole datagram', ({ event }) => event === 'datagram', cut);
      expect(whole).toMatchObject({ destination: family.lb, destinationPort: lport, udpLength: 3008 });
      const pieces = bench.wire.events.slice(cut).filter(({ event }) => event === 'packet');
      expect(Math.max(...pieces.map(({ bytes }) => bytes))).toBeLessThanOrEqual(NARROW);
    });

    it('an error about an unknown flow changes nothing', async () => {
      const { sender } = await served(family, {});
      const from = bench.wire.now;
      await sender.send(1500 - headers);
      const seen = await packet(1500, from);
      // Another port: no flow has it.
      const port = 2 * (headers - 8 + 2);
      await narrow(family, `${seen.hex.slice(0, port)}0001${seen.hex.slice(port + 4)}`);
      const { lb } = bench.lab;
      expect((await lb.run(['ping', '-c', '1', '-W', '5', family.server])).code).toBe(0);
      expect(await sender.send(1500 - headers)).toMatchObject({ error: null, mtu: 1500 });
    });
  });
});
