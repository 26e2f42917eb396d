/**
 * The load balancer forwards what it balances, and nothing else: it makes no router of a host that is none, and leaves
 * one as it is.
 *
 *   clients, wire.py            LB: nftables and uoa-shim, an echo on 7777     RS 1 and 2: uoa-shim, echo on 7000
 *   203.0.113.1 ... .200 ----- eth0 198.51.100.10    eth1 10.10.2.1 ---+---- 10.10.2.2, and behind it 10.20.0.1
 *   2001:db8:71::1 ... ::c8         2001:db8:64::10    fd00:10:2::1    |     fd00:10:2::2             fd00:20::1
 *                                                                      `---- 10.10.2.3, fd00:10:2::3
 */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { App } from '../../support/apps.js';
import { said, useLbBench } from '../../support/lb-bench.js';
import {
  canForceForwarding,
  client,
  client6,
  intoTun,
  LB_CLIENTS_MAC,
  PORT,
  TARGET,
  TARGET6,
} from '../../support/lb-lab.js';
import { addressOf, SIDES } from '../../support/lb-sides.js';
import { missing } from '../../support/netns.js';
import { endpoint, mark, type Seen, text, Wire } from '../../support/wire.js';

const hasForce = canForceForwarding();

const FAMILIES = {
  4: {
    client: client(3),
    behind: '10.20.0.1',
    length: 32,
    clients: '203.0.113.0/24',
    somebodyElse: '192.0.2.9:9',
    icmp: 1,
    ping: '0800f7ff00000000',
    any: '0.0.0.0',
    /** Makes a router of the host, and of one of its interfaces. */
    router: ['net.ipv4.conf.eth0.forwarding', 'net.ipv4.conf.eth1.forwarding'],
    by: (name: string) => `net.ipv4.conf.${name}.forwarding`,
  },
  6: {
    client: client6(3),
    behind: 'fd00:20::1',
    length: 128,
    clients: '2001:db8:71::/64',
    somebodyElse: '[2001:db8::9]:9',
    icmp: 58,
    ping: '8000f7ff00000000',
    any: '::',
    router: ['net.ipv6.conf.all.forwarding'],
    by: (name: string) => `net.ipv6.conf.${name}.force_forwarding`,
  },
} as const;

const TCP_SYN = `9c401b58${'00'.repeat(8)}50020400${'00'.repeat(4)}`;

/** Carriers make no difference here. */
const ONE_EACH = SIDES.filter(({ family, carrier }) => carrier !== 'opp' && (family === 4 || hasForce));

describe.skipIf(missing() !== undefined).each(ONE_EACH)('forwarding by IPv$family', side => {
  const { family, vip, lips, rips, carriers } = side;
  const {
    client: source,
    behind,
    length,
    clients,
    somebodyElse,
    icmp,
    ping,
    any,
    router,
    by,
  } = FAMILIES[family];
  const bench = useLbBench({ lab: { ipv6: family === 6 }, stopped: true });
  const freshClient = () => side.freshClient(bench);
  let before: string[];
  let behindClients: Wire;
  /** An application on the LB itself. */
  let local: App;

  beforeAll(async () => {
    const { lab } = bench;
    await lab.rs[0].ip(`address add ${behind}/${length} dev lo`);
    await lab.lb.ip(`-${family} route add ${behind}/${length} via ${rips[0]}`);
    for (const rs of lab.rs) await rs.ip(`-${family} route add ${clients} via ${lips[0]}`);
    behindClients = await Wire.start(lab.clients, LB_CLIENTS_MAC);
    local = await App.start(lab.lb, 'echo', 7777, '--bind', any);
    before = await lab.snapshot();
  });
  afterEach(async () => {
    await bench.shim.clear();
  });

  /** Flows of each family that there is to both RS, a few datagrams each; the applications see the clients. */
  async function serves(): Promise<void> {
    const talks: [string, () => string][] = [[TARGET, () => bench.freshClient()]];
    if (family === 6) talks.push([TARGET6, () => bench.freshClient6()]);
    for (const [target, fresh] of talks) {
      const from = bench.now;
      const talk = await bench.clients.talk([fresh(), fresh()], target, { rounds: 5 });
      expect(talk).toEqual({ sent: 10, answered: 10, lost: [] });
      const received = await bench.receivedByAll(from);
      expect(received).toHaveLength(10);
      for (const { client: seen, payload } of received) expect(said(payload).split(' ')[0]).toBe(seen);
    }
  }

  /** Whatever may want to pass through the LB that isn't balanced: the sources of what did, by direction. */
  async function passing(): Promise<{ in: string[]; out: string[] }> {
    const [first, second] = bench.wires;
    const from = [first.now, second.now, behindClients.now];
    const payload = text('through');
    const marks = carriers.map(kind => ({ mark: mark(somebodyElse, kind) }));
    for (const destination of [behind, ...rips]) {
      const packet = { source, destination, destinationPort: PORT, payload };
      await behindClients.send(
        packet,
        ...marks.map(marked => ({ ...packet, ...marked })),
        { source, destination, protocol: icmp, body: ping },
        { source, destination, protocol: 6, body: TCP_SYN },
      );
    }
    // A real server's own affairs.
    for (const own of [rips[0], behind]) {
      const packet = { source: own, destination: source, destinationPort: 999, payload };
      await first.send(packet, { ...packet, ...marks[0] });
    }
    await fence();
    const came = (wire: Wire, start: number, wanted: (seen: Seen) => boolean) =>
      wire.events
        .slice(start)
        .filter(seen => wanted(seen))
        .map(seen => `${seen.source} ${seen.destination} ${seen.protocol}`);
    // The client's host has something to say itself, when it hears of what it never asked.
    const isPing = (hex: string) => hex.slice(family === 4 ? 40 : 80).startsWith(ping);
    const isClients = (seen: Seen) => seen.source === source && (seen.protocol !== icmp || isPing(seen.hex));
    return {
      in: [first, second].flatMap((wire, n) => came(wire, from[n], isClients)).sort(),
      out: came(behindClients, from[2], ({ destinationPort }) => destinationPort === 999).sort(),
    };
  }

  /** When this returns, the LB has seen to everything that came before, from either side. */
  async function fence(): Promise<void> {
    const from = [behindClients.now, bench.wires[0].now];
    const payload = text('fence');
    const ends = { sourcePort: 7, destinationPort: 7777, payload };
    await behindClients.send({ ...ends, source, destination: vip });
    await bench.wires[0].send({ ...ends, source: rips[0], destination: lips[0] });
    await behindClients.answer(payload, from[0]);
    await bench.wires[0].answer(payload, from[1]);
    await Promise.all([...bench.wires, behindClients].map(wire => wire.ask({ op: 'ping' })));
  }

  it('a host that is no router forwards only balanced flows', async () => {
    const nothing = { in: [], out: [] };
    expect(await passing()).toEqual(nothing);
    await bench.shim.start();
    await serves();
    expect(await passing()).toEqual(nothing);
    expect(await bench.shim.stop('SIGKILL')).toBe(-1);
    expect(await passing()).toEqual(nothing);
    await bench.shim.start();
    expect(await passing()).toEqual(nothing);
    expect(await bench.shim.stop()).toBe(0);
    expect(await passing()).toEqual(nothing);
  });

  it.each([
    ['a router', router, [true, true]],
    ['one that forwards only from the clients’ side', [by('eth0')], [true, false]],
    ['one that forwards only from the servers’ side', [by('eth1')], [false, true]],
  ] as const)('%s forwards what it forwarded before', async (_, keys, passes) => {
    const { lb } = bench.lab;
    try {
      for (const key of keys) await lb.sysctl(key, 1);
      const other = await bench.lab.snapshot();
      const through = await passing();
      expect([through.in.length > 0, through.out.length > 0]).toEqual(passes);
      await bench.shim.start();
      await serves();
      expect(await passing()).toEqual(through);
      expect(await bench.shim.stop()).toBe(0);
      expect(await bench.lab.snapshot()).toEqual(other);
      expect(await passing()).toEqual(through);
    } finally {
      for (const key of keys) await lb.sysctl(key, 0);
    }
    expect(await bench.lab.snapshot()).toEqual(before);
  });

  it('the host’s own traffic bypasses the TUN', async () => {
    const { lb } = bench.lab;
    const lip = addressOf(endpoint(lips[0], 0));
    await bench.shim.start();
    const [counts, seen] = [await bench.shim.stats(), await intoTun(lb)];
    for (const payload of ['one', 'two'].map(text)) {
      const from = bench.now;
      const answer = await App.query(lb, rips[0], PORT, '--payload', payload);
      expect(answer).toMatchObject({ event: 'answer', payload });
      const sources = (await bench.received(0, from)).map(({ client: whose }) => addressOf(whose));
      expect(sources).toEqual([lip]);
    }
    // What a client says to the LB itself is the LB's, and nobody else's.
    const whose = freshClient();
    await bench.clients.send({ from: whose, target: endpoint(vip, 7777), payloads: [text('you')] });
    expect(await local.got(text('you'))).toMatchObject({ client: whose });
    await bench.clients.got(whose, text('you'));
    // Only what the real server asks, in vain, comes to the shim.
    const after = await bench.shim.stats();
    const asked = after.asks_received - counts.asks_received;
    expect(after.asks_unknown - counts.asks_unknown).toBe(asked);
    expect(after.packets_seen - counts.packets_seen).toBe(asked);
    expect(await intoTun(lb)).toBe(seen + asked);
  });
});
