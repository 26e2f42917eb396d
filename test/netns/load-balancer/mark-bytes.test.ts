/**
 * What the load balancer's shim does to a flow's first packets, byte for byte as it is on the wire.
 *
 *   clients                     LB: nftables and uoa-shim                  RS, each an echo on 7000 and wire.py
 *   203.0.113.1 ... .200 ----- eth0 198.51.100.10    eth1 10.10.2.1 ---+---- RS 1 10.10.2.2: uoa-shim
 *   2001:db8:71::1 ... ::c8         2001:db8:64::10    fd00:10:2::1    |          fd00:10:2::2
 *                                   :7001 -> RS 1, :7002 -> RS 2       `---- RS 2 ...3: none, so nobody ACKs
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { App, pattern } from '../../support/apps.js';
import { useLbBench } from '../../support/lb-bench.js';
import { LIP, RIPS } from '../../support/lb-lab.js';
import { SIDES } from '../../support/lb-sides.js';
import { LbWire } from '../../support/lb-wire.js';
import { missing } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import { canDissect, capture, type Dissected, dissect } from '../../support/tshark.js';
import { mark, text } from '../../support/wire.js';

const isSkipped = missing() !== undefined;
const HAS_TSHARK = canDissect();
const MTU = 1500;
/** 40 bytes of an option that nobody knows: an IPv4 header is full. */
const FULL = `9e28${'a5'.repeat(38)}`;

describe.skipIf(isSkipped)('marks byte for byte', () => {
  const bench = useLbBench({ lab: { ipv6: true }, marked: [true, false] });

  describe.each(SIDES)('on the wire, $carrier by IPv$family', side => {
    const { carrier, family, lips, rips } = side;
    const MARKED = side.targets[0];
    const wire = LbWire.use(bench, side);
    const { headers, room } = wire;

    it('a first datagram has the mark at its place, and no other byte is changed', async () => {
      const payloads = ['one', 'two', 'three', 'four'].map(text);
      const { client, seen } = await wire.observe({ payloads }, 4);
      // Packets may pass others that are still on their way through the TUN.
      for (const packet of seen) {
        const marked = packet.payload !== payloads[3] && { mark: mark(client, carrier) };
        expect(packet.hex).toBe(await wire.laidOut(packet, { payload: packet.payload ?? '', ...marked }));
      }
      expect(seen.map(({ payload }) => payload).sort()).toEqual([...payloads].sort());
    });

    it('the checksum is right for an odd payload, and for one that sums to 0', async () => {
      for (const payload of ['61', '616263']) {
        const { client, seen } = await wire.observe({ payloads: [payload] }, 1);
        expect(seen[0].hex).toBe(await wire.laidOut(seen[0], { payload, mark: mark(client, carrier) }));
      }
      // One of all two-byte payloads sums up to 0xffff, whose complement 0 has to go as 0xffff.
      const { client, seen } = await wire.observe({ payloads: ['0000'] }, 1);
      const probe = await wire.laidOut(seen[0], { payload: '0000' });
      const payload = probe.slice(headers * 2 - 4, headers * 2);
      const from = bench.now;
      await bench.clients.send({ from: client, target: side.targets[1], payloads: [payload] });
      const second = await bench.wires[1].event('it', packet => packet.payload === payload, from.wires[1]);
      expect(second.hex).toBe(await wire.laidOut(second, { payload, mark: mark(client, carrier) }));
      expect(second.hex.slice(-8, -4)).toBe('ffff');
    });

    it.each([
      ['one byte', 1],
      ['the most that has room', MTU - headers - room],
    ])('a mark goes into a datagram of %s', async (_, length) => {
      const payload = pattern(length);
      const { client, seen } = await wire.observe({ payloads: [payload] }, 1);
      expect(seen[0].hex).toBe(await wire.laidOut(seen[0], { payload, mark: mark(client, carrier) }));
      expect(seen[0].bytes).toBe(headers + length + room);
    });

    it.each([
      ['a byte too much', MTU - headers - room + 1],
      ['all that the link takes', MTU - headers],
    ])('a mark goes ahead of a datagram of %s', async (_, length) => {
      const payload = pattern(length);
      const { client, seen } = await wire.observe({ payloads: [payload] }, 2);
      expect(seen[0].hex).toBe(await wire.standalone(seen[0], client));
      expect(seen[1].hex).toBe(await wire.laidOut(seen[1], { payload }));
      await wire.arrives(payload, {}, 2);
    });

    it('an empty first datagram arrives as one, behind its mark', async () => {
      const { client, seen } = await wire.observe({ payloads: [''] }, 2);
      expect(seen[0].hex).toBe(await wire.standalone(seen[0], client));
      expect(seen[1].hex).toBe(await wire.laidOut(seen[1], { payload: '' }));

      const other = await wire.observe({ payloads: [''] }, 2, 0);
      expect(other.seen[0].mark).toEqual(mark(other.client, carrier));
      await bench.clients.got(other.client, '', other.from.clients);
      expect(await bench.received(0, other.from)).toMatchObject([{ client: other.client, payload: '' }]);
      // An ACK is an empty datagram too, and there may be one more only if the client sends one more.
      expect(await bench.clients.talk([other.client], MARKED, { rounds: 2 })).toMatchObject({ answered: 2 });
      expect(await bench.received(0, other.from)).toHaveLength(3);
      // The one before this, whose RS takes a standalone packet for a datagram, may be answered only now.
      const unasked = await bench.clients.unasked(other.from.clients);
      expect(unasked.filter(answer => answer.client === other.client)).toHaveLength(1);
    });

    it('a datagram in fragments arrives whole, behind its mark', async () => {
      const payload = pattern(5000);
      const { client, seen } = await wire.observe({ payloads: [payload], dontFragment: false }, 5);
      expect(seen[0].hex).toBe(await wire.standalone(seen[0], client));
      const offsets = [0, 1, 2, 3].map(i => i * wire.fragment);
      expect(seen.slice(1).map(({ fragment }) => fragment.offset)).toEqual(offsets);
      await wire.arrives(payload, { dontFragment: false }, 5);
    });

    it('a marked datagram has the hops left that the kernel would leave it', async () => {
      const { seen } = await wire.observe({ payloads: [text('hop')], ttl: 3 }, 1);
      expect(seen[0]).toMatchObject({ ttl: 2, mark: { carrier } });
      // With one hop left there is none for the way into the TUN: it gets one more, rather than to leave without a mark.
      const last = await wire.observe({ payloads: [text('last')], ttl: 2 }, 1);
      expect(last.seen[0]).toMatchObject({ ttl: 2, mark: { carrier } });
    });

    it.each([1400, 1280])(
      'a mark goes ahead of what has no room for it in the MTU of the route, %i',
      async mtu => {
        const { lb } = bench.lab;
        const route = `${rips[1]}/${family === 4 ? 32 : 128} dev eth1`;
        await lb.ip(`-${family} route add ${route} mtu ${mtu}`);
        try {
          const fits = pattern(mtu - headers - room);
          const inside = await wire.observe({ payloads: [fits] }, 1);
          const marked = { payload: fits, mark: mark(inside.client, carrier), bytes: mtu };
          expect(inside.seen[0]).toMatchObject(marked);
          const over = pattern(mtu - headers - room + 1);
          const ahead = await wire.observe({ payloads: [over] }, 2);
          expect(ahead.seen[0].hex).toBe(await wire.standalone(ahead.seen[0], ahead.client));
          expect(ahead.seen[1]).toMatchObject({ payload: over, mark: null });
        } finally {
          await lb.ip(`-${family} route del ${route}`);
        }
      },
    );

    it.skipIf(!HAS_TSHARK)('tshark finds the mark in a datagram and in its ACK', async () => {
      const file = join(bench.shim.directory, `${carrier}.pcap`);
      const tcpdump = await capture(bench.lab.rs[0], file, 'host', lips[0]);
      const { client } = await wire.observe({ payloads: [text('whose?')] }, 1, 0);
      const packets = await eventually('the mark, its ACK and the echo', async () => {
        const found = await dissect(file, 'udp or ip.proto==248 or ipv6.nxt==248');
        return found.length >= 3 ? found : undefined;
      });
      await tcpdump.end('SIGTERM');

      const named = hexOf(client);
      const isMarked: Partial<Record<string, (packet: Dissected) => boolean | undefined>> = {
        ipo: ({ options }) => options === `1f08${named}`,
        dstopt: ({ options }) => options === named,
        opp: ({ data }) => data?.startsWith(family === 4 ? `1011000c1f08${named}` : `201100181f14${named}`),
      };
      const marked = packets.filter(packet => isMarked[carrier]?.(packet));
      expect(marked.map(({ source }) => source)).toEqual([lips[0], rips[0]]);
      const protocol = { ipo: 17, dstopt: 60, opp: 248 }[carrier];
      expect(packets.map(packet => packet.protocol)).toEqual([protocol, protocol, 17]);
      for (const { headerStatus, udpStatus, malformed } of packets) {
        expect(malformed).toBe(false);
        expect(headerStatus).toBe(family === 4 ? '1' : undefined);
        expect(udpStatus ?? '1').toBe('1');
      }
    });
  });

  // ---- IPv4 alone ------------------------------------------------------------------------------------------------

  const SIDES4 = SIDES.filter(({ family }) => family === 4);

  describe.each(SIDES4)('on an IPv4 wire, $carrier', side => {
    const { carrier } = side;
    const wire = LbWire.use(bench, side);
    const { headers, room } = wire;

    it('a datagram without a checksum is marked without one', async () => {
      const payload = text('unchecked');
      const { client, seen } = await wire.observe({ payloads: [payload], checksum: false }, 1);
      const spec = { payload, mark: mark(client, carrier), checksum: 'zero' } as const;
      expect(seen[0].hex).toBe(await wire.laidOut(seen[0], spec));
    });

    it('a header full of options stays, with the mark ahead of it (ipo) or behind it (opp)', async () => {
      const payload = text('options');
      const count = carrier === 'ipo' ? 2 : 1;
      const { client, seen } = await wire.observe({ payloads: [payload], options: FULL }, count);
      const spec = { payload, options: FULL };
      if (carrier === 'ipo') {
        expect(seen[0].hex).toBe(await wire.standalone(seen[0], client));
        expect(seen[1].hex).toBe(await wire.laidOut(seen[1], spec));
      } else expect(seen[0].hex).toBe(await wire.laidOut(seen[0], { ...spec, mark: mark(client, carrier) }));
      const other = await wire.observe({ payloads: [payload], options: FULL }, count, 0);
      const got = await wire.app.got(payload, wire.appTime(other.from));
      expect(got).toMatchObject({ client: other.client, options: FULL });
      expect(await bench.received(0, other.from)).toHaveLength(1);
    });

    it.each([
      ['a word', '9e04cafe'],
      ['as many as leave room for the mark', `9e20${'a5'.repeat(30)}`],
      ['one too many', `9e24${'a5'.repeat(34)}`],
    ])('options of the client stay behind the mark: %s', async (_, options) => {
      const payload = text('options');
      const isFull = carrier === 'ipo' && options.length / 2 > 32;
      const { client, seen } = await wire.observe({ payloads: [payload], options }, isFull ? 2 : 1);
      const marked = !isFull && { mark: mark(client, carrier) };
      if (isFull) expect(seen[0].hex).toBe(await wire.standalone(seen[0], client));
      const last = seen[seen.length - 1];
      expect(last.hex).toBe(await wire.laidOut(last, { payload, options, ...marked }));
    });

    it('a mark goes ahead of what has no room for it in the path MTU that the kernel has learned', async () => {
      const { lb } = bench.lab;
      const [, rs] = bench.wires;
      const from = rs.now;
      // The LB asks something itself, and a router on the way finds that too big (RFC 1191).
      const asking = App.query(lb, RIPS[1], 9, '--payload', '00'.repeat(1400));
      const big = await rs.event('the LB’s own', ({ destinationPort }) => destinationPort === 9, from);
      const icmp = { type: 3, code: 4, value: 1300, quoted: big.hex.slice(0, 56) };
      await rs.send({ source: RIPS[1], destination: LIP, icmp });
      await eventually(
        'the kernel knows',
        async () => (await lb.ip(`route get ${RIPS[1]}`)).includes('mtu 1300') || undefined,
      );
      await rs.send({
        ...{ source: RIPS[1], sourcePort: 9, destination: LIP, destinationPort: big.sourcePort ?? 0 },
        payload: text('thanks'),
      });
      expect(await asking).toMatchObject({ event: 'answer' });
      try {
        const over = pattern(1300 - headers - room + 1);
        const ahead = await wire.observe({ payloads: [over] }, 2);
        expect(ahead.seen[0].hex).toBe(await wire.standalone(ahead.seen[0], ahead.client));
        expect(ahead.seen[1]).toMatchObject({ payload: over, mark: null });
      } finally {
        await lb.ip('route flush cache');
      }
    });
  });

  // ---- IPv6 alone ------------------------------------------------------------------------------------------------

  const SIDES6 = SIDES.filter(({ family }) => family === 6);

  describe.each(SIDES6)('on an IPv6 wire, $carrier', side => {
    const { carrier } = side;
    const wire = LbWire.use(bench, side);

    it('destination options of the client stay, with the mark behind them (dstopt) or ahead (opp)', async () => {
      const [payload, options] = [text('options'), '1e04cafe0102'];
      const count = carrier === 'opp' ? 2 : 1;
      const { client, seen } = await wire.observe({ payloads: [payload], options }, count);
      const spec = { payload, extensions: [{ type: 60, options }] };
      if (carrier === 'opp') {
        // It comes without extension headers only.
        expect(seen[0].hex).toBe(await wire.standalone(seen[0], client));
        expect(seen[1].hex).toBe(await wire.laidOut(seen[1], spec));
      } else expect(seen[0].hex).toBe(await wire.laidOut(seen[0], { ...spec, mark: mark(client, carrier) }));
      const other = await wire.observe({ payloads: [payload], options }, count, 0);
      const got = await wire.app.got(payload, wire.appTime(other.from));
      expect(got.client).toBe(other.client);
      expect(got.options).toContain(options);
      expect(got.options).not.toContain('1f12');
      expect(await bench.received(0, other.from)).toHaveLength(1);
    });
  });
});

/** Port and address of "address:port" or "[address]:port", as in a mark; of IPv6 addresses with one gap. */
function hexOf(name: string): string {
  const { client, port } = mark(name);
  const hexPort = port.toString(16).padStart(4, '0');
  if (!client.includes(':')) return hexPort + Buffer.from(client.split('.').map(Number)).toString('hex');
  const [head, tail] = client.split('::').map(part => part.split(':').map(word => word.padStart(4, '0')));
  const gap = Array.from({ length: 8 - head.length - tail.length }, () => '0000');
  return [hexPort, ...head, ...gap, ...tail].join('');
}
