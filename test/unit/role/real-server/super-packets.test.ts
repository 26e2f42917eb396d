import { describe, expect, it } from 'vitest';
import { Checksum, Packet } from '../../../../src/codec/packet.js';
import { Verdict } from '../../../../src/role/role.js';
import { CARRIERS, datagramIn, type FamilyFields, inFamily } from '../../support/families.js';
import { Rig } from '../../support/real-server.js';
import { datagramsOf, partial, type Unfinished } from '../../support/super-packets.js';
import { payloadOf, toHex } from '../../support/wire.js';

const LB = '10.10.1.1:40000';
const SERVICE = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
/** 3 datagrams of 100 bytes, and one of 50. */
const PAYLOAD = payloadOf(350, 1);
const SEGMENT = 100;

describe.each(CARRIERS)('super-packets at a real server, %s in IPv%i', (carrier, family) => {
  const many = (fields: FamilyFields): Unfinished => ({
    bytes: partial(datagramIn(family, { payload: PAYLOAD, ...fields })),
    checksum: Checksum.partial,
    segment: SEGMENT,
  });

  /** Hands a super-packet to the role: what it says, and the datagrams that the kernel makes of the result. */
  function process(rig: Rig, whole: Unfinished) {
    const { arena } = rig.device;
    const packet = new Packet(arena.buffer);
    const start = arena.packetOffset(0);
    arena.bytes.set(rig.arriving(whole.bytes), start);
    packet.parse(start, start + whole.bytes.length, whole.checksum, whole.segment);
    const added: number[] = [];
    const outbox = { offset: arena.extraOffset(0), add: (length: number) => added.push(length) };
    rig.role.prefetch([packet], 1);
    const verdict = rig.role.process(packet, 1000, outbox);
    const bytes = arena.bytes.slice(packet.start, packet.end);
    const { checksum, segment } = packet;
    return { verdict, added, datagrams: datagramsOf({ bytes, checksum, segment }).map(toHex) };
  }

  const plain = (fields: FamilyFields) => datagramsOf(many(fields)).map(toHex);

  it('a marked super-packet has one ACK, and all its datagrams come from the client', () => {
    const rig = new Rig();
    const counted = rig.counted(() => {
      const marked = many({ from: LB, to: SERVICE, carrier, client: CLIENT });
      const { verdict, added, datagrams } = process(rig, marked);
      expect([verdict, added]).toEqual([Verdict.deliver, [expect.any(Number)]]);
      expect(datagrams).toEqual(plain({ from: CLIENT, to: SERVICE }));
    });
    expect(counted).toEqual({ flows: 1, uoa_got: 4, uoa_saved: 1, packets_delivered: 4 });
  });

  it('a super-packet of a known flow comes from its client, and counts as its datagrams', () => {
    const rig = new Rig();
    rig.send(datagramIn(family, { from: LB, to: SERVICE, carrier, client: CLIENT, payload: [1] }));
    const counted = rig.counted(() => {
      const { verdict, datagrams } = process(rig, many({ from: LB, to: SERVICE }));
      expect(verdict).toBe(Verdict.deliver);
      expect(datagrams).toEqual(plain({ from: CLIENT, to: SERVICE }));
    });
    expect(counted).toEqual({ uoa_none: 4, packets_delivered: 4 });
  });

  it('a super-packet of an unknown flow keeps the load balancer as source', () => {
    const rig = new Rig();
    const counted = rig.counted(() => {
      expect(process(rig, many({ from: LB, to: SERVICE })).datagrams).toEqual(
        plain({ from: LB, to: SERVICE }),
      );
    });
    expect(counted).toEqual({ uoa_none: 4, uoa_miss: 4, packets_delivered: 4 });
  });

  it('a super-packet that names an impossible client counts as its datagrams', () => {
    const rig = new Rig();
    const counted = rig.counted(() => {
      process(
        rig,
        many({
          from: LB,
          to: SERVICE,
          carrier,
          client: '127.0.0.1:5555',
          named: family === 4 ? '127.0.0.1:5555' : '[::1]:5555',
        }),
      );
    });
    expect(counted).toEqual({ uoa_got: 4, uoa_invalid: 4, packets_delivered: 4 });
  });

  it('a super-packet of the application goes to the load balancer', () => {
    const rig = new Rig();
    rig.send(datagramIn(family, { from: LB, to: SERVICE, carrier, client: CLIENT, payload: [1] }));
    const counted = rig.counted(() => {
      const { verdict, datagrams } = process(rig, many({ from: SERVICE, to: CLIENT }));
      expect(verdict).toBe(Verdict.emit);
      expect(datagrams).toEqual(plain({ from: SERVICE, to: LB }));
    });
    expect(counted).toEqual({ replies_translated: 4 });
    const passed = rig.counted(() => process(rig, many({ from: SERVICE, to: '198.51.100.9:9' })));
    expect(passed).toEqual({ replies_passed: 4 });
  });

  it('a super-packet counts for its flow as its datagrams', () => {
    const rig = new Rig();
    process(rig, many({ from: LB, to: SERVICE, carrier, client: CLIENT }));
    process(rig, many({ from: LB, to: SERVICE }));
    process(rig, many({ from: SERVICE, to: CLIENT }));
    expect(rig.clientOf(LB, SERVICE, family)).toBe(inFamily(family, CLIENT));
    expect(rig.flowOf(LB, SERVICE, family)).toMatchObject({ packets: 8, replies: 4 });
  });
});
