/** Whose packets they are: what conntrack is asked, and what the flow table keeps. */
import { beforeEach, describe, expect, it } from 'vitest';
import { FAMILIES } from '../../support/families.js';
import type { Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  LB,
  makeRig,
  OTHER,
  packetsIn,
  type RigSettings,
  SERVER,
} from '../../support/load-balancer-packets.js';

let rig: Rig;

/** A new load balancer, with one client's connection in conntrack. */
function make(settings: RigSettings = {}): void {
  rig = makeRig(settings);
}

beforeEach(() => {
  make();
});

describe.each(FAMILIES)('conntrack, IPv%i', family => {
  const { arriving, asHex, ack, tuple: TUPLE } = packetsIn(family);
  beforeEach(() => {
    make({ family });
  });

  it('conntrack is asked for each packet by its reply tuple, and the same connection goes on where it was', () => {
    rig.send(arriving());
    rig.skip(1000);
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client: CLIENT })]);
    expect(rig.connections.finds).toEqual([TUPLE, TUPLE]);
    rig.send(arriving());
    rig.skip(1000);
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 3, packets_unmarked: 1, flows: 1 });
  });

  it('the same connection gets no more marks after its last one or its ACK', () => {
    rig.send(arriving(), arriving(), arriving());
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.connections.finds).toHaveLength(5);

    make({ family });
    rig.send(arriving(), ack({ carrier: 'ipo' }));
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.connections.finds).toHaveLength(3);
  });

  it('another connection of the same client gets marks anew', () => {
    const mark = asHex({ carrier: 'ipo', client: CLIENT });
    rig.send(arriving(), arriving(), arriving(), arriving());
    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving(), arriving(), arriving(), arriving()).emitted).toEqual([
      mark,
      mark,
      mark,
      asHex(),
    ]);

    expect(rig.connections.releases).toEqual([TUPLE, TUPLE]);

    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving(), ack({ carrier: 'ipo' }), arriving()).emitted).toEqual([mark, asHex()]);
    expect(rig.connections.releases).toEqual([TUPLE, TUPLE, TUPLE]);

    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving(), ack({ carrier: 'ipo' }), arriving()).emitted).toEqual([mark, asHex()]);
    expect(rig.connections.releases).toEqual([TUPLE, TUPLE, TUPLE, TUPLE]);
    expect(rig.counts()).toMatchObject({ flows_acked: 2, flows: 1 });
  });

  it('another client gets all its own marks at once, in the middle of the first one’s', () => {
    rig.send(arriving(), arriving());
    rig.connections.track(LB, SERVER, OTHER);
    const mark = asHex({ carrier: 'ipo', client: OTHER });
    expect(rig.send(arriving(), arriving(), arriving(), arriving()).emitted).toEqual([
      mark,
      mark,
      mark,
      asHex(),
    ]);
  });

  it.each([0, -1, 0x7fffffff, -0x80000000])('a connection with the id %i is told from the next one', id => {
    rig.connections.track(LB, SERVER, CLIENT, id);
    rig.send(arriving(), arriving(), arriving());
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    rig.connections.track(LB, SERVER, OTHER, id ^ 0x10000);
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client: OTHER })]);
  });

  it('a packet without a connection goes on as it is, and is no flow', () => {
    rig.connections.forget(LB, SERVER);
    expect(rig.send(arriving(), arriving()).emitted).toEqual([asHex(), asHex()]);
    expect(rig.send(arriving({ payload: [] })).emitted).toEqual([asHex({ payload: [] })]);
    expect(rig.counts()).toEqual({ packets_seen: 3, packets_unmarked: 3 });
    expect(rig.connections.finds).toEqual([TUPLE, TUPLE, TUPLE]);
    rig.connections.track(LB, SERVER, CLIENT);
    expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client: CLIENT })]);
  });

  it('a flow whose connection is gone gets no marks', () => {
    rig.send(arriving());
    rig.connections.forget(LB, SERVER);
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 1, packets_unmarked: 1 });
  });

  it('clients with all kinds of addresses and ports are marked', () => {
    for (const client of ['255.255.255.254:65535', '1.0.0.0:1', '128.0.0.1:32768', '10.10.1.2:53']) {
      make({ family });
      rig.connections.track(LB, SERVER, client);
      expect(rig.send(arriving()).emitted).toEqual([asHex({ carrier: 'ipo', client })]);
      rig.send(ack({ carrier: 'ipo', client }));
      expect(rig.counts()).toMatchObject({ acks_received: 1 });
    }
  });
});

describe.each(FAMILIES)('the table, IPv%i', family => {
  const { arriving, asHex, ack } = packetsIn(family);
  beforeEach(() => {
    make({ family });
  });

  it('a full table forgets the flow that has been idle longest, and counts it', () => {
    make({ family, size: { maxFlows: 2, timeoutMs: 60_000 } });
    for (const port of [1, 2, 3]) {
      const from = `10.10.1.1:${port}`;
      const client = `203.0.113.7:${port}`;
      rig.connections.track(from, SERVER, client);
      expect(rig.send(arriving({ from })).emitted).toEqual([asHex({ from, carrier: 'ipo', client })]);
      rig.wait(100);
    }
    expect(rig.counts()).toMatchObject({ flows: 2, flows_evicted: 1 });
    rig.send(ack({ to: '10.10.1.1:1', carrier: 'ipo', client: '203.0.113.7:1' }));
    expect(rig.counts()).toMatchObject({ acks_unmatched: 1 });
    rig.send(ack({ to: '10.10.1.1:3', carrier: 'ipo', client: '203.0.113.7:3' }));
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });

  it('an unused flow is forgotten and counted', () => {
    rig.send(arriving());
    rig.wait(59_900);
    expect(rig.counts()).toMatchObject({ flows: 1 });
    rig.wait(1_300);
    expect(rig.counts()).toMatchObject({ flows_expired: 1 });
    expect(rig.counts()).not.toHaveProperty('flows');
  });

  it('packets and ACKs keep a flow', () => {
    make({ family, options: { marksPerFlow: 100 } });
    for (let i = 0; i < 3; i++) {
      rig.send(arriving());
      rig.wait(50_000);
    }
    rig.send(ack({ carrier: 'ipo' }));
    rig.wait(50_000);
    expect(rig.counts()).toMatchObject({ flows: 1, acks_received: 1 });
    expect(rig.flowOf(LB, SERVER)).toMatchObject({ packets: 3, replies: 1 });
  });
});
