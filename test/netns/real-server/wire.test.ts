/**
 * Marks as they come from the wire, in both carriers: what the application sees of them, and what goes back.
 *
 *   LB namespace (wire.py)                               RS namespace
 *     10.99.1.1  LIP    ack: true                    .-- uoa-shim: eth0 -> uoa0 -> socket
 *     10.99.1.3  LIP_2  ack: false        eth0 ---- eth0 10.99.1.2 RIP:7000, echo on a wildcard socket
 *     10.99.1.4  LIP_3  deliverEmpty: true
 *     10.99.1.7  DIRECT no load balancer
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { App } from '../../support/apps.js';
import { useBench } from '../../support/bench.js';
import { freshPort, freshText } from '../../support/fresh.js';
import { BROADCAST, DIRECT, LIP, LIP_2, LIP_3, missing, RIP } from '../../support/netns.js';
import { eventually, must } from '../../support/process.js';
import { canDissect, capture } from '../../support/tshark.js';
import { exceptIdentification, isAck, mark, type PacketSpec, type Seen } from '../../support/wire.js';

const CARRIERS = ['ipo', 'opp'] as const;
const CLIENT = '198.51.100.7:5555';

describe.skipIf(missing() !== undefined)('marks on the wire', () => {
  let app: App;
  const bench = useBench({
    shim: {
      loadBalancers: [
        { prefix: `${LIP}/32`, ack: true },
        { prefix: `${LIP_2}/32`, ack: false },
        { prefix: `${LIP_3}/32`, deliverEmpty: true },
      ],
    },
    prepare: async ({ lab }) => {
      app = await App.start(lab.rs, 'echo', 7000);
    },
  });

  /** An ordinary datagram and its echo: whatever was sent before it has been seen to by then. */
  async function fence(source = LIP): Promise<void> {
    const { wire } = bench;
    const payload = freshText();
    const from = wire.now;
    await wire.send({ source, sourcePort: freshPort(), payload });
    await wire.answer(payload, from);
  }

  /** Sends a packet and waits for its echo; whom the application sees as its sender. */
  async function clientOf(packet: PacketSpec): Promise<string> {
    const { wire } = bench;
    const payload = packet.payload ?? freshText();
    const [from, fromApp] = [wire.now, app.now];
    await wire.send({ ...packet, payload });
    const { client } = await app.got(payload, fromApp);
    await wire.answer(payload, from);
    return client;
  }

  const acks = (from: number): Seen[] => bench.wire.since(from).filter(isAck);

  describe.each(CARRIERS)('%s', carrier => {
    it('the application sees the client and the payload, and the ACK is right to the byte', async () => {
      const { wire } = bench;
      const sourcePort = freshPort();
      const payload = freshText();
      const from = wire.now;
      await wire.send({ sourcePort, payload, tos: 0x28, mark: mark(CLIENT, carrier) });

      expect(await app.got(payload)).toMatchObject({ client: CLIENT, local: RIP, options: '', tos: 0x28 });
      const answer = await wire.answer(payload, from);
      expect(answer).toMatchObject({
        ...{ source: RIP, sourcePort: 7000, destination: LIP, destinationPort: sourcePort, protocol: 17 },
        ...{ options: '', headerChecksumGood: true, udpChecksum: 'good' },
      });

      const [ack, ...others] = acks(from);
      expect(others).toEqual([]);
      const expected = await wire.encode({
        ...{ source: RIP, sourcePort: 7000, destination: LIP, destinationPort: sourcePort },
        ...{ payload: '', mark: mark(CLIENT, carrier), checksum: 'good', dontFragment: true },
      });
      expect(exceptIdentification(ack.hex)).toBe(exceptIdentification(expected));
      // The kernel fills in the identification, and the checksum to go with it.
      expect(ack).toMatchObject({ udpLength: 8, headerChecksumGood: true, udpChecksum: 'good' });
    });

    it('a load balancer with ack: false gets no ACK', async () => {
      const { wire } = bench;
      const from = wire.now;
      const sourcePort = freshPort();
      expect(await clientOf({ source: LIP_2, sourcePort, mark: mark(CLIENT, carrier) })).toBe(CLIENT);
      await fence(LIP_2);
      expect(acks(from)).toEqual([]);
    });

    it('a datagram with a right checksum arrives, and one with a wrong one does not', async () => {
      const sourcePort = freshPort();
      const good = { sourcePort, mark: mark(CLIENT, carrier), checksum: 'good' } as const;
      expect(await clientOf(good)).toBe(CLIENT);
      const from = app.now;
      await bench.wire.send({ ...good, payload: freshText(), checksum: 'bad' });
      await bench.wire.send({ sourcePort, payload: freshText(), checksum: 'bad' });
      expect(await clientOf({ sourcePort })).toBe(CLIENT);
      expect(app.clients(from)).toHaveLength(1);
    });

    it('a standalone packet is learned, acknowledged and not delivered', async () => {
      const { wire, shim } = bench;
      const sourcePort = freshPort();
      const [fromApp, fromWire] = [app.now, wire.now];
      const counted = await shim.counted(async () => {
        await wire.send({ sourcePort, payload: '', mark: mark('198.51.100.8:1024', carrier) });
        await fence();
      });
      expect(app.clients(fromApp)).toHaveLength(1);
      expect(acks(fromWire)).toHaveLength(1);
      expect(counted).toMatchObject({ uoa_got: 1, uoa_standalone: 1, uoa_saved: 1, uoa_ack_sent: 1 });
      expect(await clientOf({ sourcePort })).toBe('198.51.100.8:1024');
      expect(await clientOf({ sourcePort })).toBe('198.51.100.8:1024');
    });

    it('an empty marked datagram is delivered with deliverEmpty: true', async () => {
      const from = app.now;
      const packet = { source: LIP_3, sourcePort: freshPort(), mark: mark(CLIENT, carrier), payload: '' };
      expect(await clientOf(packet)).toBe(CLIENT);
      expect(app.clients(from)).toEqual([CLIENT]);
    });

    it('a new mark changes the client from then on', async () => {
      const sourcePort = freshPort();
      expect(await clientOf({ sourcePort, mark: mark('198.51.100.9:1', carrier) })).toBe('198.51.100.9:1');
      expect(await clientOf({ sourcePort, mark: mark('198.51.100.10:2', carrier) })).toBe('198.51.100.10:2');
      expect(await clientOf({ sourcePort })).toBe('198.51.100.10:2');
      expect(await bench.shim.lookup(`${LIP}:${sourcePort}`, `${RIP}:7000`)).toBe('198.51.100.10:2');
    });

    it('an impossible client is not learned, and the application sees the load balancer', async () => {
      const { wire, shim } = bench;
      const impossible = [
        ...[
          '0.0.0.5:5555',
          '127.0.0.1:5555',
          '224.0.0.1:5555',
          '239.255.255.255:5555',
          '255.255.255.255:5555',
        ],
        ...[`${RIP}:5555`, `${BROADCAST}:5555`, '198.51.100.7:0'],
      ];
      const from = wire.now;
      const lbs = new Set<string>();
      const counted = await shim.counted(async () => {
        for (const client of impossible) {
          const sourcePort = freshPort();
          const lb = `${LIP}:${sourcePort}`;
          lbs.add(lb);
          expect(await clientOf({ sourcePort, mark: mark(client, carrier) }), client).toBe(lb);
          expect(await clientOf({ sourcePort }), client).toBe(lb);
        }
      });
      const each = impossible.length;
      expect(counted).toMatchObject({ uoa_got: each, uoa_invalid: each, uoa_none: each, uoa_miss: each });
      expect(counted.uoa_saved).toBeUndefined();
      expect((await shim.flows()).filter(flow => lbs.has(flow.lb))).toEqual([]);
      await fence();
      expect(acks(from)).toEqual([]);
    });

    it('an impossible client does not replace the one that was known', async () => {
      const sourcePort = freshPort();
      expect(await clientOf({ sourcePort, mark: mark(CLIENT, carrier) })).toBe(CLIENT);
      expect(await clientOf({ sourcePort, mark: mark('127.0.0.1:1', carrier) })).toBe(`${LIP}:${sourcePort}`);
      expect(await clientOf({ sourcePort })).toBe(CLIENT);
    });

    it('an IPv6 client is kept for look-ups, and the application sees the load balancer', async () => {
      const { wire, shim } = bench;
      const sourcePort = freshPort();
      const payload = freshText();
      const from = wire.now;
      const client = mark('2001:db8::7:5555', carrier);
      expect(await clientOf({ sourcePort, payload, mark: client })).toBe(`${LIP}:${sourcePort}`);
      expect(await wire.answer(payload, from)).toMatchObject({
        destination: LIP,
        destinationPort: sourcePort,
      });
      expect(acks(from).map(ack => ack.mark)).toEqual([client]);
      expect(await clientOf({ sourcePort })).toBe(`${LIP}:${sourcePort}`);
      expect(await shim.lookup(`${LIP}:${sourcePort}`, `${RIP}:7000`)).toBe('[2001:db8::7]:5555');
    });
  });

  it.each([2, 64, 255])('a TTL of %i stays', async ttl => {
    const sourcePort = freshPort();
    for (const spec of [{ mark: mark(CLIENT) }, {}]) {
      const payload = freshText();
      await bench.wire.send({ sourcePort, payload, ttl, ...spec });
      expect(await app.got(payload)).toMatchObject({ client: CLIENT, ttl });
    }
  });

  // ---- other options -----------------------------------------------------------------------------------------

  describe('other IP options', () => {
    const NOP = '01';
    const UNKNOWN = '9e04cafe';
    // Timestamps of the hosts named in it (RFC 791): none of them is here, so nobody writes into it.
    const TIMESTAMP = '440c0503c63364c800000000';

    it.each([
      ['NOPs before and after', NOP.repeat(4), NOP.repeat(4)],
      ['an unknown option before', UNKNOWN, ''],
      ['an unknown option after', '', UNKNOWN],
      ['a timestamp before', TIMESTAMP, ''],
      ['a timestamp after', '', TIMESTAMP],
      ['NOPs that leave the mark at an odd offset', NOP, NOP.repeat(3)],
      ['all of them, the header full', TIMESTAMP + UNKNOWN, UNKNOWN.repeat(4)],
    ])('IP options around a mark stay: %s', async (_, before, after) => {
      const payload = freshText();
      await bench.wire.send({ sourcePort: freshPort(), payload, mark: mark(CLIENT), before, after });
      expect(await app.got(payload)).toMatchObject({ client: CLIENT, options: before + after });
    });

    it('IP options beside a mark in opp stay', async () => {
      const payload = freshText();
      const options = UNKNOWN + TIMESTAMP;
      await bench.wire.send({ sourcePort: freshPort(), payload, mark: mark(CLIENT, 'opp'), options });
      expect(await app.got(payload)).toMatchObject({ client: CLIENT, options });
    });

    it('a mark is found among other options in opp', async () => {
      const packet = {
        sourcePort: freshPort(),
        mark: mark(CLIENT, 'opp'),
        before: NOP + UNKNOWN,
        after: NOP.repeat(3),
      };
      expect(await clientOf(packet)).toBe(CLIENT);
    });

    it('IP options without a mark stay', async () => {
      const payload = freshText();
      const sourcePort = freshPort();
      await bench.wire.send({ sourcePort, payload, options: UNKNOWN });
      expect(await app.got(payload)).toMatchObject({ client: `${LIP}:${sourcePort}`, options: UNKNOWN });
    });
  });

  // ---- whose marks count -------------------------------------------------------------------------------------

  it('marks from outside the load balancers’ prefixes are not learned', async () => {
    const { wire, shim } = bench;
    const sourcePort = freshPort();
    const from = wire.now;
    const counted = await shim.counted(async () => {
      expect(await clientOf({ source: DIRECT, sourcePort, mark: mark(CLIENT) })).toBe(
        `${DIRECT}:${sourcePort}`,
      );
      expect(await clientOf({ source: DIRECT, sourcePort })).toBe(`${DIRECT}:${sourcePort}`);
      await fence();
    });
    expect(acks(from)).toEqual([]);
    expect(counted.uoa_got).toBeUndefined();
    expect(await shim.lookup(`${DIRECT}:${sourcePort}`, `${RIP}:7000`)).toBe(null);
  });

  // ---- malformed ---------------------------------------------------------------------------------------------

  describe('malformed', () => {
    /** A flow with a client that has to go on working, whatever else comes. */
    async function stillWorks(): Promise<void> {
      const sourcePort = freshPort();
      expect(await clientOf({ sourcePort, mark: mark(CLIENT) })).toBe(CLIENT);
      expect(await clientOf({ sourcePort })).toBe(CLIENT);
      expect(await bench.shim.status()).toMatchObject({ state: 'running', healthy: true });
    }

    it('marks of every length are counted, and their datagrams delivered', async () => {
      const { wire, shim } = bench;
      const from = app.now;
      const invalid: string[] = [];
      const counted = await shim.counted(async () => {
        for (let length = 0; length <= 40; length++) {
          const sourcePort = freshPort();
          // A length below 2 doesn't get past the kernel's own look at the options.
          if (length >= 2 && length !== 8 && length !== 20) invalid.push(`${LIP}:${sourcePort}`);
          const client = length < 8 ? '' : '15b3cb007107';
          const option = `1f${length.toString(16).padStart(2, '0')}${client}`;
          await wire.send({ sourcePort, payload: freshText(), options: option.padEnd(80, '0') });
        }
        await fence();
      });
      expect(counted.uoa_invalid).toBe(invalid.length);
      expect(counted.uoa_got).toBe(2);
      expect(app.clients(from)).toEqual(expect.arrayContaining(invalid));
      await stillWorks();
    });

    it('marks that reach past the options disturb no other flow', async () => {
      for (const length of ['00', '01', '05', '08', '14', '28', '29', 'ff']) {
        await bench.wire.send({ sourcePort: freshPort(), payload: freshText(), options: `1f${length}15b3` });
        await bench.wire.send({ sourcePort: freshPort(), payload: freshText(), options: `0101011f` });
        await bench.wire.send({
          sourcePort: freshPort(),
          payload: freshText(),
          options: `9e${length}15b31f0815b3`,
        });
      }
      await stillWorks();
    });

    it('opp headers of every length, version and protocol are accounted for', async () => {
      const { wire, shim } = bench;
      const header = (version: number, protocol: number, length: number) =>
        Buffer.from([version << 4, protocol, length >> 8, length & 0xff]).toString('hex');
      const option = '1f0815b3cb007107';
      const headers: string[] = [];
      for (let length = 0; length <= 64; length++) headers.push(header(1, 17, length));
      for (const length of [255, 256, 1480, 0x7fff, 0xffff]) headers.push(header(1, 17, length));
      for (let version = 0; version < 16; version++) headers.push(header(version, 17, 12));
      for (const protocol of [0, 1, 6, 50, 248, 255]) headers.push(header(1, protocol, 12));
      const bodies = headers.map(opp => {
        const datagram = `${freshPort().toString(16)}1b5800080000`;
        return opp + option + datagram + '00'.repeat(32);
      });
      await accountsForAll(bodies);

      // Cut off after every byte.
      const whole = `${header(1, 17, 12)}${option}9c411b58000c000068656c6c`;
      await accountsForAll(Array.from({ length: whole.length / 2 }, (_, i) => whole.slice(0, i * 2)));
      await stillWorks();

      async function accountsForAll(all: string[]): Promise<void> {
        const counted = await shim.counted(async () => {
          await wire.send(...all.map(body => ({ protocol: 248, body })));
          await fence();
        });
        const { uoa_standalone = 0, dropped_malformed = 0, packets_delivered = 0, uoa_invalid = 0 } = counted;
        // One more was delivered: the fence.
        expect(uoa_standalone + dropped_malformed + packets_delivered).toBe(all.length + 1);
        expect(uoa_invalid).toBeGreaterThan(0);
      }
    });

    it('random packets disturb no other flow', async () => {
      let state = 1;
      const noise = (bytes: number) => {
        const out = Buffer.alloc(bytes);
        for (let i = 0; i < bytes; i++) {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          out[i] = state >>> 24;
        }
        return out.toString('hex');
      };
      const packets: PacketSpec[] = [];
      for (let i = 0; i < 300; i++) {
        packets.push({ protocol: 248, body: `1011000c1f08${noise(i % 64)}` });
        packets.push({ protocol: 248, body: noise(i % 100) });
        packets.push({ protocol: 17, body: noise(i % 40) });
        packets.push({
          protocol: 17,
          body: noise(4) + '1b58'.slice(4) + noise(20),
          options: `1f${noise(i % 39)}`,
        });
      }
      await bench.wire.send(...packets);
      await stillWorks();
    });
  });

  // ---- somebody else's opinion -------------------------------------------------------------------------------

  it.skipIf(!canDissect())('tshark finds nothing wrong with what we send', async () => {
    const { lab, wire, shim } = bench;
    const file = join(shim.directory, 'capture.pcap');
    const tcpdump = await capture(lab.lb, file, 'src', RIP);
    const payloads = [freshText(), freshText()];
    for (const [i, carrier] of CARRIERS.entries()) {
      const from = wire.now;
      await wire.send({ sourcePort: freshPort(), payload: payloads[i], mark: mark(CLIENT, carrier) });
      await wire.answer(payloads[i], from);
    }
    const fields = ['ip.proto', 'ip.checksum.status', 'udp.checksum.status', 'udp.length'];
    const report = async () => {
      const table = await must([
        ...['tshark', '-r', file, '-T', 'fields', '-E', 'separator=/s', '-Y', 'udp or ip.proto==248'],
        ...['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'],
        ...fields.flatMap(field => ['-e', field]),
      ]);
      return table.split('\n').flatMap(line => (line.trim() === '' ? [] : [line.trim()]));
    };
    const lines = await eventually('the capture has it all', async () => {
      const lines = await report();
      return lines.length >= 4 ? lines : undefined;
    });
    await tcpdump.end('SIGTERM');
    // Status 1: good. In ipo the ACK, then the echo; in opp the ACK, which tshark doesn't know, then the echo.
    const echo = `17 1 1 ${8 + payloads[0].length / 2}`;
    expect(lines).toEqual(['17 1 1 8', echo, '248 1', echo]);
  });
});
