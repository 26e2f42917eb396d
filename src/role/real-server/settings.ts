/** What a real server is told: who its load balancers are, and what it serves. */
import { Carrier } from '../../codec/carriers.js';
import { DESTINATION_AT, type Packet, SOURCE_AT } from '../../codec/packet.js';
import { NONE, type Ticks, type WordIndex } from '../../codec/units.js';
import { type Prefix, PrefixList } from '../../flow/prefixes.js';
import { CLIENT, LIP, PORTS, SERVER } from '../../flow/records.js';
import { type Service, ServiceList } from '../services.js';
import { isImpossible } from './clients.js';

/** A load balancer whose marks count. */
export interface TrustedLoadBalancer {
  prefix: Prefix;
  /** Whether it understands ACKs. */
  ack: boolean;
  /** Whether it is asked for clients of flows. */
  ask: boolean;
  /** Whether it puts marks into empty datagrams, so that those aren't standalone packets. */
  deliverEmpty: boolean;
  timeout: FlowTimeout;
}

/** After how long without a packet a load balancer may give a flow's LIP:lport to another client, in milliseconds. */
export interface FlowTimeout {
  unansweredMs: number;
  /** Of a flow whose packets go both ways. */
  answeredMs: number;
}

/** What is known of a load balancer beside that; it starts anew with each configuration. */
export interface KnownLoadBalancer extends TrustedLoadBalancer {
  /** That of its last mark. */
  carrier: Carrier;
  /** How many asks it got since its last mark. */
  unanswered: number;
  lastAsk: Ticks;
}

/** Plain data: it goes from thread to thread. */
export interface RealServerOptions {
  loadBalancers: readonly TrustedLoadBalancer[];
  services: readonly Service[];
  /** The host's own and broadcast addresses: no client can have one of them. */
  ownAddresses: readonly Prefix[];
  /** Where sockets without an address of their own answer from, four words each. */
  wildcardSources: readonly (readonly number[])[];
  /** Whether clients of the other family reach the service of their own family (`nat64: deliver`). */
  translates: boolean;
}

/** The options as packets are held against them. All parts of the role share one of these, so that all change at once. */
export class RealServerSettings {
  services!: ServiceList;
  ownAddresses!: PrefixList;
  wildcardSources!: PrefixList;
  translates!: boolean;
  /** How long after its last inbound packet a flow may be asked about, at the earliest. */
  renewalMs!: number;
  private loadBalancers!: readonly KnownLoadBalancer[];
  private prefixes!: PrefixList;

  constructor(options: RealServerOptions) {
    this.configure(options);
  }

  configure(options: RealServerOptions): void {
    this.services = new ServiceList(options.services);
    this.ownAddresses = new PrefixList(options.ownAddresses);
    this.wildcardSources = new PrefixList(options.wildcardSources.map(words => ({ words, length: 128 })));
    this.translates = options.translates;
    this.loadBalancers = options.loadBalancers.map(lb => ({
      ...lb,
      carrier: Carrier.none,
      unanswered: 0,
      lastAsk: 0,
    }));
    this.renewalMs = Math.min(...options.loadBalancers.map(({ timeout }) => renewalMs(timeout)));
    this.prefixes = new PrefixList(options.loadBalancers.map(({ prefix }) => prefix));
  }

  /** The load balancer that a packet came from, or undefined. */
  loadBalancerOf({ addresses }: Packet): KnownLoadBalancer | undefined {
    return this.loadBalancerAt(addresses, SOURCE_AT);
  }

  /** The load balancer with the address at `at` in `words`, or undefined. */
  loadBalancerAt(words: Int32Array, at: WordIndex): KnownLoadBalancer | undefined {
    const position = this.prefixes.match(words, at);
    return position === NONE ? undefined : this.loadBalancers[position];
  }

  isFromLoadBalancer({ addresses }: Packet): boolean {
    return this.prefixes.has(addresses, SOURCE_AT);
  }

  /** Whether a packet goes to a service and comes from none: a load balancer's prefix may hold the service's own address. */
  isInbound({ addresses }: Packet): boolean {
    const { services } = this;
    return services.hasAddress(addresses, DESTINATION_AT) && !services.hasAddress(addresses, SOURCE_AT);
  }

  /** Whether a flow with this record could be learned: from a load balancer, to a service, of a possible client. */
  mayLearn(words: Int32Array, at: WordIndex): boolean {
    const isServed = this.services.has(words, at + SERVER, words[at + PORTS] & 0xffff);
    const isOwn = this.ownAddresses.has(words, at + CLIENT);
    return (
      isServed && this.prefixes.has(words, at + LIP) && !isOwn && !isImpossible(words, at + CLIENT, false)
    );
  }

  /** Whether a packet goes to a service's address and port. */
  isServed({ addresses, destinationPort }: Packet): boolean {
    return this.services.has(addresses, DESTINATION_AT, destinationPort);
  }
}

/** How long after its last inbound packet a flow is asked about that only replies keep alive: half of its time. */
export function renewalMs({ unansweredMs }: FlowTimeout): number {
  return unansweredMs / 2;
}
