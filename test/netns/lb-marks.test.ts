/**
 * What the load balancer's shim does to a flow's first packets, byte for byte as it is on the wire.
 *
 *   clients                    LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ---- eth0 198.51.100.10 VIP    eth1 LIP ----+---- RS 1 10.10.2.2: uoa-shim
 *                                  :7001 -> RS 1, :7002 -> RS 2      `---- RS 2 10.10.2.3: none, so nobody ACKs
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { App, pattern } from '../support/apps.js';
import { type BenchTime, type LbBench, said, useLbBench } from '../support/lb-bench.js';
import type { Datagrams } from '../support/lb-clients.js';
import { intoTun, LIP, PORT, RIPS, VIP } from '../support/lb-lab.js';
import { missing } from '../support/netns.js';
import { eventually, Program, run } from '../support/process.js';
import { mark, type PacketSpec, type Seen, text } from '../support/wire.js';

const CARRIERS = ['ipo', 'opp'] as const;
/** To the RS with a shim, and to the one without. */
const MARKED = `${VIP}:7001`;
const PLAIN = `${VIP}:7002`;
const SERVICES = RIPS.map((address, n) => ({
  ...{ vip: VIP, port: 7001 + n },
  realServers: [{ address, port: PORT }],
}));
const BENCH = { loadBalancer: { services: SERVICES }, marked: [true, false] as const };

const NO_TOOLS = ['tcpdump', 'tshark'].some(
  tool => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0,
);
if (NO_TOOLS) console.warn('\n*** SKIPPED: what tshark says of marks; apt-get install tcpdump tshark ***\n');

/** Bytes that a mark adds, and that headers take. */
const ROOM = { ipo: 8, opp: 12 } as const;
const HEADERS = 28;
/** 40 bytes of an option that nobody knows: the header is full. */
const FULL = `9e28${'a5'.repeat(38)}`;

/** Marks of the packets that came to the nth RS, in their order: what they name, or null. */
async function marks(bench: LbBench, n: number, from: BenchTime): Promise<(string | null)[]> {
  const arrived = await bench.arrived(n, from);
  return arrived.map(({ mark: found }) => (found ? `${found.client}:${found.port}` : null));
}

describe.skipIf(missing() !== undefined)('marks per flow', () => {
  const bench = useLbBench(BENCH);

  describe.each(CARRIERS)('with %s', carrier => {
    it.each([0, 1, 3, 5])('an RS that never ACKs gets %i at most', async maxTrails => {
      await bench.reload({ services: SERVICES, carrier, maxTrails });
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      const client = bench.freshClient();
      const payloads = Array.from({ length: 8 }, (_, i) => text(`${client} ${i}`));
      for (const payload of payloads) {
        await bench.clients.send({ from: client, target: PLAIN, payloads: [payload] });
        // One by one: packets may pass others that are still on their way through the TUN.
        await bench.wires[1].event('it', seen => seen.payload === payload, from.wires[1]);
      }
      // What nobody there can read is refused (opp); everything else is answered.
      const readable = carrier === 'opp' ? payloads.slice(maxTrails) : payloads;
      for (const payload of readable) await bench.clients.got(client, payload, from.clients);
      const received = await bench.received(1, from);
      expect(received.map(({ payload }) => payload)).toEqual(readable);
      for (const { client: seen } of received) expect(seen).toMatch(new RegExp(`^${LIP}:`));
      expect(await marks(bench, 1, from)).toEqual(payloads.map((_, i) => (i < maxTrails ? client : null)));
      // The fourth packet and later ones never leave the kernel.
      expect((await intoTun(bench.lab.lb)) - before).toBe(maxTrails);
      expect(await bench.shim.flows('--client', client)).toMatchObject(
        maxTrails === 0 ? [] : [{ packets: maxTrails, replies: 0, datapath: 'tun' }],
      );
      const refusals = (await bench.clients.unasked(from.clients)).filter(({ event }) => event === 'error');
      expect(refusals).toEqual([]);
    });

    it.each([1, 3, 5])('an RS that ACKs at once gets one of %i', async maxTrails => {
      await bench.reload({ services: SERVICES, carrier, maxTrails });
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      const clients = Array.from({ length: 10 }, () => bench.freshClient());
      expect(await bench.clients.talk(clients, MARKED, { rounds: 8 })).toMatchObject({
        answered: 80,
        lost: [],
      });
      const found = (await marks(bench, 0, from)).filter(named => named !== null);
      expect(found.sort()).toEqual([...clients].sort());
      for (const { client: seen, payload } of await bench.received(0, from))
        expect(said(payload)).toContain(`${seen} `);
      // Each flow's ACK, and those of its first packets that came before the ACK was seen to.
      const passed = (await intoTun(bench.lab.lb)) - before;
      expect(passed).toBeGreaterThanOrEqual(clients.length * 2);
      expect(passed).toBeLessThanOrEqual(clients.length * (1 + maxTrails));
    });

    it('an RS that ACKs gets none where there are to be none', async () => {
      await bench.reload({ services: SERVICES, carrier, maxTrails: 0 });
      const [from, before] = [bench.now, await intoTun(bench.lab.lb)];
      expect(await bench.clients.talk([bench.freshClient()], MARKED, { rounds: 5 })).toMatchObject({
        answered: 5,
      });
      expect(await marks(bench, 0, from)).toEqual(Array.from({ length: 5 }, () => null));
      expect(await intoTun(bench.lab.lb)).toBe(before);
    });
  });
});

// ---- bytes -----------------------------------------------------------------------------------------------------

describe.skipIf(missing() !== undefined).each(CARRIERS)('on the wire, %s', carrier => {
  const bench = useLbBench({ ...BENCH, loadBalancer: { ...BENCH.loadBalancer, carrier } });

  /** Sends from a socket of its own; gives what the RS without a shim saw of it, in the order it came. */
  async function seenOf(datagrams: Omit<Datagrams, 'from' | 'target'>, packets: number, target = PLAIN) {
    const from = bench.now;
    const client = bench.freshClient();
    await bench.clients.send({ from: client, target, ...datagrams });
    const n = target === PLAIN ? 1 : 0;
    const seen = await eventually(`${packets} packets`, () => {
      const arrived = bench.wires[n].events
        .slice(from.wires[n])
        .filter(({ event, protocol }) => event === 'packet' && protocol !== 1);
      return arrived.length >= packets ? arrived : undefined;
    });
    expect(seen).toHaveLength(packets);
    return { client, seen, from };
  }

  /** The packet as PROTOCOL.md has it, made by wire.py; what the kernels on the way chose is taken over. */
  function laidOut(seen: Seen, spec: PacketSpec): Promise<string> {
    return bench.wires[1].encode({
      ...{ source: LIP, sourcePort: seen.sourcePort ?? 0, destination: RIPS[1], destinationPort: PORT },
      ...{ identification: seen.identification, ttl: 63, dontFragment: true, checksum: 'good' },
      ...spec,
    });
  }

  /** An empty datagram with nothing but a mark. */
  const standalone = (seen: Seen, client: string) =>
    laidOut(seen, { payload: '', mark: mark(client, carrier), ttl: 64 });

  it('a mark is where it belongs, and nothing else is changed', async () => {
    const payloads = ['one', 'two', 'three', 'four'].map(text);
    const { client, seen } = await seenOf({ payloads }, 4);
    // Packets may pass others that are still on their way through the TUN.
    for (const packet of seen) {
      const marked = packet.payload !== payloads[3] && { mark: mark(client, carrier) };
      expect(packet.hex).toBe(await laidOut(packet, { payload: packet.payload ?? '', ...marked }));
    }
    expect(seen.map(({ payload }) => payload).sort()).toEqual([...payloads].sort());
  });

  it('a checksum that was left out stays left out', async () => {
    const payload = text('unchecked');
    const { client, seen } = await seenOf({ payloads: [payload], checksum: false }, 1);
    expect(seen[0].hex).toBe(
      await laidOut(seen[0], { payload, mark: mark(client, carrier), checksum: 'zero' }),
    );
  });

  it('an odd payload, and one whose checksum comes to 0', async () => {
    for (const payload of ['61', '616263']) {
      const { client, seen } = await seenOf({ payloads: [payload] }, 1);
      expect(seen[0].hex).toBe(await laidOut(seen[0], { payload, mark: mark(client, carrier) }));
    }
    // One of all two-byte payloads sums up to 0xffff, whose complement 0 has to go as 0xffff.
    const socket = bench.freshClient();
    await bench.clients.send({ from: socket, target: PLAIN, payloads: ['0000'] });
    const { sourcePort = 0 } = await bench.wires[1].event('it', ({ payload }) => payload === '0000');
    const probe = await bench.wires[1].encode({
      ...{
        source: LIP,
        sourcePort,
        destination: RIPS[1],
        destinationPort: PORT,
        payload: '0000',
        checksum: 'good',
      },
    });
    const payload = probe.slice(52, 56);
    const from = bench.now;
    await bench.clients.send({ from: socket, target: PLAIN, payloads: [payload] });
    const seen = await bench.wires[1].event('it', packet => packet.payload === payload, from.wires[1]);
    expect(seen.hex).toBe(await laidOut(seen, { payload, mark: mark(socket, carrier) }));
    expect(seen.hex.slice(-8, -4)).toBe('ffff');
  });

  it.each([
    ['one byte', 1],
    ['the most that has room', 1500 - HEADERS - ROOM[carrier]],
  ])('a mark goes into a datagram of %s', async (_, length) => {
    const payload = pattern(length);
    const { client, seen } = await seenOf({ payloads: [payload] }, 1);
    expect(seen[0].hex).toBe(await laidOut(seen[0], { payload, mark: mark(client, carrier) }));
    expect(seen[0].bytes).toBe(HEADERS + length + ROOM[carrier]);
  });

  it.each([
    ['a byte too much', 1500 - HEADERS - ROOM[carrier] + 1],
    ['all that the link takes', 1500 - HEADERS],
  ])('a mark goes ahead of a datagram of %s', async (_, length) => {
    const payload = pattern(length);
    const { client, seen } = await seenOf({ payloads: [payload] }, 2);
    expect(seen[0].hex).toBe(await standalone(seen[0], client));
    expect(seen[1].hex).toBe(await laidOut(seen[1], { payload }));
    // And to an RS with a shim, where it makes one whole.
    const other = await seenOf({ payloads: [payload] }, 2, MARKED);
    const got = await bench.apps[0].got(payload, other.from.apps[0]);
    expect(got.client).toBe(other.client);
    expect(await bench.received(0, other.from)).toHaveLength(1);
    await bench.clients.got(other.client, payload, other.from.clients);
  });

  it('a header full of options', async () => {
    const payload = text('options');
    const { client, seen } = await seenOf({ payloads: [payload], options: FULL }, carrier === 'ipo' ? 2 : 1);
    if (carrier === 'ipo') {
      expect(seen[0].hex).toBe(await standalone(seen[0], client));
      expect(seen[1].hex).toBe(await laidOut(seen[1], { payload, options: FULL }));
    } else
      expect(seen[0].hex).toBe(
        await laidOut(seen[0], { payload, options: FULL, mark: mark(client, carrier) }),
      );
    const other = await seenOf({ payloads: [payload], options: FULL }, seen.length, MARKED);
    const got = await bench.apps[0].got(payload, other.from.apps[0]);
    expect(got).toMatchObject({ client: other.client, options: FULL });
    expect(await bench.received(0, other.from)).toHaveLength(1);
  });

  it.each([
    ['a word', '9e04cafe'],
    ['as many as leave room for the mark', `9e20${'a5'.repeat(30)}`],
    ['one too many', `9e24${'a5'.repeat(34)}`],
  ])('options that were there stay behind the mark: %s', async (_, options) => {
    const payload = text('options');
    const isFull = carrier === 'ipo' && options.length / 2 > 32;
    const { client, seen } = await seenOf({ payloads: [payload], options }, isFull ? 2 : 1);
    const marked = !isFull && { mark: mark(client, carrier) };
    if (isFull) expect(seen[0].hex).toBe(await standalone(seen[0], client));
    expect(seen.at(-1)?.hex).toBe(await laidOut(seen[seen.length - 1], { payload, options, ...marked }));
  });

  it('an empty first datagram is one, not none and not two', async () => {
    const { client, seen } = await seenOf({ payloads: [''] }, 2);
    expect(seen[0].hex).toBe(await standalone(seen[0], client));
    expect(seen[1].hex).toBe(await laidOut(seen[1], { payload: '' }));

    const other = await seenOf({ payloads: [''] }, 2, MARKED);
    const [first] = other.seen;
    expect(first.mark).toEqual(mark(other.client, carrier));
    await bench.clients.got(other.client, '', other.from.clients);
    expect(await bench.received(0, other.from)).toMatchObject([{ client: other.client, payload: '' }]);
    // An ACK is an empty datagram too, and there may be one more only if the client sends one more.
    expect(await bench.clients.talk([other.client], MARKED, { rounds: 2 })).toMatchObject({ answered: 2 });
    expect(await bench.received(0, other.from)).toHaveLength(3);
    expect(await bench.clients.unasked(other.from.clients)).toHaveLength(1);
  });

  it('a datagram in fragments is whole at the other end, its mark ahead of it', async () => {
    const payload = pattern(5000);
    const { client, seen } = await seenOf({ payloads: [payload], dontFragment: false }, 5);
    expect(seen[0].hex).toBe(await standalone(seen[0], client));
    expect(seen.slice(1).map(({ fragment }) => fragment.offset)).toEqual([0, 1480, 2960, 4440]);
    const other = await seenOf({ payloads: [payload], dontFragment: false }, 5, MARKED);
    expect(await bench.apps[0].got(payload, other.from.apps[0])).toMatchObject({ client: other.client });
    expect(await bench.received(0, other.from)).toHaveLength(1);
    await bench.clients.got(other.client, payload, other.from.clients);
  });

  it.skipIf(NO_TOOLS)('tshark reads the same, and so it does an ACK', async () => {
    const rs = bench.lab.rs[0];
    const file = join(bench.shim.directory, `${carrier}.pcap`);
    const tcpdump = ['tcpdump', '-i', 'eth0', '-p', '-U', '--immediate-mode', '-Z', 'root', '-w', file];
    const capture = rs.start(new Program(rs.command([...tcpdump, 'host', LIP, 'and', 'ip'])));
    await eventually('tcpdump listens', () => capture.log.includes('listening on') || undefined);
    const { client } = await seenOf({ payloads: [text('whose?')] }, 1, MARKED);
    const packets = await eventually('the mark, its ACK and the echo', async () => {
      const found = await dissect(file);
      return found.length >= 3 ? found : undefined;
    });
    await capture.end('SIGTERM');

    const option = `1f08${hexPort(client)}${hexAddress(client)}`;
    const marked = packets.filter(
      ({ options, data }) => options === option || data?.startsWith(`1011000c${option}`),
    );
    expect(marked.map(({ source }) => source)).toEqual([LIP, RIPS[0]]);
    expect(packets.map(({ protocol }) => protocol)).toEqual(
      carrier === 'ipo' ? [17, 17, 17] : [248, 248, 17],
    );
    for (const { headerStatus, udpStatus } of packets) {
      expect(headerStatus).toBe('1');
      expect(udpStatus ?? '1').toBe('1');
    }
  });

  it('the last hop is the last: TTLs are as the kernel has them', async () => {
    const { seen } = await seenOf({ payloads: [text('hop')], ttl: 3 }, 1);
    expect(seen[0]).toMatchObject({ ttl: 2, mark: { carrier } });
    // With one hop left there is none for the way into the TUN.
    const last = await seenOf({ payloads: [text('last')], ttl: 2 }, 1);
    expect(last.seen[0]).toMatchObject({ ttl: 1, mark: null });
  });

  it('the MTU is that of the route to the RS', async () => {
    const { lb } = bench.lab;
    try {
      for (const mtu of [1400, 1280]) {
        await lb.ip(`route add ${RIPS[1]}/32 dev eth1 mtu ${mtu}`);
        const fits = pattern(mtu - HEADERS - ROOM[carrier]);
        const inside = await seenOf({ payloads: [fits] }, 1);
        expect(inside.seen[0]).toMatchObject({
          payload: fits,
          mark: mark(inside.client, carrier),
          bytes: mtu,
        });
        const over = pattern(mtu - HEADERS - ROOM[carrier] + 1);
        const ahead = await seenOf({ payloads: [over] }, 2);
        expect(ahead.seen[0].hex).toBe(await standalone(ahead.seen[0], ahead.client));
        expect(ahead.seen[1]).toMatchObject({ payload: over, mark: null });
        await lb.ip(`route del ${RIPS[1]}/32 dev eth1`);
      }
    } finally {
      await lb.run(['ip', 'route', 'del', `${RIPS[1]}/32`, 'dev', 'eth1']);
    }
  });

  it('or what the kernel has learned of the path since', async () => {
    const { lb } = bench.lab;
    const [wire] = bench.wires.slice(1);
    const from = wire.now;
    // The LB asks something itself, and a router on the way finds that too big (RFC 1191).
    const asking = App.query(lb, RIPS[1], 9, '--payload', '00'.repeat(1400));
    const big = await wire.event('the LB’s own', ({ destinationPort }) => destinationPort === 9, from);
    const tooBig = `0304000000000514${big.hex.slice(0, 56)}`;
    await wire.send({
      ...{ source: RIPS[1], destination: LIP, protocol: 1 },
      body: `${tooBig.slice(0, 4)}${checksum(tooBig)}${tooBig.slice(8)}`,
    });
    await eventually(
      'the kernel knows',
      async () => (await lb.ip(`route get ${RIPS[1]}`)).includes('mtu 1300') || undefined,
    );
    await wire.send({
      ...{ source: RIPS[1], sourcePort: 9, destination: LIP, destinationPort: big.sourcePort ?? 0 },
      payload: text('thanks'),
    });
    expect(await asking).toMatchObject({ event: 'answer' });
    try {
      const over = pattern(1300 - HEADERS - ROOM[carrier] + 1);
      const ahead = await seenOf({ payloads: [over] }, 2);
      expect(ahead.seen[0].hex).toBe(await standalone(ahead.seen[0], ahead.client));
      expect(ahead.seen[1]).toMatchObject({ payload: over, mark: null });
    } finally {
      await lb.ip('route flush cache');
    }
  });
});

// ---- somebody else's opinion -----------------------------------------------------------------------------------

interface Dissected {
  source: string | undefined;
  protocol: number;
  /** The options as bytes, in hex. */
  options: string | undefined;
  /** What tshark takes for payload. */
  data: string | undefined;
  headerStatus: string | undefined;
  udpStatus: string | undefined;
}

/** tshark's view of each packet in a capture; a status of 1 is a good checksum. */
async function dissect(file: string): Promise<Dissected[]> {
  const checks = ['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'];
  const { stdout } = await run(['tshark', '-r', file, '-T', 'pdml', ...checks, '-Y', 'udp or ip.proto==248']);
  return stdout
    .split('<packet>')
    .slice(1)
    .map(packet => {
      const show = (name: string) => new RegExp(`name="${name}"[^>]* show="([^"]*)"`).exec(packet)?.[1];
      return {
        source: show('ip.src'),
        protocol: Number(show('ip.proto')),
        options: /show="Options: [^>]* value="([^"]*)"/.exec(packet)?.[1],
        data: /name="data.data"[^>]* value="([^"]*)"/.exec(packet)?.[1],
        headerStatus: show('ip.checksum.status'),
        udpStatus: show('udp.checksum.status'),
      };
    });
}

function hexPort(endpoint: string): string {
  return Number(endpoint.split(':')[1]).toString(16).padStart(4, '0');
}

function hexAddress(endpoint: string): string {
  return Buffer.from(endpoint.split(':')[0].split('.').map(Number)).toString('hex');
}

/** RFC 1071, over hex. */
function checksum(hex: string): string {
  let sum = 0;
  for (let i = 0; i < hex.length; i += 4) sum += Number.parseInt(hex.slice(i, i + 4), 16);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return (~sum & 0xffff).toString(16).padStart(4, '0');
}
