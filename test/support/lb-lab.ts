/**
 * Network namespaces for tests of the load balancer: clients on one side, two real servers on the other.
 *
 *   clients ns                       LB ns                             switch ns        RS ns, two of them
 *   203.0.113.1 ... .200   eth0 ---- eth0 203.0.113.254                  br0 ---------- eth0 10.10.2.2 RS 1
 *     default via .254                    198.51.100.10 VIP, .11          |  `--------- eth0 10.10.2.3 RS 2
 *                                    eth1 10.10.2.1 LIP, .10 ------------'                no default route
 *
 * The LB has strict rp_filter everywhere, forwards nothing by itself, and knows no other way than these. Everything
 * has the fixed hardware addresses that wire.py wants. With `ipv6` the same once more:
 *
 *   2001:db8:71::1 ... ::c8 -- 2001:db8:71::fe                       fd00:10:2::2 RS 1
 *                              2001:db8:64::10 VIP6, ::11            fd00:10:2::3 RS 2
 *                              fd00:10:2::1 LIP6, ::10
 *
 * With `routers` there is one on either side, whose links can be made narrower; the switch is one of them then:
 *
 *   clients eth0 ---- eth0 near eth1 198.18.0.1 ---- eth0 198.18.0.2 LB eth1 ---- lb far 10.10.2.254 rs1, rs2 ---- RS
 *                                 2001:db8:12::1          2001:db8:12::2              fd00:10:2::fe
 */
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { Namespace } from './netns.js';
import { eventually, must } from './process.js';
import type { ShimOptions } from './shim.js';
import { Wire } from './wire.js';

export const VIP = '198.51.100.10';
export const VIP_2 = '198.51.100.11';
export const LIP = '10.10.2.1';
export const LIP_2 = '10.10.2.10';
export const RIPS = ['10.10.2.2', '10.10.2.3'] as const;
export const VIP6 = '2001:db8:64::10';
export const VIP6_2 = '2001:db8:64::11';
export const LIP6 = 'fd00:10:2::1';
export const LIP6_2 = 'fd00:10:2::10';
export const RIPS6 = ['fd00:10:2::2', 'fd00:10:2::3'] as const;
export const PORT = 7000;
/** Where the clients talk to, and where that goes by default. */
export const TARGET = `${VIP}:${PORT}`;
export const TARGET6 = `[${VIP6}]:${PORT}`;
export const CLIENTS = 200;
export const LB_CLIENTS_MAC = '02:00:00:cb:71:fe';
export const LB_SERVERS_MAC = '02:00:00:0a:02:01';

/** The address of the nth client, from 0. */
export function client(n: number): string {
  return `203.0.113.${n + 1}`;
}

export function client6(n: number): string {
  return `2001:db8:71::${(n + 1).toString(16)}`;
}

/** What the lab is made of in one family. */
interface Network {
  flag: '-4' | '-6';
  /** The clients' network, and the router there: the LB itself, if there is no other. */
  clients: string;
  gateway: string;
  /** Between the near router and the LB; and the far router. */
  near: string;
  besideNear: string;
  far: string;
  vips: readonly string[];
  /** The one that the kernel is to choose comes first. */
  lips: readonly string[];
  rips: readonly string[];
  client: (n: number) => string;
  /** Of prefixes: a host's, the clients' network's, the servers', and that between the near router and the LB. */
  lengths: { host: number; clients: number; servers: number; near: number };
}

const NETWORK4: Network = {
  ...{ flag: '-4', clients: '203.0.113.0/24', gateway: '203.0.113.254' },
  ...{ near: '198.18.0.1', besideNear: '198.18.0.2', far: '10.10.2.254' },
  ...{ vips: [VIP, VIP_2], lips: [LIP, LIP_2], rips: RIPS, client },
  lengths: { host: 32, clients: 24, servers: 24, near: 30 },
};
const NETWORK6: Network = {
  ...{ flag: '-6', clients: '2001:db8:71::/64', gateway: '2001:db8:71::fe' },
  ...{ near: '2001:db8:12::1', besideNear: '2001:db8:12::2', far: 'fd00:10:2::fe' },
  ...{ vips: [VIP6, VIP6_2], lips: [LIP6, LIP6_2], rips: RIPS6, client: client6 },
  lengths: { host: 128, clients: 64, servers: 64, near: 64 },
};

export interface LbLabOptions {
  /** Whether the network cards that don't exist may leave checksums to each other. */
  offload?: boolean;
  ipv6?: boolean;
  /** Between the clients and the LB, and between the LB and the real servers; the latter can't be spoken for by wire.py. */
  routers?: boolean;
}

export class LbLab {
  private constructor(
    private readonly options: LbLabOptions,
    readonly clients: Namespace,
    readonly lb: Namespace,
    /** The switch, or the far router. */
    readonly far: Namespace,
    readonly rs: readonly [Namespace, Namespace],
    /** The clients' router, where there are routers; else the clients themselves. */
    readonly near: Namespace,
  ) {}

  static async create(options: LbLabOptions = {}): Promise<LbLab> {
    const names = ['clients', 'lb', 'far', 'rs1', 'rs2', ...(options.routers ? ['near'] : [])];
    const [clients, lb, far, rs1, rs2, near] = await Promise.all(names.map(name => Namespace.create(name)));
    const lab = new LbLab(options, clients, lb, far, [rs1, rs2], near ?? clients);
    try {
      await lab.wireUp();
    } catch (error) {
      await lab.delete();
      throw error;
    }
    return lab;
  }

  private get networks(): Network[] {
    return this.options.ipv6 ? [NETWORK4, NETWORK6] : [NETWORK4];
  }

  private get all(): Namespace[] {
    return [...new Set([this.clients, this.near, ...this.rs, this.far, this.lb])];
  }

  private async wireUp(): Promise<void> {
    const { clients, lb, far, rs, near } = this;
    const { routers = false, offload = false } = this.options;
    for (const name of ['all', 'default']) {
      await lb.sysctl(`net.ipv4.conf.${name}.rp_filter`, 1);
      // Each address is there at once, and stays what it is.
      for (const end of this.all) await end.sysctl(`net.ipv6.conf.${name}.accept_dad`, 0);
    }
    const nearEnd = routers ? 'eth1' : 'eth0';
    await lb.ip(`link add eth0 address ${LB_CLIENTS_MAC} type veth peer name ${nearEnd} netns ${near.name}`);
    await lb.ip(`link add eth1 address ${LB_SERVERS_MAC} type veth peer name lb netns ${far.name}`);
    if (routers) await near.ip(`link add eth0 type veth peer name eth0 netns ${clients.name}`);
    for (const [i, server] of rs.entries())
      await server.ip(`link add eth0 type veth peer name rs${i + 1} netns ${far.name}`);
    for (const network of this.networks) await this.addAddresses(network);

    if (!routers) await this.bridge();
    const ends: [Namespace, string][] = [
      ...([clients, ...rs].map(end => [end, 'eth0']) as [Namespace, string][]),
      ...(['eth0', 'eth1'].map(name => [lb, name]) as [Namespace, string][]),
      ...((routers ? ['eth0', 'eth1'].map(name => [near, name]) : []) as [Namespace, string][]),
      ...((routers ? ['lb', 'rs1', 'rs2'].map(name => [far, name]) : []) as [Namespace, string][]),
    ];
    for (const [end, name] of ends) {
      if (!offload) await end.must(['ethtool', '-K', name, 'tx', 'off', 'rx', 'off']);
      await end.ip(`link set ${name} up`);
      if (end === lb) await lb.sysctl(`net.ipv4.conf.${name}.rp_filter`, 1);
    }
    for (const network of this.networks) {
      if (routers) await this.addRouters(network);
      await clients.ip(`${network.flag} route add default via ${network.gateway}`);
    }
    await this.keepConnections();
    for (const [end, name] of ends)
      await eventually(
        'the link is up',
        async () => / UP /.test(await end.ip(`-br link show ${name}`)) || undefined,
      );
  }

  private async addAddresses(network: Network): Promise<void> {
    const { clients, lb, near, rs } = this;
    const { flag, gateway, vips, lips, rips, client: nth, lengths } = network;
    const { routers = false } = this.options;
    const servers = routers ? lengths.host : lengths.servers;
    for (const [i, server] of rs.entries()) await server.ip(`address add ${rips[i]}/${servers} dev eth0`);
    await (routers ? near : lb).ip(`address add ${gateway}/${lengths.clients} dev eth0`);
    for (const vip of vips) await lb.ip(`address add ${vip}/${lengths.host} dev eth0`);
    // The kernel chooses IPv4's first one, and IPv6's last one.
    for (const lip of flag === '-6' ? [...lips].reverse() : lips)
      await lb.ip(`address add ${lip}/${servers} dev eth1`);
    const addresses = Array.from(
      { length: CLIENTS },
      (_, n) => `address add ${nth(n)}/${lengths.clients} dev eth0\n`,
    );
    await must(['ip', '-n', clients.name, '-batch', '-'], addresses.join(''));
  }

  private async bridge(): Promise<void> {
    await this.far.ip('link add br0 type bridge forward_delay 0');
    for (const port of ['lb', 'rs1', 'rs2']) await this.far.ip(`link set ${port} master br0 up`);
    await this.far.ip('link set br0 up');
  }

  private async addRouters(network: Network): Promise<void> {
    const { lb, far, rs, near } = this;
    const { flag, lips, rips, lengths } = network;
    const forwarding = flag === '-4' ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
    for (const router of [near, far]) await router.sysctl(forwarding, 1);

    await near.ip(`address add ${network.near}/${lengths.near} dev eth1`);
    await lb.ip(`address add ${network.besideNear}/${lengths.near} dev eth0`);
    await lb.ip(`${flag} route add ${network.clients} via ${network.near}`);
    for (const vip of network.vips) await near.ip(`${flag} route add ${vip} via ${network.besideNear}`);

    for (const link of ['lb', 'rs1', 'rs2']) await far.ip(`${flag} address add ${network.far} dev ${link}`);
    for (const lip of lips) await far.ip(`${flag} route add ${lip} dev lb`);
    await lb.ip(`${flag} route add ${network.far} dev eth1 src ${lips[0]}`);
    for (const [i, server] of rs.entries()) {
      await far.ip(`${flag} route add ${rips[i]} dev rs${i + 1}`);
      await lb.ip(`${flag} route add ${rips[i]} via ${network.far} src ${lips[0]}`);
      await server.ip(`${flag} route add ${network.far} dev eth0`);
      for (const lip of lips) await server.ip(`${flag} route add ${lip} via ${network.far}`);
    }
  }

  /** From now on the far router takes no packets of more than so many bytes on their way to the real servers. */
  async narrowServers(mtu: number): Promise<void> {
    for (const { flag, rips } of this.networks)
      for (const [n, rip] of rips.entries())
        await this.far.ip(`${flag} route replace ${rip} dev rs${n + 1} mtu ${mtu}`);
  }

  /** And the near router, or the LB, on their way to the clients. */
  async narrowClients(by: 'near' | 'lb', mtu: number): Promise<void> {
    for (const { flag, clients, near } of this.networks) {
      // In the place of the route that came with the address; IPv6 tells routes by their metrics, too.
      const metric = flag === '-6' ? 'metric 256 ' : '';
      if (by === 'near') await this.near.ip(`${flag} route replace ${clients} dev eth0 ${metric}mtu ${mtu}`);
      else await this.lb.ip(`${flag} route replace ${clients} via ${near} mtu ${mtu}`);
    }
  }

  /** However slow the machine is, no connection is to time out in the middle of a test. */
  private async keepConnections(): Promise<void> {
    // Conntrack's settings are there once it has had a user.
    const user = 'table ip lab { chain c { type filter hook input priority 0; ct state new accept; }\n}\n';
    await this.lb.must(['nft', '-f', '-'], `${user}delete table ip lab\n`);
    for (const timeout of ['udp_timeout', 'udp_timeout_stream'])
      await this.lb.sysctl(`net.netfilter.nf_conntrack_${timeout}`, 3600);
  }

  /** wire.py on the nth RS: it sees what comes, and can send to the LB as well. */
  wire(n: number): Promise<Wire> {
    return Wire.start(this.rs[n], LB_SERVERS_MAC);
  }

  /** What the LB's shim may change and has to put back; conntrack's entries come and go by themselves. */
  async snapshot(): Promise<string[]> {
    return (await this.lb.snapshot()).filter(line => !line.includes('nf_conntrack_count'));
  }

  async delete(): Promise<void> {
    for (const namespace of this.all) await namespace.delete();
  }
}

/** Of a snapshot, what `plan` has to bring about as `run` does: not the TUN itself, which nobody serves. */
export function planned(snapshot: string[]): string[] {
  return (
    snapshot
      .filter(line => /^(rules6?|routes6?|sysctls|nft): /.test(line))
      // What the kernel adds for a link that is up.
      .filter(line => !/^routes6: (multicast )?(ff00|fe80)::/.test(line))
      .map(line => line.replace(/ linkdown| dead/g, ''))
  );
}

/** Whether IPv6 can be forwarded by interface (Linux 6.17); says so if not. */
export function canForceForwarding(): boolean {
  const can = existsSync('/proc/sys/net/ipv6/conf/default/force_forwarding');
  if (!can) console.warn('\n*** SKIPPED: forwarding by interface, which needs Linux 6.17 ***\n');
  return can;
}

type Json = Record<string, unknown>;

/** From VIP:7000 to both RS by turns, but for what is in `more`; the same for VIP6. */
export function service(more: Json = {}): Json {
  return {
    ...{ vip: VIP, port: PORT, schedule: 'round-robin' },
    realServers: RIPS.map(address => ({ address })),
    ...more,
  };
}

export function service6(more: Json = {}): Json {
  return service({ vip: VIP6, realServers: RIPS6.map(address => ({ address })), ...more });
}

/** A configuration of the LB's: `service` (and `service6`), but for what is in `loadBalancer`. */
export function lbOptions(loadBalancer: Json = {}, more: ShimOptions = {}, ipv6 = false): ShimOptions {
  const section = {
    localAddresses: [LIP, ...(ipv6 ? [LIP6] : [])],
    services: [service(), ...(ipv6 ? [service6()] : [])],
    ...loadBalancer,
  };
  return { ...more, more: { role: 'load-balancer', loadBalancer: section } };
}

/** A configuration of the nth RS's. */
export function rsOptions(n: number, more: ShimOptions = {}, ipv6 = false): ShimOptions {
  const lips6 = ipv6 ? [LIP6, LIP6_2] : [];
  return {
    loadBalancers: [
      ...[LIP, LIP_2].map(address => ({ prefix: `${address}/32` })),
      ...lips6.map(address => ({ prefix: `${address}/128` })),
    ],
    services: [RIPS[n], ...(ipv6 ? [RIPS6[n]] : [])].map(address => ({ address, port: 'any' })),
    ...more,
  };
}

/** Packets that the kernel gave to the TUN, and the shim read. */
export async function intoTun(lb: Namespace, tun = 'uoa0'): Promise<number> {
  const text = await lb.ip(`-s -j link show ${tun}`);
  const [link] = JSON.parse(text) as { stats64: { tx: { packets: number; dropped: number } } }[];
  expect(link.stats64.tx.dropped).toBe(0);
  return link.stats64.tx.packets;
}
