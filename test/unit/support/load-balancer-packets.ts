/** The packets that the load balancer's tests send, as NAT has left them, and their one known flow. */
import { datagramIn, type Family, type FamilyFields, inFamily } from './families.js';
import { Rig } from './load-balancer.js';
import { payloadOf, toHex } from './wire.js';

export const LB = '10.10.1.1:40000';
export const SERVER = '10.10.1.2:53';
export const CLIENT = '203.0.113.7:5555';
export const OTHER = '198.51.100.9:6666';
export const PAYLOAD = payloadOf(33);
export const TTL = 60;

/** Clients of the other family than the packets'. */
export const CLIENTS_OF_OTHER_FAMILY = { 4: '[::ffff:cb00:7107]:5555', 6: '203.0.113.7:5555' } as const;

export const NOTHING = { delivered: [], emitted: [] };

export type Fields = Partial<FamilyFields>;
export type RigSettings = ConstructorParameters<typeof Rig>[0];

/** A load balancer with the connection of CLIENT in its conntrack, LB to SERVER. */
export function makeRig(settings: RigSettings = {}): Rig {
  const rig = new Rig(settings);
  rig.connections.track(LB, SERVER, CLIENT);
  return rig;
}

/** The packets of these tests in a family. */
export function packetsIn(family: Family) {
  /** A datagram to the real server as the network has to get it. */
  const outgoing = (fields: Fields = {}) =>
    datagramIn(family, { from: LB, to: SERVER, payload: PAYLOAD, ttl: TTL, ...fields });
  /** The same as NAT has left it; the rig takes the hop that forwarding takes. */
  const arriving = outgoing;
  const asHex = (fields: Fields = {}) => toHex(outgoing(fields));
  /** An empty datagram with a mark, as the shim writes one itself. */
  const standalone = (fields: Fields = {}) =>
    toHex(datagramIn(family, { from: LB, to: SERVER, client: CLIENT, dontFragment: true, ...fields }));
  /** The real server's ACK. */
  const ack = (fields: Fields = {}) =>
    datagramIn(family, { from: SERVER, to: LB, client: CLIENT, dontFragment: true, ttl: 63, ...fields });
  const at = (text: string) => inFamily(family, text);
  const tuple = `${at(SERVER)} > ${at(LB)}`;
  return { outgoing, arriving, asHex, standalone, ack, at, tuple };
}
