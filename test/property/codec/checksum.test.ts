import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import {
  applyChange,
  applyUdpChange,
  complement,
  fold,
  longChange,
  sumLongs,
  sumWords,
  wordChange,
} from '../../../src/codec/checksum.js';
import * as arbitrary from '../../unit/support/arbitraries.js';
import { surrounded } from '../../unit/support/place.js';
import { address, be16, checksum, datagram, udpChecksum } from '../../unit/support/wire.js';

// Only against hanging: how long it takes is the machine's business.
vi.setConfig({ testTimeout: 60_000 });

const be32 = (value: number): number[] => [...be16(Math.floor(value / 65536)), ...be16(value % 65536)];
const long = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  fc.constantFrom(0, 0xffff, 0xffff_0000, 0xffff_ffff),
);

it('sumWords sums any bytes like the slow sum', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(7), (bytes, start) => {
      const view = new DataView(surrounded(bytes, start, 5));
      expect(complement(sumWords(view, start, start + bytes.length))).toBe(checksum(bytes));
    }),
  );
});

it('sumLongs gives what sumWords gives, whatever sum it starts from', () => {
  const start = fc.oneof(fc.integer({ min: 0, max: 0x2_0000 }), fc.constantFrom(0xffff, 0x1_0000));
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(7), start, (bytes, at, sum) => {
      const view = new DataView(surrounded(bytes, at, 5));
      expect(sumLongs(view, at, at + bytes.length, sum)).toBe(
        // Two ways to write nothing: which one it is does not matter to any checksum.
        fold(sumWords(view, at, at + bytes.length, sum)),
      );
    }),
    { numRuns: 1000 },
  );
  for (const fill of [0, 0xff]) {
    const view = new DataView(surrounded(new Uint8Array(65535).fill(fill)));
    expect(sumLongs(view, 0, 65535, 0xffff)).toBe(fold(sumWords(view, 0, 65535, 0xffff)));
  }
});

it('an incremental change of an IP header equals computing it anew', () => {
  fc.assert(
    fc.property(arbitrary.header, long, arbitrary.port, (header, after, id) => {
      const packet = [
        ...datagram({ ...header, from: `${header.source}:1`, to: `${header.destination}:2` }),
      ].slice(0, 20);
      const before = address(header.source).reduce((value, byte) => value * 256 + byte, 0);
      const changed = [...packet];
      changed.splice(12, 4, ...be32(after));
      changed.splice(4, 2, ...be16(id));
      changed.splice(10, 2, 0, 0);
      expect(
        applyChange(packet[10] * 256 + packet[11], longChange(before, after) + wordChange(header.id, id)),
      ).toBe(checksum(changed));
    }),
    { numRuns: 1000 },
  );
});

it('an incremental change of a UDP checksum equals computing it anew', () => {
  fc.assert(
    fc.property(
      arbitrary.header,
      arbitrary.port,
      arbitrary.port,
      arbitrary.payload(60),
      long,
      arbitrary.port,
      ({ source, destination }, from, to, payload, after, port) => {
        const packet = datagram({ from: `${source}:${from}`, to: `${destination}:${to}`, payload });
        const before = address(source).reduce((value, byte) => value * 256 + byte, 0);
        const changed = [...packet.slice(20)];
        changed.splice(0, 2, ...be16(port));
        expect(
          applyUdpChange(packet[26] * 256 + packet[27], longChange(before, after) + wordChange(from, port)),
        ).toBe(udpChecksum(be32(after), address(destination), changed));
      },
    ),
    { numRuns: 1000 },
  );
});

it('a changed UDP checksum is 0xffff exactly where the computed one is 0', () => {
  fc.assert(
    fc.property(arbitrary.payload(40), arbitrary.port, (payload, from) => {
      // The last word of the payload is chosen so that everything sums up to 0xffff.
      const even = [...payload.slice(0, payload.length - (payload.length % 2)), 0, 0];
      const fields = { from: `198.51.100.7:${from}`, to: '10.10.1.2:53' };
      const packet = datagram({ ...fields, payload: even });
      const missing = packet[26] * 256 + packet[27];
      expect(applyUdpChange(missing, wordChange(0, missing))).toBe(0xffff);
      even.splice(-2, 2, ...be16(missing));
      const full = datagram({ ...fields, payload: even });
      expect([...full.slice(26, 28)]).toEqual([0xff, 0xff]);
    }),
  );
});
