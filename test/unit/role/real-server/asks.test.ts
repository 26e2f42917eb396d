/** When the real server asks for the client of a flow, and that it does so within bounds (PROTOCOL: LB 5). */
import { beforeEach, describe, expect, it } from 'vitest';
import { restoreFlows } from '../../../../src/flow/restore.js';
import { CARRIERS, FAMILIES } from '../../support/families.js';
import { flowKey, learn } from '../../support/flow-model.js';
import { ASKING, OPTIONS, Rig } from '../../support/real-server.js';
import { CLIENT, LB, PAYLOAD, packetsIn, SERVER } from '../../support/real-server-packets.js';
import { ANY, saving } from '../../support/saved.js';
import { decode, endpoint, fragment, hex, toHex } from '../../support/wire.js';

let rig: Rig;

beforeEach(() => {
  rig = new Rig({ options: ASKING });
});

/** A load balancer's address and port, however many. */
const flow = (i: number) => `10.10.1.1:${1024 + i}`;

describe.each(FAMILIES)('asks, IPv%i', family => {
  const { inbound, asHex, ackFor, reply } = packetsIn(family);
  const nobody = family === 4 ? '0.0.0.0:0' : '[::]:0';
  const askBy = (carrier: 'ipo' | 'opp', from = LB) => ackFor({ carrier, client: nobody, to: from });
  const ask = askBy('ipo');
  const asksAbout = (packet: Uint8Array) => rig.send(packet).emitted.length;

  it('a datagram of an unknown flow is delivered as it came, and its client is asked for', () => {
    expect(rig.send(inbound())).toEqual({ delivered: [asHex()], emitted: [ask] });
    expect(rig.counts()).toEqual({ uoa_none: 1, uoa_miss: 1, asks_sent: 1, packets_delivered: 1 });
  });

  it('the ask has the bytes that PROTOCOL says', () => {
    const { emitted } = rig.send(inbound());
    const option = family === 4 ? '1f080000 00000000' : '1f120000 00000000000000000000000000000000';
    expect(emitted[0]).toContain(toHex(hex(option)));
    expect(decode(hex(emitted[0]))).toMatchObject({ payload: '' });
  });

  it.each(CARRIERS.filter(([, of]) => of === family))('the answer by %s makes the client known', carrier => {
    rig.send(inbound());
    const answer = inbound({ carrier, client: CLIENT, payload: [] });
    expect(rig.send(answer)).toEqual({ delivered: [], emitted: [ackFor({ carrier })] });
    expect(rig.send(inbound())).toEqual({ delivered: [asHex({ from: CLIENT })], emitted: [] });
    expect(rig.counts()).toMatchObject({
      asks_sent: 1,
      asks_answered: 1,
      uoa_standalone: 1,
      uoa_ack_sent: 1,
    });
  });

  it.each(CARRIERS.filter(([, of]) => of === family))(
    'an ask has the carrier of the last mark, %s',
    carrier => {
      rig.send(inbound({ from: '10.10.1.9:7', carrier, client: CLIENT }));
      expect(rig.send(inbound()).emitted).toEqual([askBy(carrier)]);
    },
  );

  it('a flow is asked about once a second, three times, and again after a minute', () => {
    const asked: number[] = [];
    for (let ms = 0; ms < 70_000; ms += 250) {
      if (asksAbout(inbound()) > 0) asked.push(ms);
      rig.wait(250);
    }
    expect(asked).toEqual([0, 1000, 2000, 62_000, 63_000, 64_000]);
  });

  it('several datagrams of one batch are one ask', () => {
    expect(rig.send(inbound(), inbound(), inbound()).emitted).toEqual([ask]);
  });

  it('a flow that has been answered is asked about at once when its client counts no more', () => {
    rig.send(inbound());
    rig.send(inbound({ carrier: 'ipo', client: CLIENT, payload: [] }));
    rig.flows.forget(0);
    expect(asksAbout(inbound())).toBe(1);
  });

  it('all flows together are asked about 500 times at once, and 2 times a millisecond', () => {
    // Answers, so that the load balancer is not taken for one without asks.
    const answered = () => rig.send(inbound({ from: '10.10.1.9:7', carrier: 'ipo', client: CLIENT }));
    let asks = 0;
    for (let i = 0; i < 2000; i++) {
      asks += asksAbout(inbound({ from: flow(i) }));
      if (i % 20 === 0) answered();
    }
    expect(asks).toBeGreaterThan(450);
    expect(asks).toBeLessThanOrEqual(500);
    rig.wait(10);
    answered();
    asks = 0;
    for (let i = 2000; i < 2030; i++) asks += asksAbout(inbound({ from: flow(i) }));
    expect(asks).toBeGreaterThan(15);
    expect(asks).toBeLessThanOrEqual(20);
  });

  it('a load balancer that never answers is soon asked once in ten seconds', () => {
    let asks = 0;
    for (let i = 0; i < 1000; i++) {
      asks += asksAbout(inbound({ from: flow(i) }));
      rig.wait(10);
    }
    expect(asks).toBeGreaterThanOrEqual(32);
    expect(asks).toBeLessThanOrEqual(33);
    asks = 0;
    for (let i = 1000; i < 4000; i++) {
      asks += asksAbout(inbound({ from: flow(i) }));
      rig.wait(10);
    }
    expect(asks).toBe(3);
    // One mark shows that it lives.
    rig.send(inbound({ from: '10.10.1.9:7', carrier: 'ipo', client: CLIENT }));
    expect(asksAbout(inbound({ from: flow(5000) }))).toBe(1);
  });

  it.each(['10.20.0.1:40000', '10.30.0.1:40000', '203.0.113.80:40000'])(
    'one that knows no ACKs, that marks empty datagrams, or that is no load balancer is not asked: %s',
    from => {
      expect(rig.send(inbound({ from })).emitted).toEqual([]);
    },
  );

  it('without any answer every other ask is tried in opp in the end', () => {
    const asks = Array.from({ length: 20 }, (_, i) => rig.send(inbound({ from: flow(i) })).emitted);
    const expected = asks.map((_, i) => [askBy(i >= 16 && i % 2 === 1 ? 'opp' : 'ipo', flow(i))]);
    expect(asks).toEqual(expected);
  });

  it('nobody is asked with ask: false', () => {
    rig = new Rig({ options: OPTIONS });
    expect(rig.send(inbound()).emitted).toEqual([]);
  });

  it('about a port that is not served nobody is asked', () => {
    expect(rig.send(inbound({ to: '10.10.1.2:99' })).emitted).toEqual([]);
  });

  it('a first fragment is asked about, and delivered', () => {
    const [first, second] = fragment(inbound({ payload: [...PAYLOAD, ...PAYLOAD, ...PAYLOAD] }), 40);
    const { delivered, emitted } = rig.send(first, second);
    expect(delivered).toHaveLength(2);
    expect(emitted).toEqual([ask]);
  });

  it('a flow that only replies keep alive is asked about after half of its time, and stays known', () => {
    rig = new Rig({ options: ASKING, size: { maxFlows: 100, timeoutMs: 360_000 } });
    rig.send(inbound({ carrier: 'ipo', client: CLIENT }));
    const turned = toHex(reply({ to: LB }));
    for (let round = 0; round < 4; round++) {
      rig.wait(179_900);
      expect(rig.send(reply()).emitted).toEqual([turned]);
      rig.wait(100);
      expect(rig.send(reply()).emitted).toEqual([ask, turned]);
      expect(rig.send(reply()).emitted).toEqual([turned]);
      rig.send(inbound({ carrier: 'ipo', client: CLIENT, payload: [] }));
    }
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: CLIENT })]);
    expect(rig.counts()).toMatchObject({ asks_sent: 4, asks_answered: 4 });
  });

  it('asks that could not be sent are not counted as ACKs', () => {
    rig.device.refusing = true;
    rig.send(inbound());
    expect(rig.counts()).toEqual({ uoa_none: 1, uoa_miss: 1, packets_delivered: 1, dropped_io: 2 });
  });
});

describe('a flow that was restored', () => {
  const { inbound, asHex, ackFor, reply } = packetsIn(4);
  const ask = ackFor({ client: '0.0.0.0:0', to: LB });
  const options = { maxFlows: 100, timeoutMs: 60_000, routesReplies: true, seed: 3 };

  beforeEach(() => {
    const { table, words } = saving(options, 0);
    const { flow: known } = learn(table, flowKey(`${LB} > ${SERVER}`), endpoint(CLIENT), 900);
    table.recordInbound(known, 900);
    restoreFlows(rig.flows, words, ANY, rig.device.clock[0]);
  });

  it('has its client at once, and the load balancer is asked whether it still is, once', () => {
    expect(rig.send(inbound())).toEqual({ delivered: [asHex({ from: CLIENT })], emitted: [ask] });
    rig.wait(5000);
    expect(rig.send(inbound())).toEqual({ delivered: [asHex({ from: CLIENT })], emitted: [] });
  });

  it('has another client from the answer on, if one came while no shim was there', () => {
    const other = '198.51.100.9:1';
    rig.send(inbound());
    rig.send(inbound({ client: other, payload: [] }));
    expect(rig.send(inbound()).delivered).toEqual([asHex({ from: other })]);
    expect(rig.counts()).toMatchObject({ asks_sent: 1, asks_answered: 1, uoa_replaced: 1 });
  });

  it('is not asked about if its first packet has a mark, nor for a reply', () => {
    expect(rig.send(reply()).emitted).toHaveLength(1);
    expect(rig.send(inbound({ client: CLIENT })).emitted).toEqual([ackFor({})]);
    expect(rig.send(inbound()).emitted).toEqual([]);
  });
});
