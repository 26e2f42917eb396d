/** How long a client counts for a flow: not longer than the load balancer keeps the flow (PROTOCOL: LB 6, RS 5). */
import { describe, expect, it } from 'vitest';
import { CARRIERS } from '../../support/families.js';
import { OPTIONS, Rig } from '../../support/real-server.js';
import { CLIENT, LB, packetsIn, SERVER } from '../../support/real-server-packets.js';
import { toHex } from '../../support/wire.js';

const OTHER = '198.51.100.9:6666';

/** A load balancer that gives a flow's port away after so many seconds. */
function rigWith(unanswered: number, answered = unanswered): Rig {
  const timeout = { unansweredMs: unanswered * 1000, answeredMs: answered * 1000 };
  const loadBalancers = OPTIONS.loadBalancers.map(lb => ({ ...lb, timeout }));
  return new Rig({
    options: { ...OPTIONS, loadBalancers },
    size: { maxFlows: 100, timeoutMs: 10 * 86_400_000 },
  });
}

describe.each(CARRIERS)('the client of a flow marked by %s in IPv%i', (carrier, family) => {
  const { inbound: plain, asHex, reply } = packetsIn(family);
  const inbound: typeof plain = fields =>
    plain(fields?.client === undefined ? fields : { ...fields, carrier });
  const asClient = { delivered: [asHex({ from: CLIENT })], emitted: [] };
  const asUnknown = { delivered: [asHex({ from: LB })], emitted: [] };

  /** A flow of CLIENT's; its mark has been acknowledged. */
  function known(rig: Rig): Rig {
    rig.send(inbound({ client: CLIENT }));
    return rig;
  }

  it('an unmarked packet is its client’s until two seconds before the load balancer’s time-out', () => {
    const rig = known(rigWith(30));
    rig.wait(27_999);
    expect(rig.send(inbound())).toEqual(asClient);
    rig.wait(28_000);
    expect(rig.counted(() => expect(rig.send(inbound())).toEqual(asUnknown))).toEqual({
      uoa_none: 1,
      uoa_miss: 1,
      packets_delivered: 1,
    });
  });

  it('a packet that comes too late makes the former client count no longer', () => {
    const rig = known(rigWith(30));
    rig.wait(28_000);
    for (let i = 0; i < 3; i++) expect(rig.send(inbound())).toEqual(asUnknown);
  });

  it('a mark makes the flow’s client count again, or another one', () => {
    const rig = known(rigWith(30));
    for (const client of [CLIENT, OTHER]) {
      rig.wait(28_000);
      expect(rig.send(inbound())).toEqual(asUnknown);
      rig.send(inbound({ client, payload: [] }));
      expect(rig.send(inbound()).delivered).toEqual([asHex({ from: client })]);
    }
    expect(rig.counts()).toMatchObject({ uoa_saved: 2, uoa_replaced: 1 });
  });

  it('replies do not make a client count longer, but find their way', () => {
    const rig = known(rigWith(30));
    for (let i = 0; i < 6; i++) {
      rig.wait(5000);
      expect(rig.send(reply()).emitted).toEqual([toHex(reply({ to: LB }))]);
    }
    expect(rig.send(inbound())).toEqual(asUnknown);
  });

  it('replies for weeks do not make a client count again', () => {
    const rig = known(rigWith(30));
    for (let day = 0; day < 60; day++) {
      rig.device.clock[0] += 86_400_000;
      rig.send(reply());
      expect(rig.send(inbound())).toEqual(asUnknown);
    }
    expect(rig.clientOf(LB, SERVER, family)).not.toBe('unknown');
  });

  it('with two time-outs the longer one counts once packets have gone both ways for some seconds', () => {
    const rig = known(rigWith(30, 120));
    rig.wait(100);
    rig.send(reply());
    rig.wait(27_900);
    expect(rig.send(inbound()), 'its only packet was too early for the longer one').toEqual(asUnknown);

    rig.send(inbound({ client: CLIENT }));
    expect(rig.send(inbound())).toEqual(asClient);
    rig.wait(117_900);
    expect(rig.send(inbound())).toEqual(asClient);
    rig.wait(118_000);
    expect(rig.send(inbound())).toEqual(asUnknown);
  });

  it('with two time-outs the shorter one counts for a flow that is not answered, and for a new client', () => {
    const rig = known(rigWith(30, 120));
    for (let i = 0; i < 3; i++) {
      rig.wait(20_000);
      expect(rig.send(inbound())).toEqual(asClient);
    }
    rig.wait(28_000);
    expect(rig.send(inbound())).toEqual(asUnknown);

    rig.send(inbound({ client: CLIENT }), reply(), inbound());
    rig.wait(10_000);
    rig.send(reply());
    // The replies were the former client's.
    rig.send(inbound({ client: OTHER }));
    rig.wait(10_000);
    rig.send(inbound());
    rig.wait(28_000);
    expect(rig.send(inbound())).toEqual(asUnknown);
  });

  it('a mark that names another client than before is counted', () => {
    const rig = known(new Rig());
    rig.send(inbound({ client: CLIENT }), inbound({ client: OTHER }), inbound({ client: OTHER }));
    expect(rig.counts()).toMatchObject({ uoa_got: 4, uoa_saved: 2, uoa_replaced: 1, flows: 1 });
  });
});
