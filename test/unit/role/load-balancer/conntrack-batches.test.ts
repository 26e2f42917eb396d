import { describe, expect, it } from 'vitest';
import { BATCH } from '../../../../src/codec/batch.js';
import { datagramIn, FAMILIES } from '../../support/families.js';
import { Rig } from '../../support/load-balancer.js';
import { toHex } from '../../support/wire.js';

const SERVER = '10.10.1.2:53';
const lip = (n: number) => `10.10.1.1:${40_000 + n}`;

describe.each(FAMILIES)('a load balancer asks conntrack, IPv%i', family => {
  const toServer = (n: number) => datagramIn(family, { from: lip(n), to: SERVER, payload: [n] });

  function make(marksPerFlow = 3): Rig {
    const rig = new Rig({ family, options: { marksPerFlow } });
    for (let n = 0; n < 40; n++) rig.connections.track(lip(n), SERVER, `203.0.113.7:${5000 + n}`);
    return rig;
  }
  const names = (rig: Rig, ...numbers: number[]) => numbers.map(n => rig.connections.tuple(lip(n), SERVER));
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

  it('conntrack is asked once for all new flows of a batch', () => {
    const rig = make();
    rig.send(...range(0, BATCH + 3).map(toServer));
    expect(rig.connections.queries).toEqual([
      names(rig, ...range(0, BATCH)),
      names(rig, ...range(BATCH, BATCH + 3)),
    ]);
    expect(rig.counts()).toMatchObject({ marks_inserted: BATCH + 3, flows: BATCH + 3 });
  });

  it('conntrack is asked about each packet, of a known flow as well', () => {
    const rig = make();
    rig.send(toServer(1));
    rig.connections.queries.length = 0;
    rig.send(toServer(1), toServer(2), toServer(1));
    expect(rig.connections.queries).toEqual([names(rig, 1, 2, 1)]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 4, flows: 2 });
  });

  it('conntrack is not asked about packets to this host, fragments and other protocols', () => {
    const rig = make();
    rig.send(
      datagramIn(family, { from: SERVER, to: lip(1), payload: [1] }),
      datagramIn(family, { from: SERVER, to: lip(1) }),
      [0x45, 0, 0, 1],
    );
    expect(rig.connections.queries).toEqual([]);
  });

  it('conntrack is asked once for packets of one flow in a row, and each of them has a mark', () => {
    const rig = make();
    const { emitted } = rig.send(toServer(1), toServer(1), toServer(1));
    expect(rig.connections.queries).toEqual([names(rig, 1)]);
    expect(emitted).toHaveLength(3);
    expect(rig.counts()).toMatchObject({ marks_inserted: 3, flows: 1 });
  });

  it('conntrack is asked for each of two flows that differ in one port or address alone', () => {
    const rig = make();
    const flows = [
      [lip(1), SERVER],
      [lip(2), SERVER],
      [lip(2), '10.10.1.2:54'],
      [lip(2), '10.10.1.3:54'],
      ['10.10.1.9:40002', '10.10.1.3:54'],
    ] as const;
    for (const [n, [from, to]] of flows.entries()) rig.connections.track(from, to, `203.0.113.9:${n + 1}`);
    rig.send(...flows.map(([from, to]) => datagramIn(family, { from, to, payload: [1] })));
    expect(rig.connections.queries).toEqual([flows.map(([from, to]) => rig.connections.tuple(from, to))]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 5, flows: 5 });
  });

  it('a packet without a connection goes on without a mark, between others that have one', () => {
    const rig = make();
    rig.connections.forget(lip(2), SERVER);
    const { emitted } = rig.send(toServer(1), toServer(2), toServer(3));
    expect(rig.connections.queries).toEqual([names(rig, 1, 2, 3)]);
    expect(emitted).toHaveLength(3);
    expect(rig.counts()).toMatchObject({ marks_inserted: 2, packets_unmarked: 1 });
  });

  it('conntrack is not asked again in the middle of a batch, even behind a flow’s last mark', () => {
    const rig = make(2);
    rig.send(toServer(1));
    rig.connections.queries.length = 0;
    rig.send(toServer(1), toServer(1), toServer(2));
    expect(rig.connections.queries).toEqual([names(rig, 1, 2)]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 3, packets_unmarked: 1 });
  });

  it('another client’s connection is noticed, whenever it began', () => {
    const rig = make();
    rig.send(toServer(1));
    rig.connections.track(lip(1), SERVER, '198.51.100.9:9');
    rig.connections.queries.length = 0;
    rig.send(toServer(1), toServer(1));
    expect(rig.connections.queries).toEqual([names(rig, 1)]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 3 });
  });

  it('connections are released only once the batch of their next packet has gone out', () => {
    const rig = make();
    rig.send(toServer(1), toServer(2));
    const ack = (n: number) =>
      datagramIn(family, { from: SERVER, to: lip(n), carrier: 'ipo', client: `203.0.113.7:${5000 + n}` });
    rig.send(ack(1), ack(2), ack(1));
    expect(rig.connections.releases).toEqual([]);
    const sent: number[] = [];
    rig.connections.onRelease = () => sent.push(rig.device.emitted.length);
    rig.send(toServer(1), toServer(2), toServer(1));
    expect(sent).toEqual([3]);
    expect(rig.connections.releases).toEqual(names(rig, 1, 2));
    expect(rig.counts()).toMatchObject({ acks_received: 3, flows_acked: 2, flows_released: 2 });
  });

  it('a flow that is pushed out in the middle of its batch is learned anew, with its own client', () => {
    const rig = new Rig({ family, size: { maxFlows: 2, timeoutMs: 60_000 } });
    for (const n of [0, 1, 2]) rig.connections.track(lip(n), SERVER, `203.0.113.7:${5000 + n}`);
    rig.send(toServer(0));
    rig.skip(10);
    rig.connections.queries.length = 0;
    const { emitted } = rig.send(toServer(1), toServer(2), toServer(0));
    expect(rig.connections.queries).toEqual([names(rig, 1, 2, 0)]);
    expect(emitted).toEqual(
      [1, 2, 0].map(n =>
        toHex(
          datagramIn(family, {
            from: lip(n),
            to: SERVER,
            payload: [n],
            carrier: 'ipo',
            client: `203.0.113.7:${5000 + n}`,
          }),
        ),
      ),
    );
    expect(rig.counts()).toMatchObject({ flows: 2, flows_evicted: 2 });
  });
});
