/**
 * Raw sockets that send whole packets of either family (raw(7), IP_HDRINCL; IPPROTO_RAW implies it, for IPv6 too). Their
 * SO_MARK tells routing rules that a packet is ours.
 */
import {
  AF_INET,
  AF_INET6,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_PROBE,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPPROTO_RAW,
  IPV6_MTU_DISCOVER,
  IPV6_PMTUDISC_PROBE,
  SO_BROADCAST,
  SO_MARK,
  SO_SNDBUFFORCE,
  SOCK_RAW,
  SOL_SOCKET,
} from './linux.js';
import type { PieceList } from './lists.js';
import { check, type Native, NO_FD } from './native.js';

/** A burst of packets must fit: the hot path does not wait. */
const SEND_BUFFER_BYTES = 4 << 20;

export class RawSockets {
  private fd4 = NO_FD;
  private fd6 = NO_FD;

  /** `fwmark` is the SO_MARK of what is sent. Throws a SystemCallError, but not if the host has no IPv6. */
  constructor(
    private readonly native: Native,
    fwmark: number,
  ) {
    try {
      this.fd4 = check('open raw socket', this.open(AF_INET));
      this.setUp(this.fd4, fwmark);
      // Without the socket, IPv6 packets are refused.
      this.fd6 = Math.max(NO_FD, this.open(AF_INET6));
      if (this.fd6 !== NO_FD) this.setUp(this.fd6, fwmark);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Sends IP packets that are complete, pieces of `memory`; how many were refused. */
  send(memory: Uint8Array, packets: PieceList): number {
    const { offsets, lengths, results, count } = packets;
    return this.native.sendBatch(this.fd4, this.fd6, memory, offsets, lengths, results, count);
  }

  /** Safe to call twice. */
  close(): void {
    for (const fd of [this.fd4, this.fd6]) if (fd !== NO_FD) this.native.closeDescriptor(fd);
    this.fd4 = NO_FD;
    this.fd6 = NO_FD;
  }

  private open(domain: number): number {
    return this.native.openSocket(domain, SOCK_RAW, IPPROTO_RAW);
  }

  private setUp(fd: number, fwmark: number): void {
    const { native } = this;
    check('set SO_MARK of raw socket', native.setSocketOption(fd, SOL_SOCKET, SO_MARK, fwmark));
    // Packets are neither cut nor held back for a path's MTU: that is the sender's business.
    native.setSocketOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    native.setSocketOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    native.setSocketOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
    // A service may broadcast. Its own socket has decided whether it is allowed to.
    native.setSocketOption(fd, SOL_SOCKET, SO_BROADCAST, 1);
  }
}
