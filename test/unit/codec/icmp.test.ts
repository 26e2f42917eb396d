import { describe, expect, it } from 'vitest';
import * as icmp from '../../../src/codec/icmp.js';
import { load, viewOf } from '../support/place.js';
import { be16, datagram, icmp as error, hex, toHex } from '../support/wire.js';

describe('isError', () => {
  const types = Array.from({ length: 256 }, (_, type) => type);

  it('isError is true of unreachable, time exceeded and parameter problem alone in IPv4', () => {
    expect(types.filter(type => icmp.isError(type, false))).toEqual([3, 11, 12]);
  });

  it('isError is true of unreachable, too big, time exceeded and parameter problem alone in IPv6', () => {
    expect(types.filter(type => icmp.isError(type, true))).toEqual([1, 2, 3, 4]);
  });
});

describe('protocol', () => {
  it('protocol gives 1 for IPv4 and 58 for IPv6', () => {
    expect([icmp.protocol(false), icmp.protocol(true)]).toEqual([1, 58]);
  });
});

describe('nextHopMtu', () => {
  const mtu = (message: string, v6: boolean) => icmp.nextHopMtu(viewOf(hex(`a5a5 ${message}`)), 2, v6);

  it('nextHopMtu reads the last 16 bits of "fragmentation needed"', () => {
    expect(mtu('0304 0000 0000 0578', false)).toBe(1400);
    expect(mtu('0304 0000 ffff ffff', false)).toBe(65535);
  });

  it('nextHopMtu reads all 32 bits of "packet too big"', () => {
    expect(mtu('0200 0000 0000 0500', true)).toBe(1280);
    expect(mtu('0200 0000 ffff ffff', true)).toBe(0xffffffff);
    expect(mtu('0207 0000 0000 0500', true)).toBe(1280);
  });

  it('nextHopMtu is 0 for any other message', () => {
    for (let type = 0; type < 256; type++)
      for (const code of [0, 3, 4, 5]) {
        const message = toHex([type, code, 0, 0, ...be16(1), ...be16(1400)]);
        expect(mtu(message, false), `${type}, ${code}`).toBe(type === 3 && code === 4 ? 1400 : 0);
        expect(mtu(message, true), `${type}, ${code} in IPv6`).toBe(type === 2 ? 0x10000 + 1400 : 0);
      }
  });

  it('nextHopMtu is 0 where an old router left it out', () => {
    expect(mtu('0304 0000 0000 0000', false)).toBe(0);
  });
});

describe('writeChecksum', () => {
  it.each([
    ['IPv4', '192.0.2.250', '10.10.1.2', '10.10.1.2:53', '203.0.113.7:5555', 3],
    ['IPv6', '2001:db8::250', 'fd00::2', '[fd00::2]:53', '[2001:db8::7]:5555', 1],
  ])(
    'writeChecksum gives the checksum of an %s message of odd or even length, whatever stood in the field',
    (...family) => {
      const [, source, destination, from, to, type] = family;
      for (const payload of [[], [1], [1, 2], [255, 255, 255]]) {
        const message = error({ source, destination, type, code: 3, quote: datagram({ from, to, payload }) });
        const packet = load(message, 3);
        const before = toHex(packet.bytes);
        packet.view.setUint16(packet.transport + icmp.CHECKSUM, 0xa5a5);
        icmp.writeChecksum(packet);
        expect(toHex(packet.bytes)).toBe(before);
      }
    },
  );
});
