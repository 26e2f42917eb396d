/** Nothing that comes from the network makes the codec throw, or read outside its packet. */

import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { Carrier } from '../../../src/codec/carriers.js';
import * as ipv4 from '../../../src/codec/ipv4.js';
import * as ipv6 from '../../../src/codec/ipv6.js';
import { eraseMarks, strip, stripQuoted } from '../../../src/codec/marks.js';
import { Checksum, Kind, Mark, Packet } from '../../../src/codec/packet.js';
import { BROKEN, NONE } from '../../../src/codec/units.js';
import * as uoa from '../../../src/codec/uoa.js';
import * as arbitrary from '../../unit/support/arbitraries.js';
import { load, surrounded, viewOf } from '../../unit/support/place.js';
import {
  datagram,
  destinationOption,
  destinationOptions,
  icmp,
  type Octets,
} from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

const marked4 = fc
  .record({
    fields: arbitrary.datagram4(20),
    carrier: fc.constantFrom('ipo' as const, 'opp' as const),
    client: arbitrary.client,
    payload: arbitrary.payload(20),
  })
  .map(({ fields, ...others }) => datagram({ ...fields, ...others }));

/** With the mark among other options. */
const marked6 = fc
  .record({
    fields: arbitrary.datagram6,
    client: arbitrary.client,
    before: arbitrary.otherOptions6(12),
    after: arbitrary.otherOptions6(12),
    payload: arbitrary.payload(20),
    carrier: fc.constantFrom('opp' as const, 'dstopt' as const),
  })
  .map(({ fields, client, before, after, payload, carrier }) => {
    if (carrier === 'opp') return datagram({ ...fields, payload, carrier, client });
    const options = [...before, ...destinationOption(client), ...after];
    const extensions = [...(fields.extensions ?? []), destinationOptions(options)];
    return datagram({ ...fields, payload, extensions });
  });

/** ICMP errors about them. */
const error = fc
  .tuple(fc.oneof(marked4, marked6), fc.nat(120), fc.constantFrom(1, 2, 3, 4, 11))
  .map(([quote, length, type]) => {
    const v6 = quote[0] >> 4 === 6;
    const [source, destination] = v6 ? ['fd00::250', 'fd00::1'] : ['192.0.2.250', '10.10.1.1'];
    return icmp({ source, destination, type, code: 0, quote: quote.slice(0, length) });
  });

/** Valid packets with a few bytes changed, cut or not. */
const damaged: fc.Arbitrary<Octets> = fc
  .record({
    packet: fc.oneof(marked4, marked6, error),
    patches: fc.array(fc.tuple(fc.nat(120), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
    cut: fc.nat(100),
  })
  .map(({ packet, patches, cut }) => {
    for (const [offset, value] of patches) if (offset < packet.length) packet[offset] = value;
    return packet.slice(0, packet.length - (cut < 50 ? 0 : cut - 50));
  });

const anything = fc.oneof(arbitrary.noise, damaged);

it('findOption and findMark stay inside random bytes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 44 }), fc.integer({ min: 0, max: 255 }), (bytes, kind) => {
      const view = viewOf(bytes);
      const at = ipv4.findOption(view, 0, bytes.length, kind);
      if (at < 0) expect([NONE, BROKEN]).toContain(at);
      else {
        expect(bytes[at]).toBe(kind);
        expect(bytes[at + 1]).toBeGreaterThanOrEqual(2);
        expect(at + bytes[at + 1]).toBeLessThanOrEqual(bytes.length);
      }
      const mark = uoa.findMark(view, 0, bytes.length);
      if (mark < 0) expect([NONE, BROKEN]).toContain(mark);
      else expect([8, 20]).toContain(bytes[mark + 1]);
    }),
    { numRuns: 2000 },
  );
});

it('findOption and findMark stay inside random bytes, in IPv6', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 44 }), fc.integer({ min: 1, max: 255 }), (bytes, kind) => {
      const at = ipv6.findOption(viewOf(bytes), 0, bytes.length, kind);
      if (at < 0) expect([NONE, BROKEN]).toContain(at);
      else {
        expect(bytes[at]).toBe(kind);
        expect(at + 2 + bytes[at + 1]).toBeLessThanOrEqual(bytes.length);
      }
      const whole = Uint8Array.from([17, 0, ...bytes, 0, 0, 0, 0, 0, 0]);
      const units = Math.floor(whole.length / 8);
      whole[1] = units - 1;
      const mark = uoa.findMark6(viewOf(whole.slice(0, units * 8)), 0);
      if (mark < 0) expect([NONE, BROKEN]).toContain(mark);
      else expect([6, 18]).toContain(whole[mark + 1]);
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

it('parse leaves nothing of an earlier packet in the view', () => {
  const stateOf = ({ bytes: _, view: __, quoted, ...rest }: Packet) => ({
    ...rest,
    quoted: rest.kind === Kind.error ? { ...quoted, view: undefined } : undefined,
  });
  fc.assert(
    fc.property(anything, anything, (earlier, later) => {
      const buffer = surrounded([...Array.from(earlier), ...Array.from(later)], 0, 0);
      const end = earlier.length + later.length;
      const used = new Packet(buffer);
      used.parse(0, earlier.length, Checksum.partial, 100);
      used.hint = 5;
      used.query = 5;
      used.isInbound = true;
      used.parse(earlier.length, end);
      const fresh = new Packet(buffer);
      fresh.parse(earlier.length, end);
      expect(stateOf(used)).toEqual(stateOf(fresh));
    }),
    { numRuns: 2000 },
  );
});

it('parse never throws on a buffer of exactly the packet, and its offsets stay inside', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(anything, bytes => {
      const packet = load(bytes);
      seen.add(`${packet.v6 ? 'IPv6' : 'IPv4'} ${packet.kind}`);
      expect(packet.end).toBeLessThanOrEqual(bytes.length);
      if (packet.kind === Kind.udp) {
        expect(packet.transport).toBeGreaterThanOrEqual(packet.v6 ? 40 : 20);
        expect(packet.udp).toBeGreaterThanOrEqual(packet.transport);
        expect(packet.udp + 8).toBeLessThanOrEqual(packet.end);
        expect(packet.payloadLength).toBeGreaterThanOrEqual(0);
        if (!packet.fragmented) expect(packet.udp + 8 + packet.payloadLength).toBeLessThanOrEqual(packet.end);
        expect(bytes[packet.protocolOffset]).toBe(packet.protocol);
        if (packet.hasOptionsHeader) {
          expect(bytes[packet.optionsNumberOffset]).toBe(60);
          expect([packet.protocolOffset, bytes[packet.optionsHeader]]).toEqual([packet.optionsHeader, 17]);
        }
        if (packet.hasFragmentHeader) expect(packet.fragmentHeader + 8).toBeLessThanOrEqual(packet.transport);
      }
      if (packet.kind === Kind.error) {
        expect(packet.quoted.start).toBe(packet.transport + 8);
        expect(packet.quoted.udp + 8).toBeLessThanOrEqual(packet.quoted.end);
        expect(packet.quoted.end).toBeLessThanOrEqual(packet.end);
      }
      if (packet.kind === Kind.fragment) expect(packet.transport).toBeLessThanOrEqual(packet.end);
      if (packet.mark === Mark.found) {
        expect(packet.option).toBeGreaterThanOrEqual(20);
        expect(packet.option + packet.optionLength).toBeLessThanOrEqual(packet.udp);
        expect(bytes[packet.option]).toBe(31);
        expect([8, 20]).toContain(packet.optionLength);
      }
    }),
    { numRuns: 8000 },
  );
  for (const family of ['IPv4', 'IPv6'])
    for (const kind of ['malformed', 'udp', 'fragment', 'other', 'error'] as const)
      expect([...seen], `${kind} in ${family}`).toContain(`${family} ${Kind[kind]}`);
});

it('parse reads nothing outside the packet', () => {
  const seen = (packet: Packet, start: number) => {
    const { kind, mark, carrier, v6, end, transport, udp, option } = packet;
    const hasUdp = kind === Kind.udp || kind === Kind.error;
    return {
      ...{ kind, mark, carrier, v6, end: end - start },
      transport: hasUdp || kind === Kind.fragment ? transport - start : 0,
      udp: hasUdp ? udp - start : 0,
      option: mark === Mark.found ? option - start : 0,
    };
  };
  fc.assert(
    fc.property(anything, fc.nat(9), fc.nat(9), fc.nat(255), (bytes, before, after, poison) => {
      const packet = new Packet(surrounded(bytes, before, after));
      packet.bytes.fill(poison, 0, before);
      packet.bytes.fill(poison, before + bytes.length);
      packet.parse(before, before + bytes.length);
      expect(seen(packet, before)).toEqual(seen(load(bytes), 0));
    }),
    { numRuns: 2000 },
  );
});

it('strip leaves a packet that parses again, whatever was parsed as UDP', () => {
  fc.assert(
    fc.property(anything, bytes => {
      const packet = load(bytes);
      if (packet.kind !== Kind.udp) return;
      const { payloadLength, carrier, mark, start } = packet;
      const removed = strip(packet);
      expect(packet.start).toBe(start + removed);
      const again = new Packet(packet.bytes.buffer);
      expect(again.parse(packet.start, packet.end)).toBe(Kind.udp);
      expect([again.udp, again.transport, again.end]).toEqual([packet.udp, packet.transport, packet.end]);
      expect([again.protocol, again.protocolOffset]).toEqual([packet.protocol, packet.protocolOffset]);
      expect(again.fragmentHeader).toBe(packet.fragmentHeader);
      expect(again.payloadLength).toBe(payloadLength);
      expect(again.carrier).not.toBe(Carrier.opp);
      if (carrier === Carrier.dstopt) expect(removed % 8).toBe(0);
      if (carrier === Carrier.none || mark !== Mark.found) return;
      expect(packet.start).toBeGreaterThanOrEqual(8);
    }),
    { numRuns: 5000 },
  );
});

it('eraseMarks ends and leaves no mark, whatever was parsed as UDP', () => {
  fc.assert(
    fc.property(anything, bytes => {
      const packet = load(bytes);
      if (packet.kind !== Kind.udp) return;
      const { payloadLength } = packet;
      eraseMarks(packet);
      const again = new Packet(packet.bytes.buffer);
      expect(again.parse(packet.start, packet.end)).toBe(Kind.udp);
      expect([again.udp, again.transport, again.end]).toEqual([packet.udp, packet.transport, packet.end]);
      expect(again.payloadLength).toBe(payloadLength);
      expect(again.mark).not.toBe(Mark.found);
    }),
    { numRuns: 3000 },
  );
});

it('stripQuoted leaves an error, whatever was parsed as one', () => {
  let stripped = 0;
  fc.assert(
    fc.property(fc.oneof(error, damaged), bytes => {
      const packet = load(bytes);
      if (packet.kind !== Kind.error) return;
      const ports = [packet.quoted.sourcePort, packet.quoted.destinationPort];
      const addresses = [...packet.quoted.addresses];
      if (stripQuoted(packet) > 0) stripped++;
      const again = new Packet(packet.bytes.buffer);
      expect(again.parse(packet.start, packet.end)).toBe(Kind.error);
      expect([again.quoted.sourcePort, again.quoted.destinationPort]).toEqual(ports);
      expect([...again.quoted.addresses]).toEqual(addresses);
      expect({ ...again.quoted, view: 0 }).toEqual({ ...packet.quoted, view: 0 });
    }),
    { numRuns: 3000 },
  );
  expect(stripped).toBeGreaterThan(100);
});
