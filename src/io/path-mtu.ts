/** The MTU of the path to a destination as the kernel knows it now: the route's, or a smaller one that it has learned. */
import { isMapped } from '../codec/addresses.js';
import type { WordIndex } from '../codec/units.js';
import {
  AF_INET,
  AF_INET6,
  IP_MTU,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_MTU,
  SO_MARK,
  SOCK_DGRAM,
  SOL_SOCKET,
} from './linux.js';
import { check, type Native, NO_FD } from './native.js';

/** Discard (RFC 863); nothing is sent to it. */
const ANY_PORT = 9;

export class PathMtu {
  private fd4: number;
  private fd6: number;

  /** `fwmark` is the SO_MARK of the packets that will go there. Throws a SystemCallError. */
  constructor(
    private readonly native: Native,
    fwmark: number,
  ) {
    this.fd4 = check('open socket', native.openSocket(AF_INET, SOCK_DGRAM, 0));
    // A host may have no IPv6.
    this.fd6 = Math.max(NO_FD, native.openSocket(AF_INET6, SOCK_DGRAM, 0));
    for (const fd of [this.fd4, this.fd6])
      if (fd !== NO_FD)
        check('set SO_MARK of socket', native.setSocketOption(fd, SOL_SOCKET, SO_MARK, fwmark));
  }

  /** The MTU in bytes of the path to the address at `at` in `words`; 0 if there is no route. */
  get(words: Int32Array, at: WordIndex): number {
    const { native } = this;
    const isIpv4 = isMapped(words, at);
    const fd = isIpv4 ? this.fd4 : this.fd6;
    // Connecting sends nothing. It looks up the route, whose MTU is the socket's IP_MTU then (ip(7), ipv6(7)).
    if (native.connectTo(fd, words, at, ANY_PORT) < 0) return 0;
    const mtu = isIpv4
      ? native.getSocketOption(fd, IPPROTO_IP, IP_MTU)
      : native.getSocketOption(fd, IPPROTO_IPV6, IPV6_MTU);
    return Math.max(0, mtu);
  }

  /** Safe to call twice. */
  close(): void {
    for (const fd of [this.fd4, this.fd6]) if (fd !== NO_FD) this.native.closeDescriptor(fd);
    this.fd4 = NO_FD;
    this.fd6 = NO_FD;
  }
}
