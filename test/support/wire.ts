/** wire.py as a load balancer beside a real server: what it sends, and what it sees come back. */
import { type Lab, LIP, LIP6, type Namespace, RIP, RIP6, RS_MAC } from './netns.js';
import { JsonProgram } from './process.js';

export type Carrier = 'ipo' | 'opp' | 'dstopt';

export interface Mark {
  client: string;
  port: number;
  carrier: Carrier;
}

/** A packet to send, as wire.py has it; what is left out is as in `toService`. */
export interface PacketSpec {
  raw?: string;
  source?: string;
  sourcePort?: number;
  destination?: string;
  destinationPort?: number;
  payload?: string;
  mark?: Mark;
  before?: string;
  after?: string;
  options?: string;
  tos?: number;
  ttl?: number;
  identification?: number;
  dontFragment?: boolean;
  checksum?: 'good' | 'zero' | 'bad';
  fragmentAt?: number;
  fragmentOrder?: number[];
  /** Instead of ports and payload. */
  protocol?: number;
  body?: string;
  /** An error about `quoted` (hex). */
  icmp?: { type: number; code: number; value?: number; quoted: string };
  /** Of the body: a fragment, whatever it may be one of. */
  fragment?: { offset: number; more: boolean };
  /** IPv6: the flow label, and headers ahead of the fragment header and of the mark's options. */
  flow?: number;
  extensions?: { type: number; options: string }[];
}

/** A packet (or a datagram made whole of fragments) that came, as wire.py decodes it. */
export interface Seen {
  event: 'packet' | 'datagram' | 'ready';
  source: string;
  destination: string;
  sourcePort?: number;
  destinationPort?: number;
  protocol: number;
  tos: number;
  ttl: number;
  identification: number;
  dontFragment: boolean;
  fragment: { more: boolean; offset: number };
  /** IPv4's options; IPv6's extension headers but for that of fragments. */
  options: string;
  /** IPv4 alone. */
  headerChecksumGood?: boolean;
  /** IPv6 alone: the label, and the numbers of the extension headers; `protocol` is what follows them. */
  flow?: number;
  headers?: number[];
  icmp?: Icmp;
  udpChecksum?: 'good' | 'zero' | 'bad';
  udpLength?: number;
  payload?: string;
  mark?: Mark | null;
  bytes: number;
  hex: string;
  /** Bytes of each fragment; only for 'datagram'. */
  sizes?: number[];
}

export interface Icmp {
  type: number;
  code: number;
  checksumGood: boolean;
  /** The four bytes before what is quoted: an MTU, for one. */
  value: number;
  /** In an error, the packet that it is about, as far as it is there. */
  quoted?: Seen;
}

export interface Tally {
  sent: number;
  answered: number;
  acks: number;
  /** Packets with a wrong checksum. */
  bad: number;
  /** Answers by "LIP:lport". */
  tally: Record<string, number>;
}

/** From LIP:40000 to RIP:7000. */
const toService = { source: LIP, sourcePort: 40000, destination: RIP, destinationPort: 7000 };
/** The same by IPv6, to be spread into a packet. */
export const TO_SERVICE6 = { source: LIP6, destination: RIP6 };

export class Wire extends JsonProgram<Seen> {
  static async start(namespace: Namespace, peer: string, more: readonly string[] = []): Promise<Wire> {
    const wire = new Wire(
      namespace.python('wire.py', ['lb', '--interface', 'eth0', '--peer', peer, ...more]),
    );
    namespace.start(wire);
    await wire.event('wire.py is ready', ({ event }) => event === 'ready');
    return wire;
  }

  static besideLab(lab: Lab): Promise<Wire> {
    return Wire.start(lab.lb, RS_MAC);
  }

  /** Sends packets; gives the bytes of each on the wire, in hex. */
  async send(...packets: PacketSpec[]): Promise<string[]> {
    const request = { op: 'send', packets: packets.map(packet => ({ ...toService, ...packet })) };
    return (await this.ask(request)).packets as string[];
  }

  /** Sends packets in turn, `rounds` times, each time with other identifications. */
  async flood(packets: readonly PacketSpec[], rounds: number): Promise<void> {
    await this.ask({ op: 'flood', packets: packets.map(packet => ({ ...toService, ...packet })), rounds });
  }

  /** The bytes of a packet, unsent. */
  async encode(packet: PacketSpec): Promise<string> {
    return (await this.fragments(packet))[0];
  }

  /** The bytes of each of its fragments, unsent. */
  async fragments(packet: PacketSpec): Promise<string[]> {
    const answer = await this.ask({ op: 'encode', packets: [{ ...toService, ...packet }] });
    return answer.packets as string[];
  }

  /** Sends packets in turn, `rounds` times, as fast as they are answered. */
  async exchange(packets: readonly PacketSpec[], rounds: number, window = 32): Promise<Tally> {
    const spec = packets.map(packet => ({ ...toService, ...packet }));
    return (await this.ask({ op: 'exchange', packets: spec, rounds, window })) as unknown as Tally;
  }

  /** A place in the list of what came, for looking only at what comes later. */
  get now(): number {
    return this.events.length;
  }

  /** UDP (and UOA) packets that came since `from`, fragments not among them. */
  since(from: number): Seen[] {
    return this.events
      .slice(from)
      .filter(({ event, protocol }) => event === 'packet' && (protocol === 17 || protocol === 248));
  }

  /** The answer with this payload, from a packet or from fragments. */
  answer(payload: string, from: number): Promise<Seen> {
    return this.event(
      `an answer ${payload.slice(0, 40)}`,
      seen => seen.payload === payload && !seen.mark,
      from,
    );
  }
}

/** Whether a marked packet from a real server is an ACK. An ask names nobody. */
export function isAck({ mark }: Seen): boolean {
  return Boolean(mark) && mark?.port !== 0;
}

/** Text as a payload. */
export function text(value: string): string {
  return Buffer.from(value).toString('hex');
}

/** A mark naming "address:port" or "[address]:port". */
export function mark(client: string, carrier: Carrier = 'ipo'): Mark {
  const colon = client.lastIndexOf(':');
  const address = client.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { client: address, port: Number(client.slice(colon + 1)), carrier };
}

/** "address:port" or "[address]:port". */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** An IPv4 packet with the identification left out, and the header checksum that depends on it. */
export function exceptIdentification(hex: string): string {
  return `${hex.slice(0, 8)}....${hex.slice(12, 20)}....${hex.slice(24)}`;
}
