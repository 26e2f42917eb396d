/**
 * Raw sockets that send whole packets of either family (raw(7), IP_HDRINCL; IPPROTO_RAW implies it, for IPv6 too),
 * marked so that routing rules can tell them.
 */
import type { PacketList } from './device.js';
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
import { check, native } from './native.js';

/** A burst of answers has to find room at once: there is no waiting on the hot path. */
const SEND_BUFFER_BYTES = 4 << 20;
const NONE = -1;

export class RawSockets {
  private fd4 = NONE;
  private fd6 = NONE;

  constructor(mark: number) {
    try {
      this.fd4 = check('open raw socket', openRaw(AF_INET));
      setUp(this.fd4, mark);
      // A host may do without IPv6: what should go there is refused then.
      this.fd6 = Math.max(NONE, openRaw(AF_INET6));
      if (this.fd6 !== NONE) setUp(this.fd6, mark);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** How many were refused. */
  send(memory: Uint8Array, packets: PacketList): number {
    const { offsets, lengths, results, count } = packets;
    return native.sendBatch(this.fd4, this.fd6, memory, offsets, lengths, results, count);
  }

  close(): void {
    for (const fd of [this.fd4, this.fd6]) if (fd !== NONE) native.closeDescriptor(fd);
    this.fd4 = NONE;
    this.fd6 = NONE;
  }
}

function openRaw(domain: number): number {
  return native.openSocket(domain, SOCK_RAW, IPPROTO_RAW);
}

function setUp(fd: number, mark: number): void {
  check('mark raw socket', native.setSocketOption(fd, SOL_SOCKET, SO_MARK, mark));
  // The sender's packets are not ours to cut or hold back: what the network told about a path is for the sender.
  native.setSocketOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
  native.setSocketOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
  native.setSocketOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
  // A service may broadcast; whether it is allowed to was its own socket's business.
  native.setSocketOption(fd, SOL_SOCKET, SO_BROADCAST, 1);
}
