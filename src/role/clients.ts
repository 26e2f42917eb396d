/** Which addresses can't be a client's: packets from them would be dropped, or answered to the wrong host. */

const IPV4_MAPPED = 0xffff;

/** 0.0.0.0/8, loopback, multicast and broadcast (RFC 1122, 3.2.1.3). */
export function isImpossible4(address: number): boolean {
  const first = address >>> 24;
  return first === 0 || first === 127 || first >>> 4 === 14 || address === -1;
}

/** ::, ::1, multicast, and IPv4 addresses in disguise (::ffff:a.b.c.d), as 16 bytes at `offset` in `view`. */
export function isImpossible6(view: DataView, offset: number): boolean {
  if (view.getUint8(offset) === 0xff) return true;
  if ((view.getUint32(offset) | view.getUint32(offset + 4)) !== 0) return false;
  const third = view.getUint32(offset + 8);
  return third === IPV4_MAPPED || (third === 0 && view.getUint32(offset + 12) <= 1);
}
