/** What the load balancer does with asks: it consumes them, and answers with what conntrack knows (PROTOCOL: LB 5). */
import { beforeEach, describe, expect, it } from 'vitest';
import { CARRIERS, inFamily } from '../../support/families.js';
import type { Rig } from '../../support/load-balancer.js';
import {
  CLIENT,
  LB,
  makeRig,
  NOTHING,
  OTHER,
  packetsIn,
  SERVER,
} from '../../support/load-balancer-packets.js';
import { hex, words } from '../../support/wire.js';

describe.each(CARRIERS)('asks by %s, IPv%i', (carrier, family) => {
  const { arriving, standalone, ack, at, tuple } = packetsIn(family);
  const nobody = family === 4 ? '0.0.0.0:0' : '[::]:0';
  const ask = ack({ carrier, client: nobody });
  const answer = (client = CLIENT) => ({ delivered: [], emitted: [standalone({ carrier, client })] });
  let rig: Rig;

  beforeEach(() => {
    rig = makeRig({ family, options: { carrier } });
  });

  it('an ask about a flow that was never seen is answered with its client', () => {
    expect(rig.send(ask)).toEqual(answer());
    expect(rig.counts()).toEqual({ packets_seen: 1, asks_received: 1, marks_standalone: 1, flows: 1 });
  });

  it('an ask in another carrier is answered in that of all marks', () => {
    const other = carrier === 'opp' ? 'ipo' : 'opp';
    expect(rig.send(ack({ carrier: other, client: nobody }))).toEqual(answer());
  });

  it('the ACK for the answer is counted as an ACK', () => {
    rig.send(ask);
    expect(rig.send(ack({ carrier }))).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
    expect(rig.counts().acks_unmatched ?? 0).toBe(0);
  });

  it('an ask about a released flow is answered, and releases nothing', () => {
    rig.send(arriving());
    rig.send(ack({ carrier }));
    const released = [...rig.connections.releases];
    expect(rig.send(ask)).toEqual(answer());
    expect(rig.connections.releases).toEqual(released);
  });

  it('an ask about a flow whose port has another client by now is answered with that one', () => {
    rig.send(arriving());
    rig.connections.track(LB, SERVER, OTHER);
    expect(rig.send(ask)).toEqual(answer(OTHER));
    rig.send(ack({ carrier, client: OTHER }));
    expect(rig.counts()).toMatchObject({ acks_received: 1 });
  });

  it('an ask about a flow that conntrack does not know is consumed and counted', () => {
    rig.connections.forget(LB, SERVER);
    expect(rig.send(ask)).toEqual(NOTHING);
    expect(rig.counts()).toEqual({ packets_seen: 1, asks_received: 1, asks_unknown: 1 });
  });

  it('an ask about a flow to a service that gets no marks is not answered', () => {
    const services = [{ words: words(inFamily(family, '198.51.100.99')), port: 53 }];
    const other = makeRig({ family, options: { carrier, services } });
    expect(other.send(ask)).toEqual(NOTHING);
    expect(other.counts()).toMatchObject({ asks_received: 1, asks_unknown: 1 });
  });

  it('an ask is not answered where there are no marks', () => {
    const other = makeRig({ family, options: { carrier, marksPerFlow: 0 } });
    expect(other.send(ask)).toEqual(NOTHING);
  });

  it('an ask from another port or address than the connection’s is not answered', () => {
    for (const from of ['10.10.1.2:54', '10.10.1.77:53'])
      expect(rig.send(ack({ carrier, client: nobody, from }))).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ asks_received: 2, asks_unknown: 2 });
    expect(rig.connections.finds).not.toContain(tuple);
  });

  it('asks are answered 500 times at once, and 2 times a millisecond; the others are consumed', () => {
    let answers = 0;
    for (let i = 0; i < 600; i++) answers += rig.send(ask).emitted.length;
    expect(answers).toBe(500);
    rig.skip(10);
    answers = 0;
    for (let i = 0; i < 100; i++) answers += rig.send(ask).emitted.length;
    expect(answers).toBe(20);
    expect(rig.counts()).toMatchObject({ asks_received: 700 });
  });

  it('a mark that names an address, or a port, is no ask', () => {
    for (const client of family === 4 ? ['0.0.0.0:1', '0.0.0.1:0'] : ['[::]:1', '[::1]:0'])
      expect(rig.send(ack({ carrier, client }))).toEqual(NOTHING);
    expect(rig.counts()).toMatchObject({ acks_unmatched: 2 });
    expect(rig.counts().asks_received ?? 0).toBe(0);
  });

  it('the answer goes to where the ask came from', () => {
    const [emitted] = rig.send(ask).emitted;
    expect(Buffer.from(hex(emitted)).length).toBeGreaterThan(0);
    expect(rig.connections.finds).toEqual([tuple]);
    expect(at(SERVER)).toBe(tuple.split(' > ')[0]);
  });
});
