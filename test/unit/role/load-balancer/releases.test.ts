/** When a connection is released, so that its packets stay in the kernel, and when it is not. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { LoadBalancerOptions } from '../../../../src/role/load-balancer/settings.js';
import { CARRIERS } from '../../support/families.js';
import { OPTIONS, type Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  LB,
  makeRig,
  NOTHING,
  OTHER,
  packetsIn,
  SERVER,
} from '../../support/load-balancer-packets.js';
import { toHex } from '../../support/wire.js';

let rig: Rig;

describe.each(CARRIERS)('releases by %s, IPv%i', (carrier, family) => {
  const { arriving, asHex, standalone, ack, tuple: TUPLE } = packetsIn(family);
  const remake = (options: Partial<LoadBalancerOptions> = {}) => {
    rig = makeRig({ family, options: { carrier, ...options } });
  };
  const marked = (client = CLIENT) => asHex({ carrier, client });

  beforeEach(() => {
    remake();
  });

  it.each([1, 2, 3, 100])('the last of %i marks releases the connection, once', marksPerFlow => {
    remake({ marksPerFlow });
    for (let sent = 1; sent < marksPerFlow; sent++) rig.send(arriving());
    expect(rig.connections.releases).toEqual([]);
    rig.send(arriving());
    expect(rig.connections.releases).toEqual([TUPLE]);
    // What was in the TUN already.
    for (let i = 0; i < 3; i++) expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    expect(rig.counts()).toMatchObject({ flows_released: 1 });
  });

  it('a connection is released only behind the batch with the last mark', () => {
    const sent: string[][] = [];
    rig.connections.onRelease = () => sent.push(rig.device.emitted.map(toHex));
    rig.send(arriving(), arriving(), arriving({ payload: [] }), arriving());
    const batch = [standalone({ carrier }), marked(), marked(), asHex({ payload: [] }), asHex()];
    expect(sent).toEqual([batch]);
  });

  it('a connection whose packets keep coming is released again: conntrack has lost the bit', () => {
    for (let i = 0; i < 200; i++) rig.send(arriving());
    expect(rig.connections.releases).toEqual([TUPLE, TUPLE, TUPLE, TUPLE]);
    expect(rig.counts()).toMatchObject({ flows_released: 1, marks_inserted: 3 });
  });

  it('another client’s connection that has taken the place of a released one stays', () => {
    rig.connections.onRelease = () => rig.connections.track(LB, SERVER, OTHER);
    rig.send(arriving(), arriving(), arriving());
    expect(rig.connections.releases).toEqual([]);
    rig.connections.onRelease = () => {};
    expect(rig.send(arriving()).emitted).toEqual([marked(OTHER)]);
  });

  it('another client’s connection stays, whatever ACK comes for the one before it', () => {
    rig.send(arriving());
    rig.connections.track(LB, SERVER, OTHER);
    expect(rig.send(ack({ carrier }))).toEqual(NOTHING);
    expect(rig.send(arriving()).emitted).toEqual([marked(OTHER)]);
    expect(rig.connections.releases).toEqual([]);
  });

  it('a connection that has had more marks than are allowed now is released with its next packet', () => {
    rig.send(arriving(), arriving());
    rig.role.configure({ ...OPTIONS, carrier, marksPerFlow: 1 });
    expect(rig.connections.releases).toEqual([]);
    expect(rig.send(arriving()).emitted).toEqual([asHex()]);
    expect(rig.connections.releases).toEqual([TUPLE]);
  });

  it('no connection is released where there are no marks: there may be some later', () => {
    remake({ marksPerFlow: 0 });
    rig.send(arriving(), arriving());
    expect(rig.connections.releases).toEqual([]);
    rig.role.configure({ ...OPTIONS, carrier, marksPerFlow: 1 });
    expect(rig.send(arriving()).emitted).toEqual([marked()]);
    expect(rig.connections.releases).toEqual([TUPLE]);
  });
});
