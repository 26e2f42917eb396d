/**
 * Raw sockets that send whole packets of either family (raw(7), IP_HDRINCL; IPPROTO_RAW implies it, for IPv6 too),
 * marked so that routing rules can tell them.
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
import { check, type Native } from './native.js';

/** A burst of answers has to find room at once: there is no waiting on the hot path. */
const SEND_BUFFER_BYTES = 4 << 20;
const NONE = -1;

export class RawSockets {
  private fd4 = NONE;
  private fd6 = NONE;

  /** `fwmark` is the SO_MARK of what is sent. Throws a SystemCallError, IPv4's alone: a host may do without IPv6. */
  constructor(
    private readonly native: Native,
    fwmark: number,
  ) {
    try {
      this.fd4 = check('open raw socket', this.open(AF_INET));
      this.setUp(this.fd4, fwmark);
      // What should go there is refused then.
      this.fd6 = Math.max(NONE, this.open(AF_INET6));
      if (this.fd6 !== NONE) this.setUp(this.fd6, fwmark);
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

  close(): void {
    for (const fd of [this.fd4, this.fd6]) if (fd !== NONE) this.native.closeDescriptor(fd);
    this.fd4 = NONE;
    this.fd6 = NONE;
  }

  private open(domain: number): number {
    return this.native.openSocket(domain, SOCK_RAW, IPPROTO_RAW);
  }

  private setUp(fd: number, fwmark: number): void {
    const { native } = this;
    check('mark raw socket', native.setSocketOption(fd, SOL_SOCKET, SO_MARK, fwmark));
    // The sender's packets are not ours to cut or hold back: what the network told about a path is for the sender.
    native.setSocketOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
    native.setSocketOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    native.setSocketOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
    // A service may broadcast; whether it is allowed to was its own socket's business.
    native.setSocketOption(fd, SOL_SOCKET, SO_BROADCAST, 1);
  }
}
