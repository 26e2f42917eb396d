/** Marks that are broken, and packets that are cut off. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CARRIERS } from '../../support/families.js';
import { Rig } from '../../support/real-server.js';
import { CLIENT, PAYLOAD, packetsIn } from '../../support/real-server-packets.js';
import { destinationOptions, ipv4, opp, option, udp } from '../../support/wire.js';

let rig: Rig;

beforeEach(() => {
  rig = new Rig();
});

describe('broken marks', () => {
  const { inbound, asHex } = packetsIn(4);

  it('broken marks in IP options of every length are delivered as they came, and counted', () => {
    let invalid = 0;
    for (let length = 0; length <= 40; length++) {
      if (length === 8 || length === 20) continue;
      const options = [31, length, ...new Array<number>(38).fill(1)];
      expect(rig.send(inbound({ options })), `length ${length}`).toEqual({
        delivered: [asHex({ options })],
        emitted: [],
      });
      expect(rig.counts()).toEqual({ uoa_invalid: ++invalid, packets_delivered: invalid });
    }
  });

  it('broken marks in IPv6 destination options of every length are delivered as they came, and counted', () => {
    const packets = packetsIn(6);
    let invalid = 0;
    for (let length = 0; length <= 40; length++) {
      if (length === 6 || length === 18) continue;
      const extensions = [destinationOptions([31, length, ...new Array<number>(36).fill(0)])];
      expect(rig.send(packets.inbound({ extensions })), `length ${length}`).toEqual({
        delivered: [packets.asHex({ extensions })],
        emitted: [],
      });
      expect(rig.counts()).toEqual({ uoa_invalid: ++invalid, packets_delivered: invalid });
    }
  });

  it('a broken mark in IPv6 destination options leaves the flow its client', () => {
    const packets = packetsIn(6);
    const extensions = [destinationOptions([31, 7, 1, 1, 1, 1, 1, 1, 1])];
    rig.send(packets.inbound({ carrier: 'ipo', client: CLIENT }));
    expect(rig.send(packets.inbound({ extensions })).delivered).toEqual([
      packets.asHex({ from: CLIENT, extensions }),
    ]);
    expect(rig.counts()).toMatchObject({ uoa_invalid: 1 });
  });

  it('a broken mark in IP options leaves the flow its client', () => {
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    const options = [31, 9, 1, 1];
    expect(rig.send(inbound({ options })).delivered).toEqual([asHex({ from: CLIENT, options })]);
    expect(rig.counts()).toMatchObject({ uoa_invalid: 1 });
    expect(rig.counts()).not.toHaveProperty('uoa_none');
  });

  it('broken marks in opp headers of every length are delivered without the header, or dropped', () => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    for (let length = 0; length <= 80; length++) {
      const fresh = new Rig();
      const packet = ipv4({
        source: '10.10.1.1',
        destination: '10.10.1.2',
        protocol: 248,
        ttl: 60,
        body: [0x10, 17, 0, length, 31, 30, 1, 1, 1, 1, 1, 1, ...body],
      });
      const { delivered, emitted } = fresh.send(packet);
      expect(emitted).toEqual([]);
      if (length === 12) {
        expect(delivered).toEqual([asHex()]);
        expect(fresh.counts()).toEqual({ uoa_invalid: 1, packets_delivered: 1 });
      } else if (delivered.length === 0)
        expect(fresh.counts(), `length ${length}`).toMatchObject({ uoa_invalid: 1, dropped_malformed: 1 });
      else expect(fresh.counts(), `length ${length}`).toMatchObject({ uoa_invalid: 1, packets_delivered: 1 });
      // Lengths below a header, or past what is there, lead nowhere.
      if (length < 4 || length > 12 + 8 + 33 - 8) expect(delivered, `length ${length}`).toEqual([]);
    }
  });

  it.each([
    ['no version', [0x00, 17, 0, 12]],
    ['another version', [0x30, 17, 0, 12]],
    ['another protocol behind it', [0x10, 6, 0, 12]],
    ['a length of 0', [0x10, 17, 0, 0]],
    ['a length past the packet', [0x10, 17, 1, 0]],
  ])('opp with %s is dropped and counted', (_, header) => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    const packet = ipv4({
      source: '10.10.1.1',
      destination: '10.10.1.2',
      protocol: 248,
      body: [...header, ...option(CLIENT), ...body],
    });
    expect(rig.send(packet)).toEqual({ delivered: [], emitted: [] });
    expect(rig.counts()).toEqual({ dropped_malformed: 1, uoa_invalid: 1 });
  });

  it('an opp header without a mark comes off', () => {
    const body = udp({ address: '10.10.1.1', port: 40000 }, { address: '10.10.1.2', port: 53 }, PAYLOAD);
    const packet = ipv4({
      source: '10.10.1.1',
      destination: '10.10.1.2',
      protocol: 248,
      ttl: 60,
      body: [...opp([1, 1, 1, 0]), ...body],
    });
    expect(rig.send(packet).delivered).toEqual([asHex()]);
    expect(rig.counts()).toEqual({ uoa_invalid: 1, packets_delivered: 1 });
  });

  it.each([
    ['no version', [0x00, 17, 0, 24]],
    ['another version', [0x30, 17, 0, 24]],
    ['another protocol behind it', [0x20, 6, 0, 24]],
    ['a length of 0', [0x20, 17, 0, 0]],
    ['a length past the packet', [0x20, 17, 1, 0]],
  ])('opp over IPv6 with %s is dropped and counted', (_, header) => {
    const packet = packetsIn(6).inbound({ carrier: 'opp', client: CLIENT });
    packet.set(header, 40);
    expect(rig.send(packet)).toEqual({ delivered: [], emitted: [] });
    expect(rig.counts()).toEqual({ dropped_malformed: 1, uoa_invalid: 1 });
  });

  it('an opp header without a mark comes off over IPv6 too', () => {
    const { inbound, asHex } = packetsIn(6);
    expect(rig.send(inbound({ carrier: 'opp', mark: [1, 1, 1, 0] })).delivered).toEqual([asHex()]);
    expect(rig.counts()).toEqual({ uoa_invalid: 1, packets_delivered: 1 });
  });

  it('every truncation of a marked packet is dropped and counted', () => {
    for (const [carrier, family] of CARRIERS) {
      const fresh = new Rig();
      const packet = packetsIn(family).inbound({ carrier, client: CLIENT, payload: [1, 2, 3] });
      for (let length = 1; length < packet.length; length++) fresh.send(packet.slice(0, length));
      expect(fresh.counts().dropped_malformed).toBe(packet.length - 1);
      expect(fresh.flows.count).toBe(0);
    }
  });
});
