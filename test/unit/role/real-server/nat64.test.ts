/** Clients of the other family than their load balancer's network (NAT64, NAT46), with the real server's two ways. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { RealServerOptions } from '../../../../src/role/real-server/settings.js';
import type { Family } from '../../support/families.js';
import { OPTIONS, Rig } from '../../support/real-server.js';
import {
  be16,
  type DatagramFields,
  datagram,
  decode,
  fragment,
  hex,
  hopByHop,
  icmp,
  type Octets,
  payloadOf,
  reassemble,
  toHex,
  words,
} from '../../support/wire.js';

const PAYLOAD = payloadOf(33);
const NOTHING = { delivered: [], emitted: [] };

/** Each way: what is between load balancer and real server, and what client and service have in common. */
const WAYS = {
  'an IPv6 client behind IPv4': {
    family: 4 as Family,
    ...{ lb: '10.10.1.1:40000', secondLb: '10.10.1.1:40001', server: '10.10.1.2:53', asked: '10.10.1.3:53' },
    ...{ client: '[2001:db8::7]:5555', partner: '[fd00:1::2]:53', otherPartner: '[fd00:1::3]:53' },
    carriers: ['ipo', 'opp'] as const,
    wildcard: 'fd00:1::3',
  },
  'an IPv4 client behind IPv6': {
    family: 6 as Family,
    ...{
      lb: '[fd00:1::1]:40000',
      secondLb: '[fd00:1::1]:40001',
      server: '[fd00:1::2]:53',
      asked: '[fd00:1::3]:53',
    },
    ...{ client: '203.0.113.7:5555', partner: '10.10.1.2:53', otherPartner: '10.10.1.3:53' },
    carriers: ['dstopt', 'opp'] as const,
    wildcard: '10.10.1.3',
  },
};
const CASES = Object.entries(WAYS).flatMap(([what, way]) =>
  way.carriers.map(carrier => ({ what, carrier, ...way })),
);

const DELIVER: RealServerOptions = { ...OPTIONS, translates: true };
/** The same without services of one family. */
const servicesOf = (family: Family) =>
  OPTIONS.services.filter(({ words: [, , third] }) => (third === 0xffff) === (family === 4));

let rig: Rig;

describe.each(CASES)(
  '$what, marked by $carrier',
  ({ carrier, family, lb, secondLb, server, client, partner, ...way }) => {
    /** From the load balancer. */
    const inbound = (fields: Partial<DatagramFields> = {}) =>
      datagram({ from: lb, to: server, payload: PAYLOAD, ttl: 60, ...fields });
    const marked = (fields: Partial<DatagramFields> = {}) => inbound({ carrier, client, ...fields });
    /** What the application gets instead, in its own family. */
    const delivered = (fields: Partial<DatagramFields> = {}) =>
      toHex(datagram({ from: client, to: partner, payload: PAYLOAD, ttl: 60, ...fields }));
    /** The application's answer, and what has to become of it. */
    const answer = (fields: Partial<DatagramFields> = {}) =>
      datagram({ from: partner, to: client, payload: [4, 5, 6], ...fields });
    const answered = (fields: Partial<DatagramFields> = {}) =>
      toHex(datagram({ from: server, to: lb, payload: [4, 5, 6], ...fields }));
    const ackFor = () => toHex(datagram({ from: server, to: lb, carrier, client, dontFragment: true }));
    const whole = (pieces: readonly string[]) => toHex(reassemble(pieces.map(hex)));

    describe('kept', () => {
      beforeEach(() => {
        rig = new Rig();
      });

      it('a client of the other family is delivered as from the load balancer, and known to look-ups', () => {
        expect(rig.send(marked(), inbound())).toEqual({
          delivered: [inbound(), inbound()].map(toHex),
          emitted: [ackFor()],
        });
        expect(rig.clientOf(lb, server)).toBe(client);
        expect(rig.send(inbound({ from: server, to: lb })).emitted).toHaveLength(1);
        expect(rig.counts()).toMatchObject({ uoa_saved: 1, packets_delivered: 2, replies_passed: 1 });
      });

      it('what the partner service sends to the same client is emitted as it is', () => {
        rig.send(marked());
        expect(rig.send(answer()).emitted).toEqual([toHex(answer())]);
        expect(rig.counts()).toMatchObject({ replies_passed: 1 });
      });

      it('errors about answers to the load balancer are delivered as they came', () => {
        rig.send(marked());
        for (const error of errorsAbout(inbound({ from: server, to: lb })))
          expect(rig.send(error, error)).toEqual({ delivered: [error, error].map(toHex), emitted: [] });
        expect(rig.toldMtus).toEqual([]);
      });
    });

    describe('delivered', () => {
      beforeEach(() => {
        rig = new Rig({ options: DELIVER });
      });

      it('a marked packet gets to the service of the client’s own family, and is acknowledged', () => {
        expect(rig.send(marked({ tos: 0xb8 }))).toEqual({
          delivered: [delivered({ tos: 0xb8 })],
          emitted: [ackFor()],
        });
        expect(rig.counts()).toEqual({
          ...{ uoa_got: 1, uoa_saved: 1, uoa_ack_sent: 1 },
          ...{ packets_delivered: 1, flows: 1 },
        });
        expect(rig.clientOf(lb, server)).toBe(client);
      });

      it('a packet without a mark gets to the service of the client’s own family, an empty one too', () => {
        rig.send(marked({ payload: [] }));
        expect(rig.counts()).toMatchObject({ uoa_standalone: 1 });
        expect(rig.send(inbound(), inbound({ payload: [] })).delivered).toEqual([
          delivered(),
          delivered({ payload: [] }),
        ]);
      });

      it('a translated packet has its payload and no options or extension headers', () => {
        const more = family === 4 ? { options: hex('94040000 01010100') } : { extensions: [hopByHop()] };
        for (const length of [1, 2, 1232, 1233, 1400, 9000]) {
          const payload = payloadOf(length);
          const [packet] = rig.send(marked({ ...more, payload })).delivered;
          const isBig = family === 6 && 28 + length > 1260;
          expect(packet, `${length} bytes`).toBe(delivered({ payload, dontFragment: isBig }));
        }
      });

      it('a translated packet without a UDP checksum gets one', () => {
        const [packet] = rig.send(marked({ udpChecksum: 0 })).delivered;
        expect(packet).toBe(delivered());
        expect(rig.send(inbound({ udpChecksum: 0 })).delivered).toEqual([delivered()]);
      });

      it('answers go back to the load balancer in its family', () => {
        rig.send(marked());
        expect(rig.send(answer(), answer({ udpChecksum: 0 }), answer({ tos: 4, ttl: 9 }))).toEqual({
          delivered: [],
          emitted: [answered(), answered(), answered({ tos: 4, ttl: 9 })],
        });
        expect(rig.counts()).toMatchObject({ replies_translated: 3 });
        expect(rig.flowOf(lb, server)).toMatchObject({ replies: 3 });
      });

      it('answers of a wildcard socket, from another address, go back as from the one that was asked', () => {
        rig.send(marked());
        expect(rig.send(answer({ from: way.otherPartner })).emitted).toEqual([answered()]);
      });

      it('answers to others are emitted as they are', () => {
        rig.send(marked());
        const others = [
          answer({ to: client.replace('5555', '5556') }),
          answer({ from: partner.replace(/53$/, '54') }),
        ];
        expect(rig.send(...others).emitted).toEqual(others.map(toHex));
        expect(rig.counts()).toMatchObject({ replies_passed: 2 });
      });

      it('answers go by the flow whose packet came last', () => {
        rig.send(marked(), marked({ from: secondLb }));
        expect(rig.send(answer()).emitted).toEqual([answered({ to: secondLb })]);
        rig.send(inbound());
        expect(rig.send(answer()).emitted).toEqual([answered()]);
      });

      it('a client of the load balancer’s own family that takes the flow’s place is delivered untranslated', () => {
        const other = family === 4 ? '198.51.100.9:9' : '[2001:db8::9]:9';
        rig.send(marked());
        expect(rig.send(marked({ client: other }), inbound()).delivered).toEqual(
          [1, 2].map(() => toHex(inbound({ from: other }))),
        );
        expect(rig.send(answer()).emitted).toEqual([toHex(answer())]);
      });

      it('a packet to a port without a partner service is delivered as from the load balancer', () => {
        rig.role.configure({ ...DELIVER, services: servicesOf(family) });
        expect(rig.send(marked(), inbound())).toEqual({
          delivered: [inbound(), inbound()].map(toHex),
          emitted: [ackFor()],
        });
        const others = servicesOf(family === 4 ? 6 : 4).map(service => ({ ...service, from: 54, to: 54 }));
        rig.role.configure({ ...DELIVER, services: [...servicesOf(family), ...others] });
        expect(rig.send(inbound()).delivered).toEqual([toHex(inbound())]);
        for (const error of errorsAbout(inbound({ from: server, to: lb })))
          expect(rig.send(error)).toEqual({ delivered: [toHex(error)], emitted: [] });
        expect(rig.toldMtus).toEqual([]);
      });

      it('the partner is the first service with that port', () => {
        const first = { words: words(way.wildcard), from: 1, to: 65535 };
        rig.role.configure({ ...DELIVER, services: [first, ...OPTIONS.services] });
        expect(rig.send(marked()).delivered).toEqual([delivered({ to: way.otherPartner })]);
        expect(rig.send(answer({ from: way.otherPartner })).emitted).toEqual([answered()]);
      });

      it('errors about answers are not delivered to a socket of the other family, and a path’s MTU is told', () => {
        rig.send(marked());
        const [unreachable, tooBig] = errorsAbout(inbound({ from: server, to: lb, payload: payloadOf(100) }));
        expect(rig.send(unreachable, tooBig)).toEqual(NOTHING);
        // The answers' own headers are 20 bytes longer, or up to 28 shorter, than those of what goes out.
        const host = client.slice(0, client.lastIndexOf(':')).replace(/[[\]]/g, '');
        expect(rig.toldMtus).toEqual([`${host} ${family === 4 ? 1420 : 1372}`]);
      });

      it('errors of this host about translated datagrams are dropped and counted', () => {
        rig.send(marked());
        const [error] = errorsAbout(hex(delivered()));
        expect(rig.send(error)).toEqual(NOTHING);
        expect(rig.counts()).toMatchObject({ packets_ignored: 1 });
      });

      // ---- fragments -----------------------------------------------------------------------------------------

      if (carrier !== 'opp') {
        const payload = payloadOf(4000);
        const pieces = (fields: Partial<DatagramFields> = {}) =>
          fragment(marked({ payload, id: 77, ...fields }), 1480, fields.id ?? 77);
        const wanted = toHex(fragmentWhole(delivered({ payload, id: 77 })));

        it('a datagram in fragments gets to the partner whole, in any order', () => {
          const { delivered } = rig.send(...pieces());
          expect(delivered).toHaveLength(3);
          expect(whole(delivered)).toBe(wanted);
          expect(rig.send(...pieces({ id: 78 }).toReversed()).delivered).toHaveLength(3);
          expect(rig.counts()).toMatchObject({ fragments_held: 2, uoa_got: 2 });
          expect(rig.counts().fragments_dropped).toBeUndefined();
        });

        it('a datagram in fragments with other options around the mark gets to the partner whole', () => {
          const options = hex('94040000'.repeat(family === 4 ? 5 : 0));
          expect(whole(rig.send(...pieces({ options })).delivered)).toBe(wanted);
        });

        it('a datagram in fragments without a UDP checksum, which cannot be IPv6, is delivered as from the load balancer', () => {
          const { delivered } = rig.send(...pieces({ udpChecksum: 0 }));
          const expected =
            family === 4
              ? toHex(inbound({ payload, id: 77, udpChecksum: 0 }))
              : toHex(datagram({ from: client, to: partner, payload, id: 77, ttl: 60, udpChecksum: 0 }));
          expect(whole(delivered)).toBe(expected);
        });

        it('an answer in fragments goes back whole', () => {
          rig.send(marked());
          const { emitted } = rig.send(...fragment(answer({ payload, id: 78 }), 1480, 78));
          expect(emitted).toHaveLength(3);
          expect(whole(emitted)).toBe(toHex(fragmentWhole(answered({ payload, id: 78 }))));
        });
      }
    });
  },
);

it('NAT64: a datagram in fragments inside opp gets there whole', () => {
  const { lb: from, server: to, client, partner } = WAYS['an IPv6 client behind IPv4'];
  rig = new Rig({ options: DELIVER });
  const payload = payloadOf(4000);
  const pieces = fragment(datagram({ from, to, payload, carrier: 'opp', client, udpChecksum: 0 }), 1480);
  const { delivered } = rig.send(...pieces);
  expect(delivered).toEqual([toHex(datagram({ from: client, to: partner, payload }))]);
});

it('a client that comes by both families is answered by the way without translation', () => {
  rig = new Rig({ options: DELIVER });
  const [four, six] = Object.values(WAYS);
  const { client } = four;
  rig.send(
    datagram({ from: six.lb, to: six.server, carrier: 'dstopt', client, payload: [1] }),
    datagram({ from: four.lb, to: four.server, carrier: 'ipo', client, payload: [1] }),
  );
  const { emitted } = rig.send(datagram({ from: six.server, to: client, payload: [2] }));
  expect(emitted).toEqual([toHex(datagram({ from: six.server, to: six.lb, payload: [2] }))]);
});

/** What a whole datagram is after a way in fragments: without DF. */
function fragmentWhole(packet: string): Uint8Array {
  return reassemble(fragment(hex(packet), 1480, 77));
}

/** Port unreachable, and a path that takes 1400 bytes. */
function errorsAbout(quote: Octets): Uint8Array[] {
  const v6 = quote[0] >> 4 === 6;
  const { from } = decode(quote);
  const isFromService = /^(10\.10\.1\.[23]|\[fd00:1::[23]\]):/.test(from);
  const host = (isFromService ? from : decode(quote).to).replace(/:\d+$/, '').replace(/[[\]]/g, '');
  const other = v6 ? '2001:db8:ffff::1' : '192.0.2.200';
  const [source, destination] = isFromService ? [other, host] : [host, other];
  return [
    icmp({ source, destination, quote, type: v6 ? 1 : 3, code: v6 ? 4 : 3 }),
    icmp({ source, destination, quote, type: v6 ? 2 : 3, code: v6 ? 0 : 4, rest: [0, 0, ...be16(1400)] }),
  ];
}
