/**
 * Raw sockets that send whole packets of either family (raw(7), IP_HDRINCL; IPPROTO_RAW implies it, for IPv6 too),
 * marked so that routing rules can tell them.
 */
import type { PacketList } from './device.js';
import { check, native } from './native.js';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;
const SOL_SOCKET = 1;
const SO_BROADCAST = 6;
const SO_MARK = 36;
const SO_SNDBUFFORCE = 32;
/** A burst of answers has to find room at once: there is no waiting on the hot path. */
const SEND_BUFFER_BYTES = 4 << 20;
const IPPROTO_IP = 0;
const IP_MTU_DISCOVER = 10;
const IPPROTO_IPV6 = 41;
const IPV6_MTU_DISCOVER = 23;
const PMTUDISC_PROBE = 3;
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
    return native.sendBatch(this.fd4, this.fd6, memory, packets.offsets, packets.lengths, packets.count);
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
  native.setSocketOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE);
  native.setSocketOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE);
  native.setSocketOption(fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
  // A service may broadcast; whether it is allowed to was its own socket's business.
  native.setSocketOption(fd, SOL_SOCKET, SO_BROADCAST, 1);
}
