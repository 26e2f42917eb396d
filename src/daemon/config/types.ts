/** The configuration, checked, complete and in one spelling: defaults are in, prefixes carry their length. */
export interface Config {
  role: 'real-server';
  tun: {
    name: string;
    /** `a.b.c.d/length` */
    address: string;
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
    steering: 'policy-routing';
  };
  realServer: RealServerConfig;
  loadBalancer: LoadBalancerConfig;
}

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
  nat64: 'keep';
}

/** Where marks may come from. */
export interface LoadBalancerSource {
  /** `a.b.c.d/length`, no bits set behind the length. */
  prefix: string;
  ack: boolean;
  deliverEmpty: boolean;
}

/** The application's own sockets. */
export interface ServiceSocket {
  address: string;
  /** First and last port; 0 and 65535 stand for any. */
  from: number;
  to: number;
}

/** Declared, so that a file can have it already; nothing reads it yet. */
export interface LoadBalancerConfig {
  carrier: 'ipo' | 'opp' | 'dstopt';
  maxTrails: number;
  interface: { clients: string; servers: string };
  nat: 'managed' | 'external';
  localAddresses: string[];
  services: VirtualService[];
  flowTimeout: number;
  maxFlows: number;
}

export interface VirtualService {
  vip: string;
  port: number | string;
  schedule?: 'source-hash' | 'round-robin' | 'random';
  realServers: { address: string; port: number | string; weight?: number }[];
}
