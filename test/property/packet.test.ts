/** Nothing that comes from the network makes the codec throw, or read outside its packet. */
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import * as ipv4 from '../../src/codec/ipv4.js';
import { Kind, Mark, Packet } from '../../src/codec/packet.js';
import { strip } from '../../src/codec/rewrite.js';
import * as uoa from '../../src/codec/uoa.js';
import * as arbitrary from '../unit/support/arbitraries.js';
import { load, surrounded, viewOf } from '../unit/support/place.js';
import { datagram, type Octets } from '../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

/** Valid packets with a few bytes changed, cut or not. */
const damaged: fc.Arbitrary<Octets> = fc
  .record({
    header: arbitrary.header,
    carrier: fc.constantFrom('ipo' as const, 'opp' as const),
    client: arbitrary.client,
    options: arbitrary.otherOptions(20),
    payload: arbitrary.payload(20),
    patches: fc.array(fc.tuple(fc.nat(70), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
    cut: fc.nat(100),
  })
  .map(({ header, carrier, client, options, payload, patches, cut }) => {
    const packet = datagram({
      ...header,
      from: `${header.source}:4`,
      to: `${header.destination}:5`,
      carrier,
      client,
      options,
      payload,
    });
    for (const [offset, value] of patches) if (offset < packet.length) packet[offset] = value;
    return packet.slice(0, packet.length - (cut < 50 ? 0 : cut - 50));
  });

const anything = fc.oneof(arbitrary.noise, damaged);

it('findOption and findMark stay inside random bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 44 }), fc.integer({ min: 0, max: 255 }), (bytes, kind) => {
      const view = viewOf(bytes);
      const at = ipv4.findOption(view, 0, bytes.length, kind);
      if (at < 0) expect([ipv4.OPTION_ABSENT, ipv4.OPTION_BROKEN]).toContain(at);
      else {
        expect(bytes[at]).toBe(kind);
        expect(bytes[at + 1]).toBeGreaterThanOrEqual(2);
        expect(at + bytes[at + 1]).toBeLessThanOrEqual(bytes.length);
      }
      const mark = uoa.findMark(view, 0, bytes.length);
      if (mark < 0) expect([uoa.MARK_ABSENT, uoa.MARK_BROKEN]).toContain(mark);
      else expect([8, 20]).toContain(bytes[mark + 1]);
    }),
    { numRuns: 2000 },
  );
});

it('oppLength stays inside random bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 44 }), fc.boolean(), (bytes, plausible) => {
      if (plausible) bytes.set([0x10, 17, 0].slice(0, bytes.length));
      const length = uoa.oppLength(viewOf(bytes), 0, bytes.length);
      expect(length === 0 || (length >= 4 && length <= bytes.length)).toBe(true);
    }),
    { numRuns: 2000 },
  );
});

it('parse never throws on a buffer of exactly the packet, and its offsets stay inside', () => {
  fc.assert(
    fc.property(anything, bytes => {
      const packet = load(bytes);
      expect(packet.end).toBeLessThanOrEqual(bytes.length);
      if (packet.kind === Kind.udp) {
        expect(packet.transport).toBeGreaterThanOrEqual(20);
        expect(packet.udp).toBeGreaterThanOrEqual(packet.transport);
        expect(packet.udp + 8).toBeLessThanOrEqual(packet.end);
        expect(packet.payloadLength).toBeGreaterThanOrEqual(0);
        if (!packet.fragmented) expect(packet.udp + 8 + packet.payloadLength).toBeLessThanOrEqual(packet.end);
      }
      if (packet.mark === Mark.found) {
        expect(packet.option).toBeGreaterThanOrEqual(20);
        expect(packet.option + packet.optionLength).toBeLessThanOrEqual(packet.udp);
        expect(bytes[packet.option]).toBe(31);
      }
    }),
    { numRuns: 5000 },
  );
});

it('parse does not look at what lies around the packet', () => {
  fc.assert(
    fc.property(anything, fc.nat(9), fc.nat(9), (bytes, before, after) => {
      const alone = load(bytes);
      const packet = new Packet(surrounded(bytes, before, after));
      packet.parse(before, before + bytes.length);
      expect([packet.kind, packet.mark, packet.carrier, packet.end - before]).toEqual([
        alone.kind,
        alone.mark,
        alone.carrier,
        alone.end,
      ]);
      if (packet.mark === Mark.found) expect(packet.option - before).toBe(alone.option);
    }),
    { numRuns: 1000 },
  );
});

it('strip never throws on whatever was parsed as UDP, and leaves a packet that parses again', () => {
  fc.assert(
    fc.property(anything, bytes => {
      const packet = load(bytes);
      if (packet.kind !== Kind.udp) return;
      const { payloadLength, carrier, mark } = packet;
      strip(packet);
      const again = new Packet(packet.bytes.buffer);
      expect(again.parse(packet.start, packet.end)).toBe(Kind.udp);
      expect([again.udp, again.transport, again.end]).toEqual([packet.udp, packet.transport, packet.end]);
      expect(again.payloadLength).toBe(payloadLength);
      expect(again.carrier).not.toBe(uoa.Carrier.opp);
      if (carrier === uoa.Carrier.none || mark !== Mark.found) return;
      expect(packet.start).toBeGreaterThanOrEqual(8);
    }),
    { numRuns: 3000 },
  );
});
