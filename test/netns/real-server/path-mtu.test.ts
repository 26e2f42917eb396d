/** The path from a service to its clients is narrower than the host's own link: what its sockets come to know of that. */
import { describe, expect, it } from 'vitest';
import { LIP, LIP6, missing, RIP, RIP6 } from '../../support/netns.js';
import { eventually, JsonProgram } from '../../support/process.js';
import { STEERINGS, Stage, type Steering } from '../../support/stage.js';
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
  { family: 'IPv4', headers: 28, lb: LIP, server: RIP, any: '0.0.0.0', client: '198.51.100.7:5555' },
  { family: 'IPv6', headers: 48, lb: LIP6, server: RIP6, any: '::', client: '[2001:db8::7]:5555' },
] as const;
type Family = (typeof FAMILIES)[number];

const ROUTER = { IPv4: '10.99.1.99', IPv6: 'fd00:99:1::99' } as const;
const NARROW = 1400;
const PORT = 7100;

/** A flow of the client's to a service of one of the kinds, on a host that reaches the load balancer by 1500 bytes. */
async function served(
  { lb, server, client, any, family }: Family,
  steering: Steering,
  socket: { isBound?: boolean; isConnected?: boolean; mayFragment?: boolean },
  act: (flow: {
    stage: Stage;
    sender: Sender;
    narrow: (seen: Seen) => Promise<void>;
    lport: number;
  }) => Promise<void>,
): Promise<void> {
  await Stage.in(async stage => {
    const args = [
      ...[String(PORT), '--bind', socket.isBound ? server : any],
      ...(socket.isConnected ? ['--connect'] : []),
      ...(socket.mayFragment ? ['--fragment'] : []),
    ];
    const sender = stage.lab.rs.start(new Sender(stage.lab.rs.python('sender.py', args)));
    await sender.event('the service listens', ({ event }) => event === 'ready');
    await stage.running({
      routing: { steering },
      loadBalancers: [{ prefix: `${lb}/${family === 'IPv4' ? 32 : 128}` }],
      services: [{ address: server, port: PORT }],
    });
    const lport = 40100;
    const ends = { source: lb, destination: server, sourcePort: lport, destinationPort: PORT };
    await stage.wire.send({
      ...ends,
      payload: text('hello'),
      mark: mark(client, family === 'IPv4' ? 'ipo' : 'dstopt'),
    });
    const seen = await sender.event('the client is seen', ({ event }) => event === 'client');
    expect(seen.client).toBe(client);
    const narrow = async ({ hex }: Seen): Promise<void> => {
      const quoted = hex.slice(0, 2 * 548);
      const icmp =
        family === 'IPv4' ? { type: 3, code: 4, value: NARROW } : { type: 2, code: 0, value: NARROW };
      await stage.wire.send({ source: ROUTER[family], destination: server, icmp: { ...icmp, quoted } });
    };
    await act({ stage, sender, narrow, lport });
  });
}

/** The packet of so many bytes, headers and all, on its way to the load balancer. */
function packet(stage: Stage, bytes: number, from: number): Promise<Seen> {
  return stage.wire.event(
    `${bytes} bytes for the load balancer`,
    seen => seen.bytes === bytes && seen.event === 'packet',
    from,
  );
}

describe.skipIf(missing() !== undefined).each(STEERINGS)('a narrow path, by %s', steering => {
  describe.each(FAMILIES)('$family', family => {
    const { headers } = family;

    it.each([
      ['a wildcard socket', {}],
      ['a bound socket', { isBound: true }],
      ['a connected socket', { isConnected: true }],
    ])('%s: too large ones are refused from then on, others pass, and IP_MTU tells', (_, socket) =>
      served(family, steering, socket, async ({ stage, sender, narrow, lport }) => {
        const from = stage.wire.now;
        expect(await sender.send(1500 - headers)).toMatchObject({ error: null, mtu: 1500 });
        await narrow(await packet(stage, 1500, from));
        await eventually('the kernel knows', async () => (await sender.send(1)).mtu === NARROW || undefined);
        expect(await sender.send(1500 - headers)).toMatchObject({ error: 'EMSGSIZE', mtu: NARROW });
        expect(await sender.send(NARROW - headers + 1)).toMatchObject({ error: 'EMSGSIZE' });
        const fits = stage.wire.now;
        expect(await sender.send(NARROW - headers)).toMatchObject({ error: null });
        expect(await packet(stage, NARROW, fits)).toMatchObject({
          ...{ source: family.server, destination: family.lb, destinationPort: lport, udpChecksum: 'good' },
        });
      }),
    );

    it('a socket that does not mind: its datagrams are cut to fit', () =>
      served(family, steering, { mayFragment: true }, async ({ stage, sender, narrow, lport }) => {
        const from = stage.wire.now;
        await sender.send(1500 - headers);
        await narrow(await packet(stage, 1500, from));
        await eventually('the kernel knows', async () => (await sender.send(1)).mtu === NARROW || undefined);
        const cut = stage.wire.now;
        expect(await sender.send(3000)).toMatchObject({ error: null });
        const whole = await stage.wire.event('the whole datagram', ({ event }) => event === 'datagram', cut);
        expect(whole).toMatchObject({ destination: family.lb, destinationPort: lport, udpLength: 3008 });
        const pieces = stage.wire.events.slice(cut).filter(({ event }) => event === 'packet');
        expect(Math.max(...pieces.map(({ bytes }) => bytes))).toBeLessThanOrEqual(NARROW);
      }));

    it('an error that quotes nothing of ours changes nothing', () =>
      served(family, steering, {}, async ({ stage, sender, narrow }) => {
        const from = stage.wire.now;
        await sender.send(1500 - headers);
        const seen = await packet(stage, 1500, from);
        // Another port: no flow has it.
        const port = 2 * (headers - 8 + 2);
        await narrow({ ...seen, hex: `${seen.hex.slice(0, port)}0001${seen.hex.slice(port + 4)}` });
        const { lb } = stage.lab;
        expect((await lb.run(['ping', '-c', '1', '-W', '5', family.server])).code).toBe(0);
        expect(await sender.send(1500 - headers)).toMatchObject({ error: null, mtu: 1500 });
      }));
  });
});
