/** ICMP errors that come back to the load balancer about packets it has marked. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  alertIn,
  CARRIERS,
  datagramIn,
  type Family,
  type FamilyFields,
  inFamily,
} from '../../support/families.js';
import { Rig } from '../../support/load-balancer.js';
import { be16, hex, icmp, type Octets, payloadOf, toHex } from '../../support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const ROUTER = '10.10.2.250';
const LIFETIME = 600_000;

interface IcmpError {
  type: number;
  code: number;
  rest: number[];
}

const tooBig = (family: Family, mtu: number): IcmpError =>
  family === 4
    ? { type: 3, code: 4, rest: [0, 0, ...be16(mtu)] }
    : { type: 2, code: 0, rest: [0, 0, ...be16(mtu)] };
const unreachable = (family: Family): IcmpError =>
  family === 4 ? { type: 3, code: 3, rest: [0, 0, 0, 0] } : { type: 1, code: 4, rest: [0, 0, 0, 0] };

let rig: Rig;

describe.each(CARRIERS)('carrier %s, IPv%i', (carrier, family) => {
  /** What a mark adds to a packet, and what its headers take without one. */
  const added = family === 6 ? 24 : carrier === 'ipo' ? 8 : 12;
  const headers = family === 6 ? 48 : 28;
  /** A packet of 1450 bytes. */
  const fields = { from: LB, to: SERVER, payload: payloadOf(1450 - headers), dontFragment: true, id: 9 };
  const outgoing = (more: Partial<FamilyFields> = {}) => datagramIn(family, { ...fields, ttl: 60, ...more });
  const arriving = outgoing;
  const marked = (more: Partial<FamilyFields> = {}) => outgoing({ carrier, client: CLIENT, ...more });
  const standalone = () =>
    toHex(datagramIn(family, { from: LB, to: SERVER, carrier, client: CLIENT, dontFragment: true }));
  const error = ({ type, code, rest }: IcmpError, quote: Octets) => {
    const [source, destination] = [ROUTER, '10.10.1.1'].map(text => inFamily(family, text));
    return icmp({ source, destination, type, code, rest, quote });
  };
  /** The quote ends as many bytes before the packet does. */
  const cut = (packet: Octets, missing: number) => Array.from(packet).slice(0, packet.length - missing);
  const withoutUdpPayload = fields.payload.length;

  beforeEach(() => {
    rig = new Rig({ family, options: { carrier, marksPerFlow: 100 } });
    rig.connections.track(LB, SERVER, CLIENT);
  });

  it.each([0, 100, withoutUdpPayload])(
    'an error about a packet that only its mark made too big, %i bytes short, is dropped',
    missing => {
      expect(rig.send(arriving()).emitted).toEqual([toHex(marked())]);
      for (const mtu of [1450, 1450 + added - 1]) {
        const packet = error(tooBig(family, mtu), cut(marked(), missing));
        expect(rig.send(packet)).toEqual({ delivered: [], emitted: [] });
      }
      expect(rig.counts()).toMatchObject({ packets_ignored: 2 });
    },
  );

  it.each([0, 100, withoutUdpPayload])(
    'too big even without the mark, %i bytes short, goes on without it',
    missing => {
      rig.send(arriving());
      for (const mtu of [1449, 1300]) {
        const { delivered, emitted } = rig.send(error(tooBig(family, mtu), cut(marked(), missing)));
        expect(emitted).toEqual([]);
        expect(delivered).toEqual([toHex(error(tooBig(family, mtu), cut(outgoing(), missing)))]);
      }
      expect(rig.counts().packets_ignored).toBeUndefined();
    },
  );

  it('after an error marks for that real server go ahead of packets that they would make too big', () => {
    rig.send(arriving());
    rig.send(error(tooBig(family, 1450), marked()));
    expect(rig.send(arriving()).emitted).toEqual([standalone(), toHex(outgoing())]);
    const payload = payloadOf(1450 - headers - added);
    expect(rig.send(arriving({ payload })).emitted).toEqual([toHex(marked({ payload }))]);
    expect(rig.counts()).toMatchObject({ marks_inserted: 2, marks_standalone: 1 });
  });

  it('an error that goes on is learned from too', () => {
    rig.send(arriving());
    rig.send(error(tooBig(family, 1400), marked()));
    const payload = payloadOf(1400 - headers);
    expect(rig.send(arriving({ payload })).emitted).toEqual([standalone(), toHex(outgoing({ payload }))]);
  });

  it('an error says nothing of other real servers', () => {
    const other = { to: '10.10.1.3:53' };
    rig.connections.track(LB, other.to, CLIENT);
    rig.send(arriving(), arriving(other));
    rig.send(error(tooBig(family, 1450), marked()));
    expect(rig.send(arriving(other)).emitted).toEqual([toHex(marked(other))]);
  });

  it('an error is forgotten after ten minutes, since the path may have become better', () => {
    rig = new Rig({
      family,
      options: { carrier, marksPerFlow: 100 },
      size: { maxFlows: 10, timeoutMs: 3_600_000 },
    });
    rig.connections.track(LB, SERVER, CLIENT);
    rig.send(arriving());
    rig.send(error(tooBig(family, 1450), marked()));
    rig.skip(LIFETIME - 1);
    expect(rig.send(arriving()).emitted).toEqual([standalone(), toHex(outgoing())]);
    rig.skip(1);
    expect(rig.send(arriving()).emitted).toEqual([toHex(marked())]);
  });

  it('the smaller of the learned MTU and the route’s counts', () => {
    rig.send(arriving());
    rig.send(error(tooBig(family, 9000), marked()));
    rig.mtu = 1450;
    expect(rig.send(arriving()).emitted).toEqual([standalone(), toHex(outgoing())]);
  });

  // Over IPv6 there are none beside opp.
  if (family === 4 || carrier !== 'opp')
    it('an error without the mark keeps other options, and has right lengths and checksums', () => {
      const more = { ...alertIn(family), payload: payloadOf(1300), tos: 4 };
      rig.send(arriving(more));
      const { delivered } = rig.send(error(tooBig(family, 1290), marked(more)));
      expect(delivered).toEqual([toHex(error(tooBig(family, 1290), outgoing(more)))]);
    });

  it('an error about a standalone goes on without its mark', () => {
    const empty = { payload: [] };
    rig.send(arriving(empty));
    const { delivered } = rig.send(error(unreachable(family), hex(standalone())));
    expect(delivered).toEqual([
      toHex(error(unreachable(family), datagramIn(family, { from: LB, to: SERVER, dontFragment: true }))),
    ]);
  });

  it('an error of another kind about a marked packet goes on without its mark, and nothing is learned', () => {
    rig.send(arriving());
    expect(rig.send(error(unreachable(family), marked())).delivered).toEqual([
      toHex(error(unreachable(family), outgoing())),
    ]);
    expect(rig.send(arriving()).emitted).toEqual([toHex(marked())]);
  });

  it('an error without an MTU goes on without the mark', () => {
    rig.send(arriving());
    expect(rig.send(error(tooBig(family, 0), marked())).delivered).toEqual([
      toHex(error(tooBig(family, 0), outgoing())),
    ]);
    expect(rig.send(arriving()).emitted).toEqual([toHex(marked())]);
  });

  it('nothing is learned from an MTU that no link has', () => {
    rig.send(arriving());
    rig.send(error(tooBig(family, 67), marked()));
    expect(rig.send(arriving()).emitted).toEqual([toHex(marked())]);
  });

  it('an error about a packet without a mark goes on as it came, and nothing is learned', () => {
    rig.send(arriving());
    const packet = error(tooBig(family, 1400), outgoing());
    expect(rig.send(packet)).toEqual({ delivered: [toHex(packet)], emitted: [] });
    expect(rig.send(arriving()).emitted).toEqual([toHex(marked())]);
  });

  it('an error about another host’s packet goes on, and nothing is learned', () => {
    rig.send(arriving());
    const stranger = marked({ from: '10.10.5.5:40000' });
    expect(rig.send(error(tooBig(family, 1400), stranger)).delivered).toHaveLength(1);
    expect(rig.send(arriving()).emitted).toEqual([toHex(marked())]);
  });

  it('an error cut off anywhere goes on, or is counted', () => {
    rig.send(arriving({ payload: payloadOf(20) }));
    const whole = error(tooBig(family, 1300), marked({ payload: payloadOf(20) }));
    for (let length = 1; length < whole.length; length++)
      expect(rig.send(whole.slice(0, length))).toEqual({ delivered: [], emitted: [] });
    expect(rig.counts()).toMatchObject({ dropped_malformed: whole.length - 1 });
  });
});

it('an error about a path in one family says nothing of the other family', () => {
  const big = { from: LB, to: SERVER, payload: payloadOf(1400) };
  rig = new Rig();
  rig.connections.track(inFamily(6, LB), inFamily(6, SERVER), inFamily(6, CLIENT));
  const six = datagramIn(6, { ...big, carrier: 'ipo', client: CLIENT });
  const lookalike = { from: LB, to: '0.0.0.2:53', carrier: 'ipo', client: CLIENT } as const;
  const [source, destination] = [ROUTER, '10.10.1.1'];
  const quote = datagramIn(4, { ...lookalike, payload: payloadOf(1400) });
  rig.send(icmp({ source, destination, quote, ...tooBig(4, 1300) }));
  expect(rig.send(datagramIn(6, { ...big })).emitted).toEqual([toHex(six)]);
});
