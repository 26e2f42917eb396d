/** What a load balancer is told: how it marks, and what is its own. */
import { type Carrier, type CarrierName, carrierOfFamily } from '../../codec/carriers.js';
import type { Port, WordIndex } from '../../codec/units.js';
import { type Prefix, PrefixList } from '../../flow/prefixes.js';
import { ACKED, MARKS_SENT } from '../flow-flags.js';
import { ServiceList } from '../services.js';

/** Plain data: it goes from thread to thread. */
export interface LoadBalancerOptions {
  /** How marks travel: `ipo` and `dstopt` mean the same, whichever the packet's family has. */
  carrier: CarrierName;
  /** Marks per flow at most: 0 to MARKS_SENT. */
  marksPerFlow: number;
  /** The host's own addresses, the LIPs among them. */
  ownAddresses: readonly Prefix[];
  /** Whose flows are told of when a real server asks: VIPs, four words each, and their ports. None: all that are NATed both ways. */
  services?: readonly { words: readonly number[]; port: Port }[];
}

/** The options as packets are held against them. All parts of the role share one of these, so that all change at once. */
export class LoadBalancerSettings {
  ownAddresses!: PrefixList;
  private carrier!: CarrierName;
  private services!: ServiceList;
  private marksPerFlow!: number;

  constructor(options: LoadBalancerOptions) {
    this.configure(options);
  }

  /** Throws a RangeError for more marks per flow than its record can count. */
  configure({ carrier, marksPerFlow, ownAddresses, services = [] }: LoadBalancerOptions): void {
    if (marksPerFlow > MARKS_SENT)
      throw new RangeError(`marksPerFlow is ${marksPerFlow}, above ${MARKS_SENT}`);
    this.carrier = carrier;
    this.marksPerFlow = marksPerFlow;
    this.ownAddresses = new PrefixList(ownAddresses);
    this.services = new ServiceList(services.map(({ words, port }) => ({ words, from: port, to: port })));
  }

  /** The carrier of marks in packets of a family. */
  carrierFor(v6: boolean): Carrier {
    return carrierOfFamily(this.carrier, v6);
  }

  /** Whether flows to the VIP and port at `at` in `words` get marks. */
  isMarked(words: Int32Array, at: WordIndex, port: Port): boolean {
    return this.services.count === 0 || this.services.has(words, at, port);
  }

  /** Whether there are marks at all. */
  get marks(): boolean {
    return this.marksPerFlow > 0;
  }

  /** Whether the next packet of a flow with these flags gets a mark (PROTOCOL: LB 1). */
  wantsMark(flags: number): boolean {
    return (flags & ACKED) === 0 && (flags & MARKS_SENT) < this.marksPerFlow;
  }
}
