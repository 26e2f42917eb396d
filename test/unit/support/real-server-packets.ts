/** The packets that the real server's tests send: of one load balancer, one service and one client. */
import { datagramIn, type Family, type FamilyFields } from './families.js';
import { payloadOf, toHex } from './wire.js';

export const LB = '10.10.1.1:40000';
export const SERVER = '10.10.1.2:53';
export const CLIENT = '203.0.113.7:5555';
export const PAYLOAD = payloadOf(33);

/** Clients of the other family than the packets'. */
export const CLIENTS_OF_OTHER_FAMILY = { 4: '[2001:db8::7]:5555', 6: '203.0.113.7:5555' } as const;

/** The packets of these tests in a family. */
export function packetsIn(family: Family) {
  /** A datagram from the load balancer. */
  const inbound = (fields: Partial<FamilyFields> = {}) =>
    datagramIn(family, { from: LB, to: SERVER, payload: PAYLOAD, ttl: 60, ...fields });
  /** The same as text, as it has to come out. */
  const asHex = (fields: Partial<FamilyFields> = {}) => toHex(inbound(fields));
  /** The ACK for a mark. */
  const ackFor = (fields: Partial<FamilyFields>) =>
    toHex(datagramIn(family, { from: SERVER, to: LB, client: CLIENT, dontFragment: true, ...fields }));
  /** An answer of the application. */
  const reply = (fields: Partial<FamilyFields> = {}) =>
    datagramIn(family, { from: SERVER, to: CLIENT, payload: [4, 5, 6], ttl: 64, id: 9, ...fields });
  return { inbound, asHex, ackFor, reply };
}
