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
import { Namespace, OTHER_INDEX, rpFilter, Scripts, untilUp, withoutOffload } from './netns.js';
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

/** However slow the machine is, no connection is to time out in the middle of a test. */
const KEEP_CONNECTIONS = [
  // Conntrack's settings are there once it has had a user.
  "nft 'table ip lab { chain c { type filter hook input priority 0; ct state new accept; }; }; delete table ip lab'",
  `sysctl -qw ${['udp_timeout', 'udp_timeout_stream'].map(name => `net.netfilter.nf_conntrack_${name}=3600`).join(' ')}`,
];

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
    await this.addLinks();
    const scripts = new Scripts();
    scripts.add(lb, rpFilter('all', 1), rpFilter('default', 1));
    for (const network of this.networks) this.addAddresses(scripts, network);
    if (!routers) scripts.add(far, 'ip link add br0 type bridge forward_delay 0', 'ip link set br0 up');
    const links: [Namespace, string[]][] = [
      ...[clients, ...rs].map((end): [Namespace, string[]] => [end, ['eth0']]),
      [lb, ['eth0', 'eth1']],
      ...(routers ? ([[near, ['eth0', 'eth1']]] as [Namespace, string[]][]) : []),
      [far, ['lb', 'rs1', 'rs2']],
    ];
    for (const [end, names] of links)
      for (const name of names) {
        if (!offload) scripts.add(end, withoutOffload(name));
        if (end === far && !routers) scripts.add(far, `ip link set ${name} master br0`);
        scripts.add(end, `ip link set ${name} up`);
      }
    for (const name of ['eth0', 'eth1']) scripts.add(lb, rpFilter(name, 1));
    for (const network of this.networks) {
      if (routers) this.addRouters(scripts, network);
      scripts.add(clients, `ip ${network.flag} route add default via ${network.gateway}`);
    }
    scripts.add(lb, ...KEEP_CONNECTIONS);
    for (const [end, names] of links) scripts.add(end, ...names.map(untilUp));
    await scripts.run();
  }

  private async addLinks(): Promise<void> {
    const { clients, lb, far, rs, near } = this;
    const nearEnd = this.options.routers ? 'eth1' : 'eth0';
    await lb.script(
      `ip link add eth0 index ${OTHER_INDEX} address ${LB_CLIENTS_MAC} type veth peer name ${nearEnd} netns ${near.name}`,
      `ip link add eth1 address ${LB_SERVERS_MAC} type veth peer name lb netns ${far.name}`,
    );
    await far.script(
      ...rs.map((server, i) => `ip link add rs${i + 1} type veth peer name eth0 netns ${server.name}`),
    );
    if (near !== clients) await near.ip(`link add eth0 type veth peer name eth0 netns ${clients.name}`);
  }

  private addAddresses(scripts: Scripts, network: Network): void {
    const { clients, lb, near, rs } = this;
    const { flag, gateway, vips, lips, rips, client: nth, lengths } = network;
    const { routers = false } = this.options;
    const servers = routers ? lengths.host : lengths.servers;
    const add = (end: Namespace, address: string, length: number, name: string): void =>
      scripts.add(end, `ip address add ${address}/${length} dev ${name}`);
    for (const [i, server] of rs.entries()) add(server, rips[i], servers, 'eth0');
    add(routers ? near : lb, gateway, lengths.clients, 'eth0');
    for (const vip of vips) add(lb, vip, lengths.host, 'eth0');
    // The kernel chooses IPv4's first one, and IPv6's last one.
    for (const lip of flag === '-6' ? [...lips].reverse() : lips) add(lb, lip, servers, 'eth1');
    const all = Array.from(
      { length: CLIENTS },
      (_, n) => `address add ${nth(n)}/${lengths.clients} dev eth0`,
    );
    scripts.add(clients, 'ip -batch - <<end', ...all, 'end');
  }

  private addRouters(scripts: Scripts, network: Network): void {
    const { lb, far, rs, near } = this;
    const { flag, lips, rips, lengths } = network;
    const forwarding = flag === '-4' ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
    for (const router of [near, far]) scripts.add(router, `sysctl -qw ${forwarding}=1`);
    const route = (end: Namespace, text: string): void => scripts.add(end, `ip ${flag} route add ${text}`);

    scripts.add(near, `ip address add ${network.near}/${lengths.near} dev eth1`);
    scripts.add(lb, `ip address add ${network.besideNear}/${lengths.near} dev eth0`);
    route(lb, `${network.clients} via ${network.near}`);
    for (const vip of network.vips) route(near, `${vip} via ${network.besideNear}`);

    for (const link of ['lb', 'rs1', 'rs2'])
      scripts.add(far, `ip ${flag} address add ${network.far} dev ${link}`);
    for (const lip of lips) route(far, `${lip} dev lb`);
    route(lb, `${network.far} dev eth1 src ${lips[0]}`);
    for (const [i, server] of rs.entries()) {
      route(far, `${rips[i]} dev rs${i + 1}`);
      route(lb, `${rips[i]} via ${network.far} src ${lips[0]}`);
      route(server, `${network.far} dev eth0`);
      for (const lip of lips) route(server, `${lip} via ${network.far}`);
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
