/**
 * The kernel as the addon's callers see it, for tests: a TUN that keeps what is written to it and brings what it is
 * given, raw sockets that keep what is sent, netlink sockets behind which somebody answers, and a clock that stands
 * still until it is told. Every call that is not one of those succeeds.
 */
import { constants } from 'node:os';
import { AF_INET, AF_INET6, AF_NETLINK, IP_MTU, IPV6_MTU, WAIT_DATA } from '../../../src/io/linux.js';
import type { Batch, Native } from '../../../src/io/native.js';
import { type Octets, toHex } from './wire.js';

const { EAGAIN, EBADF, EAFNOSUPPORT, ENETUNREACH } = constants.errno;

interface Socket {
  domain: number;
  type: number;
  protocol: number;
  /** By `level:name`. */
  options: Map<string, number>;
  /** Messages that wait to be received. */
  waiting: Octets[];
  /** Where it is connected to, four words. */
  peer: readonly number[];
}

export class FakeKernel implements Native {
  /** What `clock` says. */
  ticks = 77;
  /** Packets with virtio headers: those that the TUN is to bring, and those it was given. */
  readonly toRead: Octets[] = [];
  readonly written: string[] = [];
  /** What went out through raw sockets. */
  readonly sent: string[] = [];
  /** The errno with which a packet is refused, negative; 0: it is taken. */
  refuses: (packet: Uint8Array) => number = () => 0;
  /** What a netlink socket answers to what is sent to it; a number is the send's -errno. */
  answers: (message: Uint8Array) => Octets[] | number = () => [];
  /** The MTU of the route to an address, or undefined if there is none. */
  mtuTo: (words: readonly number[]) => number | undefined = () => undefined;
  hasIpv6 = true;
  /** What the TUN was asked to leave to its reader, and what it answers to that. */
  readonly offloads: number[] = [];
  offloadAnswer = 0;
  /** What openTun gives, one after the other; then descriptors. */
  readonly openAnswers: number[] = [];
  /** In microseconds. */
  readonly sleeps: number[] = [];
  readonly timerSlacks: number[] = [];
  readonly sockets = new Map<number, Socket>();
  readonly closed: number[] = [];
  private nextFd = 10;

  openTun(): number {
    return this.openAnswers.shift() ?? this.nextFd++;
  }

  setTunOffload(_fd: number, flags: number): number {
    this.offloads.push(flags);
    return this.offloadAnswer;
  }

  openSocket(domain: number, type: number, protocol: number): number {
    if (domain === AF_INET6 && !this.hasIpv6) return -EAFNOSUPPORT;
    const fd = this.nextFd++;
    this.sockets.set(fd, { domain, type, protocol, options: new Map(), waiting: [], peer: [] });
    return fd;
  }

  setSocketOption(fd: number, level: number, name: number, value: number): number {
    return this.at(fd, socket => {
      socket.options.set(`${level}:${name}`, value);
      return 0;
    });
  }

  getSocketOption(fd: number, level: number, name: number): number {
    return this.at(fd, ({ options, peer }) => {
      const isMtu = [IP_MTU, IPV6_MTU].includes(name);
      return (isMtu ? this.mtuTo(peer) : options.get(`${level}:${name}`)) ?? 0;
    });
  }

  getSocketOption64(): bigint {
    return 0n;
  }

  connectTo(fd: number, words: Int32Array, at: number): number {
    return this.at(fd, socket => {
      socket.peer = [...words.subarray(at, at + 4)];
      return this.mtuTo(socket.peer) === undefined ? -ENETUNREACH : 0;
    });
  }

  openEvent(): number {
    return this.nextFd++;
  }

  signalEvent(): number {
    return 8;
  }

  lockFile(): number {
    return 0;
  }

  closeDescriptor(fd: number): number {
    this.closed.push(fd);
    this.sockets.delete(fd);
    return 0;
  }

  allocateFile(): number {
    return 0;
  }

  mapFile(_fd: number, length: number): ArrayBuffer {
    return new ArrayBuffer(length);
  }

  adviseHugePages(): number {
    return 0;
  }

  wait(): number {
    return this.toRead.length > 0 ? WAIT_DATA : 0;
  }

  clock(): number {
    return this.ticks | 0;
  }

  sleep(microseconds: number): number {
    this.sleeps.push(microseconds);
    return 0;
  }

  setTimerSlack(nanoseconds: number): number {
    this.timerSlacks.push(nanoseconds);
    return 0;
  }

  sendMessage(fd: number, memory: Uint8Array, length: number): number {
    return this.at(fd, ({ domain, waiting }) => {
      if (domain !== AF_NETLINK) return length;
      const answers = this.answers(memory.slice(0, length));
      if (typeof answers === 'number') return answers;
      waiting.push(...answers);
      return length;
    });
  }

  receiveMessage(fd: number, memory: Uint8Array, length: number): number {
    return this.at(fd, ({ waiting }) => {
      const message = waiting.shift();
      if (message === undefined) return -EAGAIN;
      const piece = Array.from(message).slice(0, length);
      memory.set(piece);
      return piece.length;
    });
  }

  readBatch(_fd: number, ...batch: Batch): number {
    return bring(this.toRead, batch);
  }

  receiveBatch(fd: number, ...batch: Batch): number {
    return this.at(fd, ({ waiting }) => bring(waiting, batch) || -EAGAIN);
  }

  writeBatch(_fd: number, ...batch: Batch): number {
    return take(batch, packet => {
      const refusal = this.refuses(packet);
      if (refusal === 0) this.written.push(toHex(packet));
      return refusal;
    });
  }

  sendBatch(fd4: number, fd6: number, ...batch: Batch): number {
    return take(batch, packet => {
      const [fd, domain] = packet[0] >> 4 === 6 ? [fd6, AF_INET6] : [fd4, AF_INET];
      if (this.sockets.get(fd)?.domain !== domain) return -EBADF;
      const refusal = this.refuses(packet);
      if (refusal === 0) this.sent.push(toHex(packet));
      return refusal;
    });
  }

  /** The sockets of one kind that are open. */
  socketsOf(domain: number): Socket[] {
    return [...this.sockets.values()].filter(socket => socket.domain === domain);
  }

  private at(fd: number, act: (socket: Socket) => number): number {
    const socket = this.sockets.get(fd);
    return socket === undefined ? -EBADF : act(socket);
  }
}

function bring(queue: Octets[], [memory, offsets, lengths, results, count]: Batch): number {
  const packets = queue.splice(0, count);
  packets.forEach((packet, i) => {
    const piece = Array.from(packet).slice(0, lengths[i]);
    memory.set(piece, offsets[i]);
    results[i] = piece.length;
  });
  return packets.length;
}

/** Gives each packet to `put`, which says 0 or -errno; how many were refused. */
function take(
  [memory, offsets, lengths, results, count]: Batch,
  put: (packet: Uint8Array) => number,
): number {
  let refused = 0;
  for (let i = 0; i < count; i++) {
    results[i] = put(memory.slice(offsets[i], offsets[i] + lengths[i]));
    if (results[i] < 0) refused++;
  }
  return refused;
}
