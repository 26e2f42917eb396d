/** Standalones: what has no room for a mark goes behind one. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { LoadBalancerOptions } from '../../../../src/role/load-balancer/settings.js';
import { CARRIERS } from '../../support/families.js';
import type { Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  type Fields,
  LB,
  makeRig,
  packetsIn,
  type RigSettings,
  SERVER,
} from '../../support/load-balancer-packets.js';
import { fragment, hex, payloadOf, reassemble, toHex } from '../../support/wire.js';

let rig: Rig;

/** A new load balancer, with one client's connection in conntrack. */
function make(settings: RigSettings = {}): void {
  rig = makeRig(settings);
}

beforeEach(() => {
  make();
});

describe.each(CARRIERS)('standalones by %s, IPv%i', (carrier, family) => {
  const { outgoing, arriving, asHex, standalone, at, tuple: TUPLE } = packetsIn(family);
  /** What a mark adds to a packet, and what its headers take without one. */
  const added = family === 6 ? 24 : carrier === 'ipo' ? 8 : 12;
  const headers = family === 6 ? 48 : 28;
  const remake = (options: Partial<LoadBalancerOptions> = {}) =>
    make({ family, options: { carrier, ...options } });

  const marked = (fields: Fields = {}) => asHex({ carrier, client: CLIENT, ...fields });

  beforeEach(() => {
    remake();
  });

  it('a standalone goes ahead of an empty datagram, which stays as it was', () => {
    for (let trail = 0; trail < 3; trail++)
      expect(rig.send(arriving({ payload: [] })).emitted).toEqual([
        standalone({ carrier }),
        asHex({ payload: [] }),
      ]);
    expect(rig.send(arriving({ payload: [] })).emitted).toEqual([asHex({ payload: [] })]);
    expect(rig.counts()).toEqual({
      ...{ packets_seen: 4, marks_standalone: 3, packets_unmarked: 1 },
      ...{ flows: 1, flows_released: 1 },
    });
    expect(rig.mtuQuestions).toEqual([]);
  });

  it('a standalone counts as one mark', () => {
    const { emitted } = rig.send(
      arriving({ payload: [] }),
      arriving(),
      arriving({ payload: [] }),
      arriving(),
    );
    expect(emitted).toEqual([
      standalone({ carrier }),
      standalone({ carrier }),
      asHex({ payload: [] }),
      marked(),
      asHex({ payload: [] }),
      asHex(),
    ]);
  });

  it('each packet of a full batch has its own standalone', () => {
    const ports = Array.from({ length: 16 }, (_, i) => 41_000 + i);
    for (const port of ports)
      rig.connections.track(`10.10.1.1:${port}`, SERVER, `203.0.113.7:${port - 1000}`);
    const { emitted } = rig.send(...ports.map(port => arriving({ from: `10.10.1.1:${port}`, payload: [] })));
    expect(emitted).toEqual([
      ...ports.map(port =>
        standalone({ from: `10.10.1.1:${port}`, carrier, client: `203.0.113.7:${port - 1000}` }),
      ),
      ...ports.map(port => asHex({ from: `10.10.1.1:${port}`, payload: [] })),
    ]);
  });

  it('a mark fills the path MTU to the byte, and a standalone goes ahead of longer packets', () => {
    const fields = (total: number) => ({ payload: payloadOf(total - headers) });
    for (const mtu of [family === 4 ? 553 : 1281, 1290, 1500, 9000, 65_535]) {
      remake();
      rig.mtu = mtu;
      expect(rig.send(arriving(fields(mtu - added))).emitted).toEqual([marked(fields(mtu - added))]);
      expect(rig.send(arriving(fields(mtu - added + 1))).emitted).toEqual([
        standalone({ carrier }),
        asHex(fields(mtu - added + 1)),
      ]);
      expect(rig.mtuQuestions).toEqual([at('10.10.1.2'), at('10.10.1.2')]);
    }
  });

  it('no MTU is asked for where the marked packet fits any path', () => {
    rig.mtu = 0;
    const smallest = family === 4 ? 552 : 1280;
    const fields = { payload: payloadOf(smallest - added - headers) };
    expect(rig.send(arriving(fields)).emitted).toEqual([marked(fields)]);
    expect(rig.mtuQuestions).toEqual([]);
  });

  it('a standalone goes ahead where there is no route to ask about', () => {
    rig.mtu = 0;
    const fields = { payload: payloadOf(1300) };
    expect(rig.send(arriving(fields)).emitted).toEqual([standalone({ carrier }), asHex(fields)]);
  });

  it('the path MTU is asked for anew for each packet', () => {
    const fields = { payload: payloadOf(1400) };
    expect(rig.send(arriving(fields)).emitted).toEqual([marked(fields)]);
    rig.mtu = 1300;
    expect(rig.send(arriving(fields)).emitted).toEqual([standalone({ carrier }), asHex(fields)]);
    rig.mtu = 1500;
    expect(rig.send(arriving(fields)).emitted).toEqual([marked(fields)]);
    expect(rig.send(arriving(fields)).emitted).toEqual([asHex(fields)]);
    expect(rig.mtuQuestions).toHaveLength(3);
  });

  it('the path MTU is that to the packet’s real server', () => {
    rig.connections.track(LB, '10.10.1.3:53', CLIENT);
    rig.send(arriving({ to: '10.10.1.3:53', payload: payloadOf(1300) }));
    expect(rig.mtuQuestions).toEqual([at('10.10.1.3')]);
  });

  it('a standalone goes ahead of a first fragment, and no fragment changes', () => {
    const whole = { payload: payloadOf(100), id: 77 };
    const pieces = fragment(arriving(whole), 40);
    const { emitted } = rig.send(...pieces);
    expect(emitted[0]).toBe(standalone({ carrier }));
    expect(emitted.slice(1)).toEqual(fragment(outgoing(whole), 40).map(toHex));
    expect(toHex(reassemble(emitted.slice(1).map(hex)))).toBe(asHex(whole));
    expect(rig.counts()).toEqual({ packets_seen: 3, marks_standalone: 1, packets_unmarked: 2, flows: 1 });
    expect(rig.connections.finds).toEqual([TUPLE]);
  });

  it('a fragmented datagram counts as one mark', () => {
    const pieces = fragment(arriving({ payload: payloadOf(100), id: 77 }), 40);
    for (let trail = 0; trail < 3; trail++) expect(rig.send(...pieces).emitted).toHaveLength(4);
    expect(rig.send(...pieces).emitted).toEqual(
      fragment(outgoing({ payload: payloadOf(100), id: 77 }), 40).map(toHex),
    );
    expect(rig.counts()).toMatchObject({ marks_standalone: 3 });
  });

  it('later fragments that come first or alone go on as they came', () => {
    const [, second, third] = fragment(outgoing({ payload: payloadOf(100) }), 40);
    const [, arrivedSecond, arrivedThird] = fragment(arriving({ payload: payloadOf(100) }), 40);
    expect(rig.send(arrivedThird, arrivedSecond)).toEqual({
      delivered: [],
      emitted: [third, second].map(toHex),
    });
    expect(rig.counts()).toEqual({ packets_seen: 2, packets_unmarked: 2 });
    expect(rig.connections.finds).toEqual([]);
  });
});
