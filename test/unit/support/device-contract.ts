/** What a pipeline may expect of its device, whatever it is. */
import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../src/codec/batch.js';
import { Checksum, Packet } from '../../../src/codec/packet.js';
import { HEADROOM } from '../../../src/io/arena.js';
import type { Device } from '../../../src/io/device.js';
import { PacketList, PieceList } from '../../../src/io/lists.js';
import { FAMILIES, inFamily } from './families.js';
import { datagramsOf, single, superPacket, type Unfinished } from './super-packets.js';
import { type DatagramFields, datagram, payloadOf, toHex } from './wire.js';

/** A device, and the world around it. */
export interface DeviceWorld {
  device: Device;
  /** Has the host's stack send a packet to the device, or the datagrams that it stands for. */
  put(packet: Unfinished): void;
  /** In ticks. */
  now(): number;
  /** From now on nothing that goes out is taken. */
  refuse(): void;
  /** The datagrams that have reached the host's stack, and the network, as hexadecimal digits. */
  delivered(): string[];
  emitted(): string[];
}

export function deviceContract(make: () => DeviceWorld): void {
  describe.each(FAMILIES)('as a device, IPv%i', family => {
    const fields = (n: number, more: Partial<DatagramFields> = {}): DatagramFields => ({
      from: inFamily(family, '203.0.113.7:5555'),
      to: inFamily(family, '10.10.1.2:53'),
      ...{ id: n, ttl: 61, payload: payloadOf(100, n) },
      ...more,
    });
    /** Datagrams of one flow, neighbours that may be merged. */
    const one = (n: number, state: Checksum = Checksum.good) => single(fields(n), state);
    const whole = (n: number, length = 350) => superPacket(fields(n, { payload: payloadOf(length, n) }), 100);
    const range = (count: number) => Array.from({ length: count }, (_, n) => n + 1);
    const asDatagrams = (packets: readonly Unfinished[]) => packets.flatMap(datagramsOf).map(toHex);

    function world() {
      const made = make();
      const { device } = made;
      const { buffer, bytes, view } = device.arena;
      const packets = Array.from({ length: BATCH }, () => new Packet(buffer, bytes, view));
      return {
        ...made,
        packets,
        receive: () => device.receive(packets, 100),
        /** Puts packets into the arena as a role leaves them there. */
        list: (unfinished: readonly Unfinished[]) => {
          const list = new PacketList();
          unfinished.forEach((packet, i) => {
            const start = device.arena.packetOffset(i);
            bytes.set(packet.bytes, start);
            packets[i].parse(start, start + packet.bytes.length, packet.checksum, packet.segment);
            list.add(packets[i]);
          });
          return list;
        },
        added: (datagrams: readonly Uint8Array[]) => {
          const list = new PieceList(BATCH);
          datagrams.forEach((datagramBytes, i) => {
            bytes.set(datagramBytes, device.arena.extraOffset(i));
            list.add(device.arena.extraOffset(i), datagramBytes.length);
          });
          return list;
        },
      };
    }

    it('receive gives what was sent in its order, and says what is left to be done to it', () => {
      const { device, put, receive, packets } = world();
      const sent = [one(1), whole(2), one(3, Checksum.partial), one(4, Checksum.full)];
      for (const packet of sent) put(packet);
      const received = packets.slice(0, receive()).map(({ start, end, checksum, segment }) => ({
        bytes: device.arena.bytes.slice(start, end),
        checksum,
        segment,
      }));
      expect(asDatagrams(received)).toEqual(asDatagrams(sent));
    });

    it('receive leaves headroom in front of each packet, and memory for the largest behind', () => {
      const { put, receive, packets } = world();
      for (const n of range(BATCH)) put(one(n));
      receive();
      const starts = [-65536, ...packets.map(({ start }) => start)];
      for (const i of range(BATCH)) {
        expect(starts[i] - HEADROOM).toBeGreaterThanOrEqual(starts[i - 1] + 65535);
        expect(starts[i] % 4).toBe(0);
      }
    });

    it('receive gives a batch at most, and the others the next time', () => {
      const { put, receive, packets } = world();
      for (const n of range(BATCH + 2)) put(one(n));
      expect(receive()).toBe(BATCH);
      expect(receive()).toBe(2);
      const { bytes, end } = packets[1];
      expect(bytes[end - 1]).toBe(one(BATCH + 2).bytes.at(-1));
      expect(receive()).toBe(0);
    });

    it('receive sets the clock, with packets and without', () => {
      const { device, put, receive, now } = world();
      for (const isIdle of [true, false]) {
        if (!isIdle) put(one(1));
        const before = now();
        receive();
        expect((device.clock[0] - before) | 0).toBeGreaterThanOrEqual(0);
        expect((now() - device.clock[0]) | 0).toBeGreaterThanOrEqual(0);
      }
    });

    it('deliver gives each datagram to the stack unchanged, hops included, in their order', () => {
      const { device, list, delivered, emitted } = world();
      const packets = [
        one(1),
        one(2),
        one(3),
        one(9, Checksum.full),
        single(fields(4, { ttl: 2 }), Checksum.good),
      ];
      expect(device.deliver(list(packets))).toBe(0);
      expect(delivered()).toEqual(asDatagrams(packets));
      expect(emitted()).toEqual([]);
    });

    it('deliver gives a super-packet to the stack as its datagrams, and completes checksums', () => {
      const { device, list, delivered } = world();
      const packets = [one(1, Checksum.partial), whole(2), one(6)];
      expect(device.deliver(list(packets))).toBe(0);
      expect(delivered()).toEqual(asDatagrams(packets));
    });

    it('emit sends each datagram to the network, a super-packet as its datagrams, with whole checksums', () => {
      const { device, list, delivered, emitted } = world();
      const packets = [one(1, Checksum.partial), whole(2), one(6), one(7, Checksum.full)];
      expect(device.emit(list(packets))).toBe(0);
      expect(emitted()).toEqual(asDatagrams(packets));
      expect(delivered()).toEqual([]);
    });

    it('emit sends several of the largest super-packets', () => {
      const { device, list, emitted } = world();
      const packets = range(3).map(n =>
        superPacket(fields(n * 100, { payload: payloadOf(65_000, n) }), 1400),
      );
      expect(device.emit(list(packets))).toBe(0);
      expect(emitted()).toEqual(asDatagrams(packets));
    });

    it('emitAdded sends what a role added to the network, as it is', () => {
      const { device, added, delivered, emitted } = world();
      const datagrams = range(BATCH).map(n => datagram(fields(n, { payload: [] })));
      expect(device.emitAdded(added(datagrams))).toBe(0);
      expect(emitted()).toEqual(datagrams.map(toHex));
      expect(delivered()).toEqual([]);
    });

    it('what is refused is counted, and is nowhere', () => {
      const { device, list, added, refuse, delivered, emitted } = world();
      refuse();
      // Each by itself: neighbours would count as one.
      const apart = [1, 2, 3].map(n => single(fields(n, { ttl: 60 + n }), Checksum.good));
      expect(device.deliver(list(apart))).toBe(3);
      expect(device.emit(list([...apart, whole(4)]))).toBe(3 + 4);
      expect(device.emitAdded(added(apart.map(({ bytes }) => bytes)))).toBe(3);
      expect([...delivered(), ...emitted()]).toEqual([]);
    });

    it('an empty list is taken', () => {
      const { device, list, delivered, emitted } = world();
      expect([device.deliver(list([])), device.emit(list([])), device.emitAdded(new PieceList(1))]).toEqual([
        0, 0, 0,
      ]);
      expect([...delivered(), ...emitted()]).toEqual([]);
    });

    it('close may be called twice', () => {
      const { device } = world();
      device.close();
      device.close();
    });
  });
}
