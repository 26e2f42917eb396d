/** A raw IPv4 socket that sends whole packets (raw(7), IP_HDRINCL), marked so that routing rules can tell them. */
import type { PacketList } from './device.js';
import { check, native } from './native.js';

const AF_INET = 2;
const SOCK_RAW = 3;
const IPPROTO_RAW = 255;
const SOL_SOCKET = 1;
const SO_MARK = 36;
const SO_SNDBUFFORCE = 32;
/** A burst of answers has to find room at once: there is no waiting on the hot path. */
const SEND_BUFFER_BYTES = 4 << 20;

export class RawSocket {
  private fd: number;

  constructor(mark: number) {
    this.fd = check('open raw socket', native.openSocket(AF_INET, SOCK_RAW, IPPROTO_RAW));
    try {
      check('mark raw socket', native.setSocketOption(this.fd, SOL_SOCKET, SO_MARK, mark));
      native.setSocketOption(this.fd, SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** How many were refused. */
  send(memory: Uint8Array, packets: PacketList): number {
    return native.sendBatch4(this.fd, memory, packets.offsets, packets.lengths, packets.count);
  }

  close(): void {
    if (this.fd >= 0) native.closeDescriptor(this.fd);
    this.fd = -1;
  }
}
