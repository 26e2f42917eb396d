import type { CarrierName } from '../../codec/carriers.js';

/**
 * The configuration, checked, complete and in one spelling: defaults are in, prefixes carry their length. Addresses
 * are `a.b.c.d`, or IPv6 ones as RFC 5952 has them: lower case, no leading zeros, `::` for the first longest run of
 * zeros, no dotted end.
 */
export interface Config {
  role: Role;
  tun: {
    name: string;
    /** `a.b.c.d/length`; never IPv6. */
    address: string;
    /** Whether super-packets come from it, and go to it, where the kernel can. */
    offload: 'auto' | 'off';
    /** With offload: whether neighbours of one flow become one super-packet. */
    merge: boolean;
    /** With merging: microseconds that a datagram may wait under load for its neighbours, 0 to 1000. */
    coalesce: number;
  };
  log: { level: LogLevel; format: 'text' | 'json' };
  control: {
    /** Absolute path. */
    socket: string;
  };
  /** Empty: not served. */
  metrics: { listen: '' };
  routing: {
    /** Tables `table` and `table + 1` are used. */
    table: number;
    /** Rules at `priority` and `priority + 1`. */
    priority: number;
    /** Where the rule for the local table goes; behind the two above. */
    localPriority: number;
    mark: number;
    /** How the load balancers' packets get to a real server's shim. */
    steering: 'policy-routing' | 'nft-ingress';
  };
  realServer: RealServerConfig;
  loadBalancer: LoadBalancerConfig;
}

export type Role = 'real-server' | 'load-balancer';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

export interface RealServerConfig {
  /** The load balancers' side; empty: the one that the route to them takes. */
  interface: string;
  loadBalancers: LoadBalancerSource[];
  services: ServiceSocket[];
  datapath: 'tun' | 'auto';
  /** Seconds. */
  flowTimeout: number;
  maxFlows: number;
  /** With `deliver` there are services of both families that share a port. */
  nat64: 'keep' | 'deliver';
}

/** Where marks may come from. */
export interface LoadBalancerSource {
  /** `a.b.c.d/length` or `x:x::x/length`, no bits set behind the length. */
  prefix: string;
  ack: boolean;
  deliverEmpty: boolean;
}

/** The application's own sockets. */
export interface ServiceSocket {
  /** `a.b.c.d` or `x:x::x` */
  address: string;
  /** First and last port; 0 and 65535 stand for any. */
  from: number;
  to: number;
}

export interface LoadBalancerConfig {
  /** `ipo` and `dstopt` mean the same: an option of the IP header, whichever its family has. */
  carrier: CarrierName;
  /** 0: no marks. */
  maxTrails: number;
  /** Empty: by the routes. */
  interface: { clients: string; servers: string };
  /** Who makes the NAT rules: the shim, or somebody else beside it. */
  nat: 'managed' | 'external';
  /**
   * This host's own, `a.b.c.d` or `x:x::x`, the sources towards the real servers. With `managed` there is at least
   * one for each family among the services, with `external` there may be none.
   */
  localAddresses: string[];
  /** With `external` there may be none; those that are there then say whose flows get marks. */
  services: VirtualService[];
  /** Seconds. */
  flowTimeout: number;
  maxFlows: number;
}

export interface VirtualService {
  /** `a.b.c.d` or `x:x::x` */
  vip: string;
  port: number;
  schedule: Schedule;
  /** With `managed` at least one. Where there are any, at least one has a weight above 0. */
  realServers: BalancedServer[];
}

export type Schedule = 'source-hash' | 'round-robin' | 'random';

export interface BalancedServer {
  /** `a.b.c.d` or `x:x::x`, of the same family as the VIP. */
  address: string;
  port: number;
  /** 0: gets no new flows. */
  weight: number;
}
