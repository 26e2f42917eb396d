import type { CarrierName } from '../../codec/carriers.js';

/**
 * The configuration, checked, complete and in one spelling: defaults are filled in, prefixes carry their length, and
 * names carry a unit where the key has none. Addresses are `a.b.c.d`, or IPv6 ones as RFC 5952 writes them: lower case,
 * no leading zeros, `::` for the first longest run of zeros, no dotted end.
 */
export interface Config {
  role: RoleName;
  tun: {
    name: string;
    /** `a.b.c.d/length`; never IPv6. */
    address: string;
    /** Whether super-packets come from it and go to it, if the kernel can do that. */
    offload: 'auto' | 'off';
    /** With offload: whether neighbours of one flow become one super-packet. */
    merge: boolean;
    /** With merging: how long a datagram may wait under load for its neighbours, 0 to 1000. */
    coalesceUs: number;
  };
  log: { level: LogLevel; format: 'text' | 'json' };
  control: {
    /** Absolute path. */
    socket: string;
  };
  routing: {
    /** The first of two tables; the other one is `table + 1`. */
    table: number;
    /** The first of two rules' preferences; the other one is `priority + 1`. */
    priority: number;
    /** The preference that the rule for the table local moves to, behind the two above. */
    localPriority: number;
    /** SO_MARK of what the shim sends (key `routing.mark`). */
    fwmark: number;
    /** How the load balancers' packets get to a real server's shim. */
    steering: 'policy-routing' | 'nft-ingress';
  };
  realServer: RealServerConfig;
  loadBalancer: LoadBalancerConfig;
}

export type RoleName = 'real-server' | 'load-balancer';

export type LogLevel = 'error' | 'warn' | 'info' | 'debug';

export interface RealServerConfig {
  /** The interface on the load balancers' side; empty: the one that the route to them takes. */
  interface: string;
  loadBalancers: LoadBalancerSource[];
  services: ServiceSocket[];
  flowTimeoutSeconds: number;
  maxFlows: number;
  /** With `deliver`, at least one IPv4 and one IPv6 service share a port. */
  nat64: 'keep' | 'deliver';
}

/** Where marks may come from. */
export interface LoadBalancerSource {
  /** `a.b.c.d/length` or `x:x::x/length`, no bits set behind the length. */
  prefix: string;
  ack: boolean;
  /** Never without `ack`, and never with `deliverEmpty`. */
  ask: boolean;
  deliverEmpty: boolean;
  /** Seconds after which it may give a flow's LIP:lport to another client; the same in both phases for most of them. */
  timeout: { unansweredSeconds: number; answeredSeconds: number };
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
  /** Empty: found by the routes. */
  interface: { clients: string; servers: string };
  /** Who makes the NAT rules: `managed`, the shim; `external`, another program. */
  nat: 'managed' | 'external';
  /**
   * Addresses of this host, `a.b.c.d` or `x:x::x`: the sources towards the real servers. With `managed` there is at
   * least one for each family among the services; with `external` there may be none.
   */
  localAddresses: string[];
  /** With `external` there may be none; if there are any, only their flows get marks. */
  services: VirtualService[];
  /** Whether conntrack keeps these flows for `flowTimeoutSeconds` without a packet, answered or not. */
  conntrackTimeout: boolean;
  flowTimeoutSeconds: number;
  maxFlows: number;
}

export interface VirtualService {
  /** `a.b.c.d` or `x:x::x` */
  vip: string;
  port: number;
  schedule: Schedule;
  /** With `managed` there is at least one. If there are any, at least one has a weight above 0. */
  realServers: BalancedServer[];
}

export type Schedule = 'source-hash' | 'round-robin' | 'random';

export interface BalancedServer {
  /** `a.b.c.d` or `x:x::x`, of the same family as the VIP. */
  address: string;
  port: number;
  /** 0: it gets no new flows. */
  weight: number;
}
