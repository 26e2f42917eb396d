/**
 * What the application sends: answers by way of the load balancer, and everything else as if we weren't there.
 *
 *   LB namespace (wire.py)                          RS namespace
 *     10.99.1.1 LIP, .3 LIP_2    10.99.1.0/30   .-- uoa-shim: socket -> uoa0 -> eth0
 *     10.99.1.7 DIRECT                eth0 ---- eth0 10.99.1.2 RIP, .20 RIP_2
 *     anything else, as a router                     7000 wildcard    7001 bound      7002 connected sockets
 *                                                    7003 4000 bytes  7004 the same, bound    7005 UDP_SEGMENT
 */
import { describe, expect, it } from 'vitest';
import { App, type AppEvent, pattern } from '../../support/apps.js';
import { type Bench, useBench } from '../../support/bench.js';
import { freshPort, freshText } from '../../support/fresh.js';
import { DIRECT, type Lab, LIP, LIP_2, missing, RIP, RIP_2 } from '../../support/netns.js';
import {
  exceptIdentification,
  mark,
  type PacketSpec,
  type Seen,
  text,
  type Wire,
} from '../../support/wire.js';

const CLIENT = '198.51.100.7:5555';
/** Not on the link: answers to it go by the default route. */
const FAR = '203.0.113.9';

/** An address prefix may well hold the RS's own addresses too. */
const SHIM = {
  loadBalancers: [{ prefix: '10.99.1.0/30' }],
  services: [
    { address: RIP, port: '7000-7009' },
    { address: RIP_2, port: '7000-7009' },
  ],
};

type Apps = Record<'wildcard' | 'bound' | 'connected' | 'long' | 'longBound' | 'segments', App>;

const PORTS: Record<keyof Apps, number> = {
  wildcard: 7000,
  bound: 7001,
  connected: 7002,
  long: 7003,
  longBound: 7004,
  segments: 7005,
};

async function startApps({ rs }: Lab): Promise<Apps> {
  const [wildcard, bound, connected, long, longBound, segments] = await Promise.all([
    App.start(rs, 'echo', PORTS.wildcard),
    App.start(rs, 'echo', PORTS.bound, '--bind', RIP),
    App.start(rs, 'connected', PORTS.connected),
    App.start(rs, 'echo', PORTS.long, '--answer', 4000),
    App.start(rs, 'echo', PORTS.longBound, '--answer', 4000, '--bind', RIP),
    App.start(rs, 'echo', PORTS.segments, '--answer', 4000, '--segment', 1000),
  ]);
  return { wildcard, bound, connected, long, longBound, segments };
}

/** The datagram that came for `port` on the LB's side, made whole if it came in fragments. */
function answerTo(wire: Wire, port: number, from: number): Promise<Seen> {
  return wire.event(
    `an answer to port ${port}`,
    seen => seen.destinationPort === port && !seen.mark && !seen.fragment.more && seen.fragment.offset === 0,
    from,
  );
}

// ---- what isn't ours -------------------------------------------------------------------------------------------

/** Exchanges that a shim must not change, each as the bytes on the wire (identification left out). */
async function whatIsNotOurs({ lab, wire }: Bench, apps: Apps): Promise<Record<string, string>> {
  const outcome: Record<string, string> = {};
  let port = 42000;
  for (const [kind, destinationPort] of Object.entries(PORTS)) {
    for (const source of [DIRECT, FAR]) {
      const sourcePort = ++port;
      const from = wire.now;
      const payload = text(`direct ${kind} from ${source}`);
      await wire.send({ source, sourcePort, destinationPort, payload });
      const answer = await answerTo(wire, sourcePort, from);
      const seen = await apps[kind as keyof Apps].got(payload);
      outcome[`${kind} from ${source}`] = [
        ...[seen.client, exceptIdentification(answer.hex), String(answer.sizes)],
        ...[answer.headerChecksumGood, answer.udpChecksum],
      ].join(' ');
    }
  }
  // A load balancer may ask for itself (a health check, say), and more than once from the same port.
  for (const kind of ['wildcard', 'bound', 'connected'] as const) {
    const sourcePort = ++port;
    for (const payload of [text('one'), text('two'), text('three')]) {
      const from = wire.now;
      await wire.send({ sourcePort, destinationPort: PORTS[kind], payload });
      outcome[`${kind} from a load balancer`] = exceptIdentification(
        (await answerTo(wire, sourcePort, from)).hex,
      );
    }
  }

  for (const address of [LIP, DIRECT, FAR])
    for (const connect of [[], ['--connect']])
      outcome[`own query to ${address} ${connect}`] = await ownQuery(lab, wire, address, ++port, connect);
  for (const source of [LIP, DIRECT]) {
    outcome[`ping from ${source}`] = await ping(wire, source);
    outcome[`closed port asked from ${source}`] = await closedPort(wire, source, ++port);
  }
  return outcome;
}

/** A query of the RS's own, answered by wire.py as a name server would. */
async function ownQuery(
  { rs }: Lab,
  wire: Wire,
  address: string,
  port: number,
  more: string[],
): Promise<string> {
  const from = wire.now;
  const asking = App.query(rs, address, 53, '--payload', text('question'), '--from', String(port), ...more);
  const question = await wire.event('the question', seen => seen.sourcePort === port, from);
  await wire.send({
    ...{ source: address, sourcePort: 53, destination: question.source, destinationPort: port },
    ...{ payload: text('the answer') },
  });
  const { event, peer, payload, error }: AppEvent = await asking;
  return [event, peer, payload, error, exceptIdentification(question.hex), question.udpChecksum].join(' ');
}

async function ping(wire: Wire, source: string): Promise<string> {
  const from = wire.now;
  await wire.send({ source, protocol: 1, body: '0800f7fd00010001' });
  const answer = await wire.event(
    'an echo reply',
    ({ protocol, destination }) => protocol === 1 && destination === source,
    from,
  );
  return exceptIdentification(answer.hex);
}

/** The ICMP error for a port that nobody listens on: it holds the packet as it was sent. */
async function closedPort(wire: Wire, source: string, sourcePort: number): Promise<string> {
  const from = wire.now;
  const packet = { source, sourcePort, destinationPort: 7009, payload: text('anybody?') };
  const [sent] = await wire.send(packet);
  const error = await wire.event('port unreachable', seen => seen.hex.endsWith(sent), from);
  expect(error).toMatchObject({ protocol: 1, destination: source, headerChecksumGood: true });
  return exceptIdentification(error.hex);
}

describe.skipIf(missing() !== undefined)('replies', () => {
  let apps: Apps;
  let before: Record<string, string>;
  const bench = useBench({
    shim: SHIM,
    prepare: async bench => {
      apps = await startApps(bench.lab);
      before = await whatIsNotOurs(bench, apps);
    },
  });

  async function exchange(packet: PacketSpec): Promise<Seen> {
    const from = bench.wire.now;
    const sourcePort = packet.sourcePort ?? freshPort();
    await bench.wire.send({ payload: freshText(), ...packet, sourcePort });
    return answerTo(bench.wire, sourcePort, from);
  }

  // ---- through the load balancer -----------------------------------------------------------------------------

  describe.each(['wildcard', 'bound', 'connected'] as const)('of a %s socket', kind => {
    it('replies arrive at LIP:lport from RIP:rport, whole and once', async () => {
      const { wire } = bench;
      const sourcePort = freshPort();
      const destinationPort = PORTS[kind];
      const payloads = [freshText(), freshText(), freshText()];
      const from = wire.now;
      const fromApp = apps[kind].now;
      for (const [i, payload] of payloads.entries()) {
        const first = i === 0 ? { mark: mark(CLIENT) } : {};
        const answer = await exchange({ sourcePort, destinationPort, payload, ...first });
        expect(answer).toMatchObject({
          ...{ source: RIP, sourcePort: destinationPort, destination: LIP, destinationPort: sourcePort },
          ...{ payload, headerChecksumGood: true, udpChecksum: 'good', options: '' },
        });
      }
      expect(wire.since(from).filter(seen => !seen.mark)).toHaveLength(payloads.length);
      expect(apps[kind].clients(fromApp)).toEqual([CLIENT, CLIENT, CLIENT]);
    });
  });

  it('connected sockets get their clients’ datagrams, and reply', async () => {
    const ports = [freshPort(), freshPort()];
    const clients = ['198.51.100.20:2000', '198.51.100.21:2000'];
    const from = apps.connected.now;
    for (const [i, sourcePort] of ports.entries())
      await exchange({ sourcePort, destinationPort: PORTS.connected, mark: mark(clients[i]) });
    for (const sourcePort of ports) await exchange({ sourcePort, destinationPort: PORTS.connected });
    const seen = apps.connected.events.slice(from).map(({ client, socket }) => ({ client, socket }));
    expect(seen).toEqual([
      { client: clients[0], socket: 'wildcard' },
      { client: clients[1], socket: 'wildcard' },
      { client: clients[0], socket: 'connected' },
      { client: clients[1], socket: 'connected' },
    ]);
  });

  it('replies of a wildcard socket come from the address that was asked', async () => {
    const answer = await exchange({ destination: RIP_2, mark: mark('198.51.100.30:3000') });
    expect(answer).toMatchObject({ source: RIP_2, sourcePort: 7000, destination: LIP, udpChecksum: 'good' });
  });

  it('replies go to the flow heard last where two have the same client', async () => {
    const client = '198.51.100.40:4000';
    const [first, second] = [freshPort(), freshPort()];
    const asked: PacketSpec[] = [
      { sourcePort: first, mark: mark(client) },
      { source: LIP_2, sourcePort: second, mark: mark(client) },
      { sourcePort: first },
      { source: LIP_2, sourcePort: second },
    ];
    for (const packet of asked) {
      const answer = await exchange(packet);
      expect(answer).toMatchObject({ destination: packet.source ?? LIP });
    }
  });

  it.each(['long', 'longBound'] as const)('replies of 4000 bytes arrive whole (%s)', async kind => {
    const sourcePort = freshPort();
    for (const packet of [{ mark: mark('198.51.100.50:5000') }, {}]) {
      const answer = await exchange({ sourcePort, destinationPort: PORTS[kind], ...packet });
      expect(answer).toMatchObject({
        ...{ event: 'datagram', source: RIP, sourcePort: PORTS[kind], destination: LIP },
        ...{ payload: pattern(4000), headerChecksumGood: true, udpChecksum: 'good' },
      });
      expect(answer.sizes).toHaveLength(3);
      expect(Math.max(...(answer.sizes ?? []))).toBeLessThanOrEqual(1500);
    }
    const fragments = bench.wire.events.filter(seen => seen.event === 'packet' && seen.fragment.offset > 0);
    expect(fragments.every(seen => seen.headerChecksumGood)).toBe(true);
  });

  it('replies that the kernel cuts (UDP_SEGMENT) arrive as datagrams', async () => {
    const { wire } = bench;
    const sourcePort = freshPort();
    const from = wire.now;
    await exchange({ sourcePort, destinationPort: PORTS.segments, mark: mark('198.51.100.60:6000') });
    await wire.event('the last piece', seen => seen.payload === pattern(4000).slice(6000), from);
    const pieces = wire.since(from).filter(seen => !seen.mark);
    expect(pieces.map(seen => seen.payload).join('')).toBe(pattern(4000));
    for (const piece of pieces)
      expect(piece).toMatchObject({ destination: LIP, destinationPort: sourcePort, udpChecksum: 'good' });
  });

  // ---- datagrams that come in fragments ------------------------------------------------------------------------

  it('datagrams in fragments show the client, and are replied to', async () => {
    const sourcePort = freshPort();
    const client = '198.51.100.70:7070';
    // The mark is in the first fragment alone: option 31 is not copied.
    const specs: PacketSpec[] = [
      { mark: mark(client), identification: 1 },
      { identification: 2 },
      { identification: 3, checksum: 'zero' },
    ];
    for (const spec of specs) {
      const payload = pattern(4000 + (spec.identification ?? 0));
      const answer = await exchange({ sourcePort, payload, fragmentAt: 1472, ...spec });
      expect(await apps.wildcard.got(payload)).toMatchObject({ client });
      expect(answer).toMatchObject({ destination: LIP, payload, udpChecksum: 'good' });
    }
  });

  it('direct clients, own queries and health checks are answered as without the shim', async () => {
    const counted = await bench.shim.counted(async () => {
      expect(await whatIsNotOurs(bench, apps)).toEqual(before);
    });
    expect(Object.keys(counted).filter(name => name.startsWith('dropped'))).toEqual([]);
  });
});

describe.skipIf(missing() !== undefined)('where every port is a service', () => {
  let apps: Apps;
  let before: Record<string, string>;
  const bench = useBench({
    shim: { loadBalancers: SHIM.loadBalancers, services: [{ address: RIP, port: 'any' }] },
    prepare: async bench => {
      apps = await startApps(bench.lab);
      before = await whatIsNotOurs(bench, apps);
    },
  });

  it('direct clients, own queries and health checks are answered as without the shim', async () => {
    expect(await whatIsNotOurs(bench, apps)).toEqual(before);
  });

  it('replies arrive at the client’s flow, whichever port it asked', async () => {
    for (const kind of ['wildcard', 'bound', 'connected'] as const) {
      const { wire } = bench;
      const sourcePort = freshPort();
      const from = wire.now;
      await wire.send({ sourcePort, destinationPort: PORTS[kind], payload: freshText(), mark: mark(CLIENT) });
      const answer = await answerTo(wire, sourcePort, from);
      expect(answer).toMatchObject({
        source: RIP,
        sourcePort: PORTS[kind],
        destination: LIP,
        udpChecksum: 'good',
      });
    }
  });
});

// ---- a link with larger packets ------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined)('replies on a link with an MTU of 9000', () => {
  let app: App;
  const bench = useBench({
    lab: { mtu: 9000 },
    prepare: async ({ lab }) => {
      app = await App.start(lab.rs, 'echo', 7000);
    },
  });

  it.each([true, false])('replies are as large as the link allows (dontFragment %s)', async dontFragment => {
    const { wire } = bench;
    const sourcePort = freshPort();
    const from = wire.now;
    const payload = pattern(8000 + Number(dontFragment));
    await wire.send({ sourcePort, payload, dontFragment, mark: mark(CLIENT) });
    expect(await app.got(payload)).toMatchObject({ client: CLIENT });
    const answer = await wire.answer(payload, from);
    expect(answer).toMatchObject({ event: 'packet', destinationPort: sourcePort, udpChecksum: 'good' });
    expect(answer.fragment).toEqual({ more: false, offset: 0 });
  });
});
