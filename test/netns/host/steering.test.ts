/**
 * The two ways in, and what has to hold on both: errors in the other end's terms, fragments in any order. And what
 * only nft-ingress can do.
 *
 *   LB namespace (wire.py)         RS namespace
 *     10.99.1.1 LIP     eth0 ---- eth0 10.99.1.2 RIP:7000 echo, 7001 nobody
 *     10.99.1.7 DIRECT
 */
import { describe, expect, it } from 'vitest';
import { App, pattern } from '../../support/apps.js';
import { DIRECT, Lab, LIP, missing, RIP } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { Shim } from '../../support/shim.js';
import { mark, type PacketSpec, text, Wire } from '../../support/wire.js';

const CLIENT = '198.51.100.7:5555';
const SERVICES = [{ address: RIP, port: '7000-7001' }];

type Steering = 'policy-routing' | 'nft-ingress';

interface Stage {
  lab: Lab;
  wire: Wire;
  app: App;
  shim: Shim;
  /** Sends a datagram; whom the application saw. Its echo has come back, too. */
  exchange(packet: PacketSpec & { payload: string }): Promise<string>;
}

async function on(steering: Steering, act: (stage: Stage) => Promise<void>): Promise<void> {
  const lab = await Lab.create({});
  const shim = new Shim(lab.rs, { services: SERVICES, routing: { steering } });
  try {
    const [wire, app] = [await Wire.besideLab(lab), await App.start(lab.rs, 'echo', 7000)];
    const exchange: Stage['exchange'] = async packet => {
      const from = wire.now;
      await wire.send(packet);
      const { client } = await app.got(packet.payload);
      await wire.answer(packet.payload, from);
      return client;
    };
    await act({ lab, wire, app, shim, exchange });
  } finally {
    await shim.dispose();
    await lab.delete();
  }
}

describe.skipIf(missing() !== undefined)('steering', () => {
  describe.each<Steering>(['policy-routing', 'nft-ingress'])('by %s', steering => {
    it('both carriers, later packets, direct clients', () =>
      on(steering, async ({ shim, exchange }) => {
        await shim.start();
        expect((await shim.status()).steering).toBe(steering);
        for (const [i, carrier] of (['ipo', 'opp'] as const).entries()) {
          const sourcePort = 40001 + i;
          const first = { sourcePort, payload: text(`first ${carrier}`), mark: mark(CLIENT, carrier) };
          expect(await exchange(first)).toBe(CLIENT);
          expect(await exchange({ sourcePort, payload: text(`second ${carrier}`) })).toBe(CLIENT);
        }
        expect(await exchange({ source: DIRECT, sourcePort: 4444, payload: text('direct') })).toBe(
          `${DIRECT}:4444`,
        );
        expect(await shim.stats()).toMatchObject({ uoa_got: 2, uoa_none: 2, uoa_ack_sent: 2, uoa_miss: 0 });
      }));

    it.each([
      ['in order', [0, 1, 2, 3]],
      ['reversed', [3, 2, 1, 0]],
      ['the first one third', [2, 1, 0, 3]],
    ])('a datagram in fragments, %s', (_, fragmentOrder) =>
      on(steering, async ({ shim, exchange }) => {
        await shim.start();
        const sourcePort = 40010;
        const fragments = { sourcePort, fragmentAt: 1472, fragmentOrder };
        const marked = { ...fragments, payload: pattern(5000), identification: 77, mark: mark(CLIENT) };
        expect(await exchange(marked)).toBe(CLIENT);
        expect(await exchange({ ...fragments, payload: pattern(5001), identification: 78 })).toBe(CLIENT);
        expect((await shim.stats()).fragments_dropped).toBe(0);
      }),
    );

    it('a fragment lost, and many without a first one: the others go on', () =>
      on(steering, async ({ shim, wire, exchange }) => {
        await shim.start();
        const torn = Array.from({ length: 400 }, (_, i) => ({
          ...{ payload: pattern(3000), fragmentAt: 1472, fragmentOrder: [1], identification: 1000 + i },
        }));
        await wire.send(...torn);
        expect(await exchange({ payload: text('after it'), mark: mark(CLIENT) })).toBe(CLIENT);
        const stats = await shim.stats();
        expect(stats.fragments_held + stats.fragments_dropped).toBeGreaterThanOrEqual(400);
      }));

    it('a closed port is refused in the load balancer’s terms', () =>
      on(steering, async ({ shim, wire }) => {
        await shim.start();
        const from = wire.now;
        const sent = {
          sourcePort: 40020,
          destinationPort: 7001,
          payload: text('anybody?'),
          mark: mark(CLIENT),
        };
        await wire.send(sent);
        const refused = await wire.event('an ICMP error', ({ protocol }) => protocol === 1, from);
        expect(refused).toMatchObject({ source: RIP, destination: LIP, headerChecksumGood: true });
        // Type 3, code 3; behind 8 bytes of ICMP the datagram that it is about, without its mark.
        const icmp = refused.hex.slice(40);
        expect(icmp.slice(0, 4)).toBe('0303');
        const ends = ['0a630101', '0a630102', '9c54', '1b59'];
        expect([icmp.slice(40, 48), icmp.slice(48, 56), icmp.slice(56, 60), icmp.slice(60, 64)]).toEqual(
          ends,
        );
        expect(sumOf(icmp)).toBe(0xffff);
        expect(sumOf(icmp.slice(16, 56))).toBe(0xffff);
        expect((await shim.stats()).icmp_translated).toBe(1);
      }));

    it('ping goes through as ever', () =>
      on(steering, async ({ lab, shim }) => {
        await shim.start();
        const { code } = await lab.lb.run(['ping', '-c', '2', '-W', '5', '-I', LIP, RIP]);
        expect(code).toBe(0);
      }));
  });

  it('nft-ingress passes a FORWARD policy of drop and a firewall that lets nobody in on eth0', () =>
    on('nft-ingress', async ({ lab, shim, exchange }) => {
      for (const rule of [
        '-P FORWARD DROP',
        '-A INPUT -i eth0 -p udp -j DROP',
        '-A INPUT -i eth0 -p 248 -j DROP',
      ])
        await lab.rs.must(['iptables', ...rule.split(' ')]);
      await shim.start();
      expect((await shim.status()).warnings).toEqual([]);
      for (const [i, carrier] of (['ipo', 'opp'] as const).entries())
        expect(
          await exchange({ sourcePort: 40001 + i, payload: text(carrier), mark: mark(CLIENT, carrier) }),
        ).toBe(CLIENT);
    }));

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'nft-ingress after %s: plain UDP goes on, and all is as it was',
    signal =>
      on('nft-ingress', async ({ lab, shim, exchange }) => {
        const host = async () => ({
          ...(await lab.rs.snapshot()),
          nft: await lab.rs.must(['nft', 'list', 'ruleset']),
        });
        const before = await host();
        await shim.start();
        expect(await lab.rs.ip('rule show')).toMatch(/^0:\s+from all lookup local/);
        expect(await lab.rs.sysctl('net.ipv4.conf.eth0.forwarding')).toBe('0');
        expect(await exchange({ sourcePort: 40001, payload: text('with'), mark: mark(CLIENT) })).toBe(CLIENT);
        await shim.stop(signal);
        expect(await exchange({ sourcePort: 40002, payload: text('without') })).toBe(`${LIP}:40002`);
        await eventually('the table has gone with it', async () => {
          return (await lab.rs.must(['nft', 'list', 'ruleset'])) === before.nft || undefined;
        });
        if (signal === 'SIGKILL') expect((await shim.cli('cleanup')).code).toBe(0);
        expect(await host()).toEqual(before);
      }),
  );
});

/** The ones-complement sum of bytes in hex: 0xffff where a checksum in them is right. */
function sumOf(hex: string): number {
  let sum = 0;
  for (let i = 0; i < hex.length; i += 4) sum += Number.parseInt(hex.slice(i, i + 4).padEnd(4, '0'), 16);
  while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff);
  return sum;
}
