/** Forwarding to the TUN takes a hop from what is to be delivered: the real server gives it back, and takes none itself. */
import { beforeEach, describe, expect, it } from 'vitest';
import { datagramIn, FAMILIES, type FamilyFields, inFamily } from '../support/families.js';
import { Rig } from '../support/real-server.js';
import { endpoint, forwarded, fragment, icmp, ipv4, ipv6, payloadOf, toHex } from '../support/wire.js';

const LB = '10.10.1.1:40000';
const SERVER = '10.10.1.2:53';
const CLIENT = '203.0.113.7:5555';
const STRANGER = '192.0.2.1:7';

let rig: Rig;

describe.each(FAMILIES)('IPv%i', family => {
  const packet = (fields: Partial<FamilyFields>) =>
    datagramIn(family, { from: LB, to: SERVER, payload: payloadOf(99), ttl: 60, ...fields });
  const hopsOf = (hexadecimal: string) =>
    Number.parseInt(hexadecimal.slice(family === 4 ? 16 : 14, family === 4 ? 18 : 16), 16);
  const [source, destination] = [LB, SERVER].map(text => endpoint(inFamily(family, text)).address);

  beforeEach(() => {
    rig = new Rig();
    rig.send(packet({ carrier: 'ipo', client: CLIENT }));
  });

  it('a delivered packet has as many hops as before it was forwarded, at every number of them', () => {
    for (let ttl = 1; ttl <= 255; ttl++) {
      const { delivered } = rig.sendUnforwarded(forwarded(packet({ ttl })));
      expect(delivered).toEqual([toHex(packet({ from: CLIENT, ttl }))]);
    }
  });

  it('a packet that arrives with 255 hops is delivered with 255', () => {
    const { delivered } = rig.sendUnforwarded(packet({ ttl: 255 }));
    expect(delivered).toEqual([toHex(packet({ from: CLIENT, ttl: 255 }))]);
  });

  it('a reply leaves with the hops that its socket gave it', () => {
    for (const to of [CLIENT, STRANGER]) {
      const { emitted } = rig.send(packet({ from: SERVER, to, ttl: 7 }));
      expect(emitted.map(hopsOf)).toEqual([7]);
    }
  });

  const pieces = fragment(packet({ carrier: 'opp', client: CLIENT }), 40);
  const plainPieces = fragment(packet({}), 40);
  const other = { source, destination, ttl: 60, body: payloadOf(20) };
  it.each([
    ['with a mark', [packet({ carrier: 'ipo', client: CLIENT })], 1],
    ['from a known flow', [packet({})], 1],
    ['from an unknown flow', [packet({ from: '10.10.1.1:40001' })], 1],
    ['from elsewhere than a load balancer', [packet({ from: STRANGER })], 1],
    ['in fragments in order', plainPieces, plainPieces.length],
    ['in fragments that had to wait for the first', plainPieces.toReversed(), plainPieces.length],
    // IPv6 has no fragments with `opp`.
    ['in fragments that had to be put together', pieces, family === 4 ? 1 : 0],
    [
      'of another protocol',
      [family === 4 ? ipv4({ ...other, protocol: 6 }) : ipv6({ ...other, next: 6 })],
      1,
    ],
  ])('a datagram %s is delivered with the hops that it had', (_, packets, count) => {
    const { delivered } = rig.send(...packets);
    expect(delivered.map(hopsOf)).toEqual(new Array<number>(count).fill(60));
  });

  it('an ICMP error is delivered with the hops that it had', () => {
    const [type, code] = family === 4 ? [3, 3] : [1, 4];
    for (const to of [LB, STRANGER]) {
      const quote = packet({ from: SERVER, to });
      const { delivered } = rig.send(icmp({ source, destination, type, code, quote }));
      expect(delivered.map(hopsOf)).toEqual([64]);
    }
  });
});
