/**
 * What UDP can do, on either end: none of it is worse for the TUN on its way.
 *
 *   LB namespace (wire.py)         RS namespace
 *     10.99.1.1 LIP     eth0 ---- eth0 10.99.1.2 RIP, .20 RIP_2: features.py, on a port for each test
 *     10.99.1.7 DIRECT            uoa0
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { App, pattern } from '../../support/apps.js';
import { type Bench, useBench } from '../../support/bench.js';
import { Features } from '../../support/features.js';
import { freshPort, freshText } from '../../support/fresh.js';
import { BROADCAST, DIRECT, LIP, missing, type Namespace, RIP, RIP_2, RS_MAC } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { STEERINGS } from '../../support/stage.js';
import { mark, type PacketSpec, type Seen, Wire } from '../../support/wire.js';

const GROUP = '239.1.2.3';
const SERVICES = [RIP, RIP_2].map(address => ({ address, port: '7000-7099' }));

let lastPort = 7000;
const servicePort = () => ++lastPort;

let lastClient = 0;
const freshClient = () => `198.51.100.${1 + (++lastClient % 250)}:${1024 + lastClient}`;

describe.skipIf(missing() !== undefined).each(STEERINGS)('UDP, by %s', steering => {
  const bench: Bench = useBench({ shim: { routing: { steering }, services: SERVICES } });

  interface Flow {
    client: string;
    sourcePort: number;
    destinationPort: number;
  }

  const flowTo = (destinationPort: number): Flow => ({
    ...{ client: freshClient(), sourcePort: freshPort(), destinationPort },
  });

  /** Sends a datagram of a flow, the first one with a mark; the answer with its payload. */
  async function exchange({ client, ...ends }: Flow, spec: PacketSpec, isFirst: boolean): Promise<Seen> {
    const { wire } = bench;
    const payload = spec.payload ?? freshText();
    const from = wire.now;
    await wire.send({ ...ends, payload, ...spec, ...(isFirst && { mark: mark(client) }) });
    return wire.answer(payload, from);
  }

  /** Sends what no answer is awaited for. */
  const tell = (app: Features, { client, ...ends }: Flow, isFirst: boolean) => {
    const payload = freshText();
    const from = app.now;
    return bench.wire
      .send({ ...ends, payload, ...(isFirst && { mark: mark(client) }) })
      .then(() => app.got(payload, from));
  };

  // ---- headers -----------------------------------------------------------------------------------------------

  it('datagrams without a checksum have none afterwards, both ways', async () => {
    const port = servicePort();
    await Features.serve(bench.lab.rs, port, '--no-checksum');
    const flow = flowTo(port);
    for (const isFirst of [true, false]) {
      const answer = await exchange(flow, { checksum: 'zero' }, isFirst);
      expect(answer).toMatchObject({ udpChecksum: 'zero', destinationPort: flow.sourcePort });
    }
    // On the way in, as a packet socket on the TUN sees it.
    const tap = await Wire.start(bench.lab.rs, '00:00:00:00:00:00', ['--interface', 'uoa0', '--all']);
    const [address] = flow.client.split(':');
    for (const checksum of ['zero', 'good'] as const) {
      const [payload, from] = [freshText(), tap.now];
      await exchange(flow, { checksum, payload }, false);
      const delivered = await tap.event(
        'the datagram on its way to the socket',
        seen => seen.payload === payload && seen.source === address,
        from,
      );
      expect(delivered).toMatchObject({ udpChecksum: checksum, headerChecksumGood: true });
    }
    await tap.end();
  });

  it.each([
    ['every ECN codepoint', [0, 1, 2, 3]],
    ['DSCP with ECN', [0xb8, 0xb9, 0xba, 0xbb, 0xfc, 0xff]],
  ])('the TOS of a datagram stays: %s', async (_, values) => {
    const port = servicePort();
    const app = await Features.serve(bench.lab.rs, port);
    for (const tos of values) {
      const flow = flowTo(port);
      for (const isFirst of [true, false]) {
        const payload = freshText();
        await exchange(flow, { payload, tos }, isFirst);
        expect(await app.got(payload)).toMatchObject({ tos, client: flow.client });
      }
    }
  });

  it.each([0x02, 0xb9, 0xff])('TOS %i, TTL and DF of an answer stay', async tos => {
    for (const [discover, dontFragment] of [
      [0, false], // IP_PMTUDISC_DONT
      [2, true], // IP_PMTUDISC_DO
    ] as const)
      for (const ttl of [1, 37, 255]) {
        const port = servicePort();
        const options = ['--tos', tos, '--ttl', ttl, '--discover', discover];
        const app = await Features.serve(bench.lab.rs, port, ...options);
        const flow = flowTo(port);
        for (const isFirst of [true, false])
          expect(await exchange(flow, {}, isFirst)).toMatchObject({ tos, ttl, dontFragment });
        const direct = { source: DIRECT, sourcePort: freshPort(), destinationPort: port };
        const [payload, from] = [freshText(), bench.wire.now];
        await bench.wire.send({ ...direct, payload });
        expect(await bench.wire.answer(payload, from)).toMatchObject({ tos, ttl, dontFragment });
        await app.end();
      }
  });

  it('the socket refuses an answer that is too long and may not be cut', async () => {
    const port = servicePort();
    const app = await Features.serve(bench.lab.rs, port, '--discover', 2, '--answer', 1473);
    await tell(app, flowTo(port), true);
    expect((await app.event('EMSGSIZE', ({ event }) => event === 'refused')).error).toBe('EMSGSIZE');
  });

  // ---- segments ----------------------------------------------------------------------------------------------

  /** Datagrams that came for a port, in order, until they hold so many bytes. */
  async function pieces(port: number, bytes: number, from: number): Promise<Seen[]> {
    const { wire } = bench;
    return eventually(`${bytes} bytes for port ${port}`, () => {
      const seen = wire.since(from).filter(each => each.destinationPort === port && !each.mark);
      const length = seen.reduce((sum, { payload = '' }) => sum + payload.length / 2, 0);
      return length >= bytes ? seen : undefined;
    });
  }

  it.each([
    ['2 of 1472', 2944, 1472],
    ['40 of 1400 and a rest', 56_111, 1400],
    ['60 of 1', 60, 1],
  ])('an answer by UDP_SEGMENT arrives in its pieces, in order: %s', async (_, bytes, segment) => {
    const port = servicePort();
    const app = await Features.serve(bench.lab.rs, port, '--answer', bytes, '--segment', segment);
    const flow = flowTo(port);
    for (const isFirst of [true, false]) {
      const from = bench.wire.now;
      await tell(app, flow, isFirst);
      const seen = await pieces(flow.sourcePort, bytes, from);
      expect(seen.map(({ payload }) => payload).join('')).toBe(pattern(bytes));
      const whole = Math.floor(bytes / segment);
      const sizes = [...Array<number>(whole).fill(segment), ...(bytes % segment ? [bytes % segment] : [])];
      expect(seen.map(({ payload = '' }) => payload.length / 2)).toEqual(sizes);
      for (const piece of seen)
        expect(piece).toMatchObject({
          ...{ source: RIP, sourcePort: port, destination: LIP },
          ...{ udpChecksum: 'good', headerChecksumGood: true },
        });
    }
    expect(app.events.filter(({ event }) => event === 'refused')).toEqual([]);
  });

  describe.each([
    ['off', false],
    ['on', true],
  ])('with the cards’ offloads %s', (_, isOn) => {
    const setOffloads = async (state: 'on' | 'off') => {
      for (const side of [bench.lab.lb, bench.lab.rs]) {
        await side.must(['ethtool', '-K', 'eth0', 'tx', state, 'rx', state, 'tso', state]);
        // A kernel need not have each of them for such a card.
        for (const feature of ['gso', 'gro', 'tx-udp-segmentation', 'rx-udp-gro-forwarding'])
          await side.run(['ethtool', '-K', 'eth0', feature, state]);
      }
    };
    beforeAll(() => setOffloads(isOn ? 'on' : 'off'));
    afterAll(() => setOffloads('off'));

    it.each([
      ['recvfrom', [], undefined],
      ['UDP_GRO', ['--gro'], undefined],
      ['recvmmsg', ['--many'], undefined],
    ])('datagrams sent by UDP_SEGMENT arrive, all and in order, at %s', async (_, options) => {
      const port = servicePort();
      const app = await Features.serve(bench.lab.rs, port, ...options);
      const flow = flowTo(port);
      await tell(app, flow, true);
      const bytes = 30_100;
      const packets = await packetsInto(bench.lab.rs);
      const from = app.datagrams.length;
      await Features.send(bench.lab.lb, [LIP, flow.sourcePort], [RIP, port], bytes, 1000);
      await eventually('all of it arrived', () => {
        const length = app.datagrams.slice(from).reduce((sum, { payload }) => sum + payload.length / 2, 0);
        return length >= bytes || undefined;
      });
      const seen = app.datagrams.slice(from);
      expect(seen.map(({ payload }) => payload).join('')).toBe(pattern(bytes));
      expect(seen.flatMap(each => each.pieces)).toEqual([...Array<number>(30).fill(1000), 100]);
      expect(new Set(seen.map(({ client }) => client))).toEqual(new Set([flow.client]));
      // Over the wire it came as this is about: in pieces, or in fewer and larger packets than those.
      expect((await packetsInto(bench.lab.rs)) - packets < 31).toBe(isOn);
    });

    it('a datagram whose checksum is left to the card has a right one, cut or whole', async () => {
      const port = servicePort();
      const app = await Features.serve(bench.lab.rs, port);
      const flow = flowTo(port);
      await exchange(flow, {}, true);
      for (const bytes of [1, 1472, 5000]) {
        const from = app.now;
        await Features.send(bench.lab.lb, [LIP, flow.sourcePort], [RIP, port], bytes, 0);
        expect((await app.got(pattern(bytes), from)).client).toBe(flow.client);
      }
    });
  });

  // ---- what sockets can ask ------------------------------------------------------------------------------------

  /** What an application sees of a datagram to `destination`, marked or of somebody without a load balancer. */
  async function seenBy(app: Features, packet: PacketSpec): Promise<Partial<Features['events'][number]>> {
    const payload = freshText();
    const from = app.now;
    await bench.wire.send({ sourcePort: freshPort(), ...packet, payload });
    return app.got(payload, from);
  }

  it('IP_PKTINFO, IP_RECVTTL and IP_RECVORIGDSTADDR are the datagram’s own, but for the interface', async () => {
    const port = servicePort();
    const app = await Features.serve(bench.lab.rs, port);
    for (const destination of [RIP, RIP_2]) {
      const own = { local: destination, asked: destination, original: `${destination}:${port}`, ttl: 33 };
      const packet = { destination, destinationPort: port, ttl: 33 };
      for (const carrier of ['ipo', 'opp'] as const)
        expect(await seenBy(app, { ...packet, mark: mark(freshClient(), carrier) })).toMatchObject({
          ...own,
          interface: 'uoa0',
        });
      expect(await seenBy(app, packet)).toMatchObject({ ...own, interface: 'uoa0' });
      expect(await seenBy(app, { ...packet, source: DIRECT })).toMatchObject({ ...own, interface: 'eth0' });
    }
  });

  it.each([
    ['the address that was asked', ['--from', RIP_2]],
    ['that and no interface', ['--interface', '', '--from', RIP_2]],
    ['that and the TUN', ['--interface', 'uoa0', '--from', RIP_2]],
  ])('an answer with IP_PKTINFO arrives at the load balancer: %s', async (_, options) => {
    const port = servicePort();
    await Features.serve(bench.lab.rs, port, ...options);
    const flow = flowTo(port);
    for (const isFirst of [true, false])
      expect(await exchange(flow, { destination: RIP_2 }, isFirst)).toMatchObject({
        ...{ source: RIP_2, sourcePort: port, destination: LIP, destinationPort: flow.sourcePort },
        udpChecksum: 'good',
      });
  });

  it('an answer with IP_PKTINFO naming eth0 bypasses the TUN, to the client itself', async () => {
    const port = servicePort();
    await Features.serve(bench.lab.rs, port, '--interface', 'eth0', '--from', RIP);
    const flow = flowTo(port);
    const answer = await exchange(flow, {}, true);
    expect(`${answer.destination}:${answer.destinationPort}`).toBe(flow.client);
    expect(answer.source).toBe(RIP);
  });

  it('a socket bound to eth0 gets direct clients, one bound to uoa0 the load balancers’', async () => {
    const port = servicePort();
    const { rs } = bench.lab;
    const reuse = ['--reuseport', '--device'];
    const eth0 = await Features.serve(rs, port, ...reuse, 'eth0', '--label', 'eth0');
    const direct = { source: DIRECT, destinationPort: port };
    expect(await seenBy(eth0, direct)).toMatchObject({ label: 'eth0' });
    // Alone, it has nothing of the load balancer's: the host refuses that.
    const from = bench.wire.now;
    const lost = { payload: freshText(), mark: mark(freshClient()) };
    await bench.wire.send({ destinationPort: port, sourcePort: freshPort(), ...lost });
    await bench.wire.event('port unreachable', ({ protocol }) => protocol === 1, from);
    expect(eth0.datagrams).toHaveLength(1);

    const uoa0 = await Features.serve(rs, port, ...reuse, 'uoa0', '--label', 'uoa0');
    const flow = flowTo(port);
    for (const isFirst of [true, false])
      expect(await exchange(flow, {}, isFirst)).toMatchObject({
        ...{ source: RIP, destination: LIP, destinationPort: flow.sourcePort },
      });
    // Its answers may be here before its own word of them.
    await eventually('it has told of both', () => uoa0.datagrams.length >= 2 || undefined);
    expect(uoa0.datagrams.map(({ client, label }) => [client, label])).toEqual([
      [flow.client, 'uoa0'],
      [flow.client, 'uoa0'],
    ]);
    expect(await seenBy(eth0, direct)).toMatchObject({ label: 'eth0' });
    expect(eth0.datagrams).toHaveLength(2);
  });

  it('a connected socket gets its client’s datagrams, and its answers arrive', async () => {
    const port = servicePort();
    const app = await App.start(bench.lab.rs, 'connected', port);
    const flows = [flowTo(port), flowTo(port), flowTo(port)];
    for (const isFirst of [true, false, false])
      for (const flow of flows)
        expect(await exchange(flow, {}, isFirst)).toMatchObject({ destinationPort: flow.sourcePort });
    // An answer may be here before the application's own word of it.
    const seen = await eventually('the application has told of all', () => {
      const told = app.events.filter(({ event }) => event === 'datagram');
      return told.length >= 9 ? told : undefined;
    });
    expect(seen.map(({ client, socket }) => `${client} ${socket}`)).toEqual(
      ['wildcard', 'connected', 'connected'].flatMap(socket =>
        flows.map(({ client }) => `${client} ${socket}`),
      ),
    );
  });

  it('SO_REUSEPORT spreads clients over sockets, and each stays with its own', async () => {
    const port = servicePort();
    const labels = ['a', 'b', 'c', 'd'];
    const group = await Promise.all(
      labels.map(label => Features.serve(bench.lab.rs, port, '--reuseport', '--label', label)),
    );
    // One port of the load balancer's after the other: without the client all that differs is that.
    const flows = Array.from({ length: 32 }, () => flowTo(port));
    for (const isFirst of [true, false, false]) for (const flow of flows) await exchange(flow, {}, isFirst);
    const seen = group.flatMap(app => app.datagrams);
    expect(seen).toHaveLength(3 * flows.length);
    for (const { client } of flows)
      expect(new Set(seen.filter(each => each.client === client).map(({ label }) => label)).size).toBe(1);
    // That all 32 fall to one socket happens once in 4 ** 31.
    expect(new Set(seen.map(({ label }) => label)).size).toBeGreaterThan(1);
  });

  it('a burst by recvmmsg and sendmmsg is answered whole and in order', async () => {
    const port = servicePort();
    const app = await Features.serve(bench.lab.rs, port, '--many');
    const { client, ...ends } = flowTo(port);
    const payloads = Array.from({ length: 64 }, () => freshText());
    const from = bench.wire.now;
    await bench.wire.send(
      ...payloads.map((payload, i) => ({ ...ends, payload, ...(i === 0 && { mark: mark(client) }) })),
    );
    await bench.wire.answer(payloads[63], from);
    expect(app.datagrams.map(({ payload }) => payload)).toEqual(payloads);
    expect(new Set(app.datagrams.map(each => each.client))).toEqual(new Set([client]));
    const answers = bench.wire
      .since(from)
      .filter(seen => !seen.mark && seen.destinationPort === ends.sourcePort);
    expect(answers.map(({ payload }) => payload)).toEqual(payloads);
  });

  // ---- multicast and broadcast -------------------------------------------------------------------------------

  it('multicast and broadcast bypass the shim, even from a load balancer', async () => {
    const port = servicePort();
    const app = await Features.serve(bench.lab.rs, port, '--group', GROUP);
    const counted = await bench.shim.counted(async () => {
      for (const source of [LIP, DIRECT])
        for (const destination of [GROUP, BROADCAST, '255.255.255.255']) {
          const sourcePort = freshPort();
          const packet = { source, sourcePort, destination, destinationPort: port };
          expect(await seenBy(app, packet)).toMatchObject({
            ...{ client: `${source}:${sourcePort}`, interface: 'eth0', asked: destination },
          });
        }
    });
    expect(Object.keys(counted).filter(name => name !== 'replies_passed')).toEqual([]);
  });

  it.each([GROUP, BROADCAST, '255.255.255.255'])(
    'the service’s own datagrams to %s leave the host',
    async address => {
      const all = await Wire.start(bench.lab.lb, RS_MAC, ['--all']);
      const [port, what] = [servicePort(), freshText()];
      await sendFrom(bench.lab.rs, port, address, what);
      const seen = await all.event('it', ({ payload }) => payload === what);
      expect(seen).toMatchObject({
        source: RIP,
        destination: address,
        sourcePort: port,
        udpChecksum: 'good',
      });
      await all.end();
    },
  );
});

/** How many packets eth0 has received, a large one that is yet to be cut as one. */
async function packetsInto(rs: Namespace): Promise<number> {
  const [link] = JSON.parse(await rs.ip('-j -s link show dev eth0')) as {
    stats64: { rx: { packets: number } };
  }[];
  return link.stats64.rx.packets;
}

/** A datagram out of the RS, payload in hex. */
async function sendFrom(rs: Namespace, port: number, address: string, what: string): Promise<void> {
  const script = `
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", ${port}))
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.sendto(bytes.fromhex("${what}"), ("${address}", 9))
`;
  await rs.must(['python3', '-c', script]);
}
