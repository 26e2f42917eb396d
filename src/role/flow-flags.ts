/** What each role keeps in the flags of a flow's record: twelve bits (ROLE_FLAGS). */
import { CARRIER_BITS, type Carrier } from '../codec/carriers.js';
import { ROLE_FLAGS } from '../flow/records.js';

// ---- real server -----------------------------------------------------------------------------------------

/** The carrier of the flow's last mark. */
const CARRIER = (1 << CARRIER_BITS) - 1;
/** The client's address is of the other family than the flow's (NAT64). */
export const OTHER_FAMILY = 1 << CARRIER_BITS;

if ((OTHER_FAMILY & ROLE_FLAGS) === 0)
  throw new Error(`CARRIER_BITS = ${CARRIER_BITS} leaves no bit for OTHER_FAMILY in ROLE_FLAGS`);

/** All of them. Flows that are saved with others are not believed. */
export const REAL_SERVER_FLAGS = CARRIER | OTHER_FAMILY;

export function carrierOf(flags: number): Carrier {
  return (flags & CARRIER) as Carrier;
}

// ---- load balancer ---------------------------------------------------------------------------------------

/** How many marks were sent. */
export const MARKS_SENT = 0x007f;
/** A mark was acknowledged. */
export const ACKED = 0x0080;
/** Conntrack was told to let the flow's packets go by. */
export const RELEASED = 0x0100;

/** All of them, likewise. */
export const LOAD_BALANCER_FLAGS = MARKS_SENT | ACKED | RELEASED;

export function isAcked(flags: number): boolean {
  return (flags & ACKED) !== 0;
}

export function isReleased(flags: number): boolean {
  return (flags & RELEASED) !== 0;
}
