/**
 * Network namespaces for tests of the load balancer: clients on one side, two real servers on the other.
 *
 *   clients ns                       LB ns                             switch ns        RS ns, two of them
 *   203.0.113.1 ... .200   eth0 ---- eth0 203.0.113.254                  br0 ---------- eth0 10.10.2.2 RS 1
 *     default via .254                    198.51.100.10 VIP, .11          |  `--------- eth0 10.10.2.3 RS 2
 *                                    eth1 10.10.2.1 LIP, .10 ------------'                no default route
 *
 * The LB has strict rp_filter everywhere, forwards nothing by itself, and knows no other way than these. Everything
 * has the fixed hardware addresses that wire.py wants.
 */
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
export const PORT = 7000;
/** Where the clients talk to, and where that goes by default. */
export const TARGET = `${VIP}:${PORT}`;
export const CLIENTS = 200;
const GATEWAY = '203.0.113.254';
export const LB_CLIENTS_MAC = '02:00:00:cb:71:fe';
export const LB_SERVERS_MAC = '02:00:00:0a:02:01';

/** The address of the nth client, from 0. */
export function client(n: number): string {
  return `203.0.113.${n + 1}`;
}

export interface LbLabOptions {
  /** Whether the network cards that don't exist may leave checksums to each other. */
  offload?: boolean;
}

export class LbLab {
  private constructor(
    readonly clients: Namespace,
    readonly lb: Namespace,
    private readonly bridge: Namespace,
    readonly rs: readonly [Namespace, Namespace],
  ) {}

  static async create(options: LbLabOptions = {}): Promise<LbLab> {
    const names = ['clients', 'lb', 'switch', 'rs1', 'rs2'];
    const [clients, lb, bridge, rs1, rs2] = await Promise.all(names.map(name => Namespace.create(name)));
    const lab = new LbLab(clients, lb, bridge, [rs1, rs2]);
    try {
      await lab.wireUp(options);
    } catch (error) {
      await lab.delete();
      throw error;
    }
    return lab;
  }

  private async wireUp({ offload = false }: LbLabOptions): Promise<void> {
    const { clients, lb, bridge, rs } = this;
    for (const name of ['all', 'default']) await lb.sysctl(`net.ipv4.conf.${name}.rp_filter`, 1);
    await bridge.ip('link add br0 type bridge forward_delay 0');
    await lb.ip(`link add eth0 address ${LB_CLIENTS_MAC} type veth peer name eth0 netns ${clients.name}`);
    await lb.ip(`link add eth1 address ${LB_SERVERS_MAC} type veth peer name lb netns ${bridge.name}`);
    for (const [i, server] of rs.entries()) {
      await server.ip(`link add eth0 type veth peer name rs${i + 1} netns ${bridge.name}`);
      await server.ip(`address add ${RIPS[i]}/24 dev eth0`);
    }
    await lb.ip(`address add ${GATEWAY}/24 dev eth0`);
    for (const vip of [VIP, VIP_2]) await lb.ip(`address add ${vip}/32 dev eth0`);
    for (const lip of [LIP, LIP_2]) await lb.ip(`address add ${lip}/24 dev eth1`);
    const addresses = Array.from({ length: CLIENTS }, (_, n) => `address add ${client(n)}/24 dev eth0\n`);
    await must(['ip', '-n', clients.name, '-batch', '-'], addresses.join(''));

    for (const port of ['lb', 'rs1', 'rs2']) await bridge.ip(`link set ${port} master br0 up`);
    await bridge.ip('link set br0 up');
    const ends: [Namespace, string][] = [
      ...([clients, ...rs].map(end => [end, 'eth0']) as [Namespace, string][]),
      ...(['eth0', 'eth1'].map(name => [lb, name]) as [Namespace, string][]),
    ];
    for (const [end, name] of ends) {
      if (!offload) await end.must(['ethtool', '-K', name, 'tx', 'off', 'rx', 'off']);
      await end.ip(`link set ${name} up`);
      if (end === lb) await lb.sysctl(`net.ipv4.conf.${name}.rp_filter`, 1);
    }
    await clients.ip(`route add default via ${GATEWAY}`);
    await this.keepConnections();
    for (const [end, name] of ends)
      await eventually(
        'the link is up',
        async () => / UP /.test(await end.ip(`-br link show ${name}`)) || undefined,
      );
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
    for (const namespace of [this.clients, ...this.rs, this.bridge, this.lb]) await namespace.delete();
  }
}

type Json = Record<string, unknown>;

/** A configuration of the LB's: from VIP:7000 to both RS by turns, but for what is in `loadBalancer`. */
export function lbOptions(loadBalancer: Json = {}, more: ShimOptions = {}): ShimOptions {
  const section = {
    localAddresses: [LIP],
    services: [
      { vip: VIP, port: PORT, schedule: 'round-robin', realServers: RIPS.map(address => ({ address })) },
    ],
    ...loadBalancer,
  };
  return { ...more, more: { role: 'load-balancer', loadBalancer: section } };
}

/** A configuration of the nth RS's. */
export function rsOptions(n: number, more: ShimOptions = {}): ShimOptions {
  return {
    loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${LIP_2}/32` }],
    services: [{ address: RIPS[n], port: 'any' }],
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
