/**
 * The kernel's conntrack over one netlink socket. A request is answered before its send() returns, so each is one
 * send and one receive, without waiting.
 */
import { CtAnswer, CtRequest, type ReplyTuple } from '../codec/ctnetlink.js';
import { check, native } from './native.js';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_NETFILTER = 12;

export class Conntrack {
  /** The connection that the last `find` found. */
  readonly found = new CtAnswer();
  private readonly request = new CtRequest();
  private fd = check('open netlink socket', native.openSocket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER));

  /** Looks for the connection whose replies are `tuple`; what was found is in `found`. */
  find(tuple: ReplyTuple): boolean {
    this.request.get(tuple);
    return this.exchange() === 0;
  }

  /** Sets the bits of `mask` in the connection's mark; false if there is no such connection any more. */
  setMark(tuple: ReplyTuple, mask: number): boolean {
    this.request.setMark(tuple, mask, mask);
    return this.exchange() === 0;
  }

  /** Safe to call twice. */
  close(): void {
    if (this.fd >= 0) native.closeDescriptor(this.fd);
    this.fd = -1;
  }

  private exchange(): number {
    const { request, found } = this;
    if (native.sendMessage(this.fd, request.bytes, request.length) < 0) return -1;
    for (;;) {
      const length = native.receiveMessage(this.fd, found.bytes, found.bytes.length);
      // An answer that an earlier request did not wait for is passed over.
      if (length < 0 || found.sequence === request.sequence) return found.read(length);
    }
  }
}
