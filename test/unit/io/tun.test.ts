import { constants } from 'node:os';
import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import { Checksum, Packet } from '../../../src/codec/packet.js';
import { WAIT_BROKEN } from '../../../src/io/linux.js';
import { PacketList } from '../../../src/io/lists.js';
import { TunDevice } from '../../../src/io/tun.js';
import { deviceContract } from '../support/device-contract.js';
import { FakeKernel } from '../support/fake-kernel.js';
import {
  datagramsOf,
  single,
  superPacket,
  type Unfinished,
  withHeader,
  withoutHeader,
} from '../support/super-packets.js';
import { type DatagramFields, datagram, hex, payloadOf, toHex } from '../support/wire.js';

const USUAL: DatagramFields = { from: '203.0.113.7:5555', to: '10.10.1.2:53', ttl: 63 };
const USUAL6: DatagramFields = { from: '[2001:db8::7]:5555', to: '[fd00:1::2]:53', ttl: 63 };

function make(merges = true, coalesceUs = 0) {
  const kernel = new FakeKernel();
  const device = new TunDevice(kernel, { tunFd: 5, wakeFd: 6, fwmark: 1, merges, coalesceUs });
  const makePacket = () => new Packet(device.arena.buffer, device.arena.bytes, device.arena.view);
  const listOf = (packets: readonly Unfinished[]): PacketList => {
    const list = new PacketList();
    packets.forEach(({ bytes, checksum, segment }, i) => {
      const packet = makePacket();
      const start = device.arena.packetOffset(i);
      device.arena.bytes.set(bytes, start);
      packet.parse(start, start + bytes.length, checksum, segment);
      list.add(packet);
    });
    return list;
  };
  const packets = Array.from({ length: BATCH }, makePacket);
  return {
    kernel,
    device,
    packets,
    deliver: (...packets: Unfinished[]) => device.deliver(listOf(packets)),
    emit: (...packets: Unfinished[]) => device.emit(listOf(packets)),
  };
}

const one = (n: number, usual = USUAL, state: Checksum = Checksum.good) =>
  single({ ...usual, payload: payloadOf(100, n) }, state);
/** The same as it is written. */
const written = (n: number, usual = USUAL, id = 0) =>
  toHex(datagram({ ...usual, id, payload: payloadOf(100, n) }));
const EMPTY = '00'.repeat(12);
const isSuper = (packet: Uint8Array) => packet[1] === 5;

describe.each([
  ['which merges', true],
  ['which does not merge', false],
])('TunDevice, %s', (_, merges) => {
  deviceContract(() => {
    const kernel = new FakeKernel();
    const device = new TunDevice(kernel, { tunFd: 5, wakeFd: 6, fwmark: 1, merges, coalesceUs: 0 });
    device.arena.bytes.fill(0xa5);
    return {
      device,
      put: packet => kernel.toRead.push(withHeader(packet)),
      now: () => kernel.clock(),
      refuse: () => {
        kernel.refuses = () => -constants.errno.ENOBUFS;
      },
      delivered: () => kernel.written.map(hex).map(withoutHeader).flatMap(datagramsOf).map(toHex),
      emitted: () => [...kernel.sent],
    };
  });
});

describe('deliver', () => {
  it('writes each packet with an empty virtio header where nothing is merged', () => {
    const { kernel, deliver } = make(false);
    expect(deliver(one(1, USUAL, Checksum.full), one(2), one(3, USUAL6))).toBe(0);
    expect(kernel.written).toEqual([EMPTY + written(1), EMPTY + written(2), EMPTY + written(3, USUAL6)]);
  });

  it('writes neighbours of one flow as a super-packet, with a virtio header that says so', () => {
    const { kernel, deliver } = make(true);
    expect(deliver(one(1), one(2), one(3), one(4, USUAL6))).toBe(0);
    expect(kernel.written).toHaveLength(2);
    expect(kernel.written[0].slice(0, 24)).toBe('01051c006400140006000000');
    const bytes = Buffer.from(kernel.written[0].slice(24), 'hex');
    expect(datagramsOf({ bytes, checksum: Checksum.partial, segment: 100 }).map(toHex)).toEqual(
      [1, 2, 3].map((n, id) => written(n, USUAL, id)),
    );
    expect(kernel.written[1]).toBe(EMPTY + written(4, USUAL6));
  });

  describe('of a kernel that refuses super-packets', () => {
    /** A device whose kernel has done so once. */
    function refused() {
      const { kernel, deliver } = make(true);
      let supers = 0;
      kernel.refuses = packet => {
        if (!isSuper(packet)) return 0;
        supers++;
        return -constants.errno.EINVAL;
      };
      const datagrams = [one(1), one(2), one(3, USUAL6), one(4, USUAL6), one(5, USUAL, Checksum.full)];
      expect(deliver(...datagrams)).toBe(0);
      const first = kernel.written.splice(0);
      return { kernel, deliver, first, supers: () => supers };
    }

    it('writes the datagrams of those that were refused, behind those that were not', () => {
      expect(refused().first).toEqual([
        EMPTY + written(5),
        EMPTY + written(1),
        EMPTY + written(2, USUAL, 1),
        EMPTY + written(3, USUAL6),
        EMPTY + written(4, USUAL6),
      ]);
    });

    it('writes datagrams alone from then on, in their order', () => {
      const { kernel, deliver, supers } = refused();
      const before = supers();
      const whole = superPacket({ ...USUAL, payload: [...payloadOf(100, 1), ...payloadOf(100, 2)] }, 100);
      expect(deliver(one(1), one(2), whole, one(3, USUAL6, Checksum.partial))).toBe(0);
      expect(kernel.written).toEqual([
        EMPTY + written(1),
        EMPTY + written(2),
        EMPTY + written(1),
        EMPTY + written(2, USUAL, 1),
        EMPTY + written(3, USUAL6),
      ]);
      expect(supers()).toBe(before);
    });
  });

  it('counts a super-packet that is refused for want of buffers, and goes on with super-packets', () => {
    const { kernel, deliver } = make(true);
    kernel.refuses = packet => (isSuper(packet) ? -constants.errno.ENOBUFS : 0);
    expect(deliver(one(1), one(2), one(3, USUAL6))).toBe(1);
    expect(kernel.written).toEqual([EMPTY + written(3, USUAL6)]);
    kernel.refuses = () => 0;
    expect(deliver(one(1), one(2))).toBe(0);
    expect(kernel.written).toHaveLength(2);
  });

  it('counts a datagram that is refused as invalid, and goes on with super-packets', () => {
    const { kernel, deliver } = make(true);
    kernel.refuses = () => -constants.errno.EINVAL;
    expect(deliver(one(3, USUAL6))).toBe(1);
    kernel.refuses = () => 0;
    expect(deliver(one(1), one(2))).toBe(0);
    expect(kernel.written).toHaveLength(1);
  });

  it('counts each datagram of a super-packet that is refused once it is cut', () => {
    const { kernel, deliver } = make(true);
    kernel.refuses = () => -constants.errno.EINVAL;
    expect(deliver(one(1), one(2), one(3, USUAL6))).toBe(3);
  });
});

describe('emit', () => {
  it('sends whole datagrams without a header, and writes nothing to the TUN', () => {
    const { kernel, emit } = make();
    const whole = superPacket({ ...USUAL, payload: payloadOf(250, 1) }, 100);
    const packets = [one(1), whole, one(2, USUAL6, Checksum.partial)];
    expect(emit(...packets)).toBe(0);
    expect(kernel.sent).toEqual(packets.flatMap(datagramsOf).map(toHex));
    expect(kernel.written).toEqual([]);
  });
});

describe('receive', () => {
  it('parses packets behind their virtio headers, with the checksum’s state and segment that those say', () => {
    const { kernel, device, packets } = make();
    const whole = superPacket({ ...USUAL, payload: payloadOf(250, 1) }, 100);
    kernel.toRead.push(
      [...Buffer.from('01051c006400140006000000', 'hex'), ...whole.bytes],
      [...Buffer.from('020000000000000000000000', 'hex'), ...one(2).bytes],
    );
    expect(device.receive(packets, 100)).toBe(2);
    expect(device.clock[0]).toBe(77);
    const [first, second] = packets;
    const starts = [0, 1].map(i => device.arena.packetOffset(i));
    expect(first).toMatchObject({ start: starts[0], end: starts[0] + 278, segment: 100 });
    expect(second).toMatchObject({ start: starts[1], end: starts[1] + 128, segment: 0 });
    expect([first.checksum, second.checksum]).toEqual([Checksum.partial, Checksum.good]);
    expect(toHex(device.arena.bytes.slice(first.start, first.end))).toBe(toHex(whole.bytes));
    expect(device.receive(packets, 100)).toBe(0);
  });
});

describe('a pause before reading', () => {
  /** 100,000 packets a second for some milliseconds, ten at a time. */
  function sleepsUnderLoad(coalesceUs: number, timeoutMs: number) {
    const { kernel, device, packets } = make(true, coalesceUs);
    device.receive(packets, 100);
    for (let i = 0; i < 200; i++) {
      kernel.ticks = 78 + Math.floor(i / 10);
      for (let k = 0; k < 10; k++) kernel.toRead.push([...Buffer.alloc(12), ...one(k).bytes]);
      device.receive(packets, 100);
    }
    kernel.sleeps.length = 0;
    device.receive(packets, timeoutMs);
    return kernel.sleeps;
  }

  it('is made under load, as long as is configured', () => {
    expect(sleepsUnderLoad(50, 100)).toEqual([50]);
  });

  it('is not made while the role has work to do', () => {
    expect(sleepsUnderLoad(50, 0)).toEqual([]);
  });

  it('is not made where it is configured to be 0', () => {
    expect(sleepsUnderLoad(0, 100)).toEqual([]);
  });
});

it('receive throws when the TUN is gone', () => {
  const { kernel, device, packets } = make();
  kernel.wait = () => WAIT_BROKEN;
  expect(() => device.receive(packets, 100)).toThrow('the TUN device is gone');
});
