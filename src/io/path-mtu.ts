/** The MTU of the path to a destination, as the kernel knows it now: its route's, or what it learned on the way. */
import { check, native } from './native.js';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_MARK = 36;
const IPPROTO_IP = 0;
const IP_MTU = 14;
const ANY_PORT = 9;

export class PathMtu {
  private fd = check('open socket', native.openSocket(AF_INET, SOCK_DGRAM, 0));

  /** `mark` is the SO_MARK of the packets that it is asked for. */
  constructor(mark: number) {
    check('mark socket', native.setSocketOption(this.fd, SOL_SOCKET, SO_MARK, mark));
  }

  /** In bytes, to an IPv4 address (a 32-bit word); 0 if there is no route. */
  get4(destination: number): number {
    // Connecting sends nothing: it looks up the route, and IP_MTU tells that route's MTU (ip(7)).
    if (native.connect4(this.fd, destination, ANY_PORT) < 0) return 0;
    return Math.max(0, native.getSocketOption(this.fd, IPPROTO_IP, IP_MTU));
  }

  /** Safe to call twice. */
  close(): void {
    if (this.fd >= 0) native.closeDescriptor(this.fd);
    this.fd = -1;
  }
}
