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
import { useBench } from '../../support/bench.js';
import { freshPort } from '../../support/fresh.js';
import { DIRECT, LIP, missing, RIP } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { CLIENT, exchange, STEERINGS, Stage } from '../../support/stage.js';
import { mark, type PacketSpec, text } from '../../support/wire.js';

describe.skipIf(missing() !== undefined).each(STEERINGS)('steering by %s', steering => {
  let app: App;
  const bench = useBench({
    shim: { services: [{ address: RIP, port: '7000-7001' }], routing: { steering } },
    prepare: async ({ lab }) => {
      app = await App.start(lab.rs, 'echo', 7000);
    },
  });

  /** Whom the application sees; the echo has come back, too. */
  const clientOf = async (packet: PacketSpec) => (await exchange({ ...bench, app }, packet)).client;

  it('marks of both carriers, later packets and direct clients show the right client', async () => {
    const { shim } = bench;
    expect((await shim.status()).steering).toBe(steering);
    const counted = await shim.counted(async () => {
      for (const carrier of ['ipo', 'opp'] as const) {
        const sourcePort = freshPort();
        expect(await clientOf({ sourcePort, mark: mark(CLIENT, carrier) })).toBe(CLIENT);
        expect(await clientOf({ sourcePort })).toBe(CLIENT);
      }
      expect(await clientOf({ source: DIRECT, sourcePort: 4444 })).toBe(`${DIRECT}:4444`);
    });
    expect(counted).toMatchObject({ uoa_got: 2, uoa_none: 2, uoa_ack_sent: 2 });
    expect(counted.uoa_miss).toBeUndefined();
  });

  it.each([
    ['in order', [0, 1, 2, 3]],
    ['reversed', [3, 2, 1, 0]],
    ['the first one third', [2, 1, 0, 3]],
  ])('a datagram in fragments shows the client: %s', async (_, fragmentOrder) => {
    const fragments = { sourcePort: freshPort(), fragmentAt: 1472, fragmentOrder };
    const counted = await bench.shim.counted(async () => {
      const marked = { ...fragments, payload: pattern(5000), mark: mark(CLIENT) };
      expect(await clientOf({ ...marked, identification: freshPort() })).toBe(CLIENT);
      const later = { ...fragments, payload: pattern(5001) };
      expect(await clientOf({ ...later, identification: freshPort() })).toBe(CLIENT);
    });
    expect(counted.fragments_dropped).toBeUndefined();
  });

  it('400 fragments without a first one hold up no other datagram', async () => {
    const torn = Array.from({ length: 400 }, (_, i) => ({
      ...{ payload: pattern(3000), fragmentAt: 1472, fragmentOrder: [1], identification: 1000 + i },
    }));
    const { fragments_held = 0, fragments_dropped = 0 } = await bench.shim.counted(async () => {
      await bench.wire.send(...torn);
      expect(await clientOf({ mark: mark(CLIENT) })).toBe(CLIENT);
    });
    expect(fragments_held + fragments_dropped).toBeGreaterThanOrEqual(400);
  });

  it('a closed port is refused in the load balancer’s terms', async () => {
    const { shim, wire } = bench;
    const from = wire.now;
    const sent = { sourcePort: 40020, destinationPort: 7001, payload: text('anybody?'), mark: mark(CLIENT) };
    const counted = await shim.counted(async () => {
      await wire.send(sent);
      await wire.event('an ICMP error', ({ protocol }) => protocol === 1, from);
    });
    expect(counted.icmp_translated).toBe(1);
    const refused = wire.events.slice(from).find(({ protocol }) => protocol === 1);
    expect(refused).toMatchObject({ source: RIP, destination: LIP, headerChecksumGood: true });
    // Type 3, code 3; behind 8 bytes of ICMP the datagram that it is about, without its mark.
    const icmp = refused?.hex.slice(40) ?? '';
    expect(icmp.slice(0, 4)).toBe('0303');
    const ends = ['0a630101', '0a630102', '9c54', '1b59'];
    expect([icmp.slice(40, 48), icmp.slice(48, 56), icmp.slice(56, 60), icmp.slice(60, 64)]).toEqual(ends);
    expect(sumOf(icmp)).toBe(0xffff);
    expect(sumOf(icmp.slice(16, 56))).toBe(0xffff);
  });

  it('ping is answered', async () => {
    const { code } = await bench.lab.lb.run(['ping', '-c', '2', '-i', '0.2', '-W', '5', '-I', LIP, RIP]);
    expect(code).toBe(0);
  });
});

describe.skipIf(missing() !== undefined).each(STEERINGS)('a reload, by %s', steering => {
  it('clients are served after a reload where every port is a service', () =>
    Stage.in(async stage => {
      const everyPort = { routing: { steering }, services: [{ address: RIP, port: 'any' }] };
      const shim = await stage.running(everyPort);
      await shim.reload(everyPort);
      await stage.serves();
      expect(await shim.status()).toMatchObject({ healthy: true, warnings: [] });
    }));
});

describe.skipIf(missing() !== undefined)('nft-ingress', () => {
  const INGRESS = { routing: { steering: 'nft-ingress' } };

  it('clients are served despite a FORWARD policy of drop and a firewall that lets nobody in by eth0', () =>
    Stage.in(async stage => {
      for (const rule of [
        '-P FORWARD DROP',
        '-A INPUT -i eth0 -p udp -j DROP',
        '-A INPUT -i eth0 -p 248 -j DROP',
      ])
        await stage.lab.rs.must(['iptables', ...rule.split(' ')]);
      const shim = await stage.running(INGRESS);
      expect((await shim.status()).warnings).toEqual([]);
      await stage.serves();
    }));

  it.each(['SIGTERM', 'SIGKILL'] as const)('after %s plain UDP arrives, and the host is as it was', signal =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      const ruleset = () => rs.must(['nft', 'list', 'ruleset']);
      const [before, rules] = [await rs.snapshot(), await ruleset()];
      const shim = await stage.running(INGRESS);
      expect(await rs.ip('rule show')).toMatch(/^0:\s+from all lookup local/);
      expect(await rs.sysctl('net.ipv4.conf.eth0.forwarding')).toBe('0');
      expect((await stage.exchange({ mark: mark(CLIENT) })).client).toBe(CLIENT);
      await shim.stop(signal);
      expect((await stage.exchange({ sourcePort: 40002 })).client).toBe(`${LIP}:40002`);
      await eventually('the table has gone with it', async () => (await ruleset()) === rules || undefined);
      if (signal === 'SIGKILL') expect((await shim.cli('cleanup')).code).toBe(0);
      expect(await rs.snapshot()).toEqual(before);
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
