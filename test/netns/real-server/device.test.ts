/**
 * A TUN device does in a kernel what the pipeline expects of it, and what the device of unit tests does.
 *
 *     put ------> tun0 (main table) ------> the device
 *     delivered: the device -> tun0 -> (table 101, forwarded) -> stack0
 *     emitted: the device, fwmark 1 -> (table 100) -> net0
 */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { passesInside } from '../../support/inside.js';
import { missing, Namespace } from '../../support/netns.js';

const LINKS = { stack0: '02:00:00:00:01:01', net0: '02:00:00:00:01:02' };

describe.skipIf(missing())('a TUN device in a kernel', () => {
  let namespace: Namespace;
  let far: Namespace;

  beforeAll(async () => {
    namespace = await Namespace.create('tun');
    far = await Namespace.create('far');
    await namespace.sysctl('net.ipv4.ip_forward', 1);
    await namespace.sysctl('net.ipv6.conf.all.forwarding', 1);
    // Nothing but the tests' packets.
    for (const command of [
      'add table inet quiet',
      'add chain inet quiet output { type filter hook output priority 0 ; }',
      'add rule inet quiet output meta l4proto { icmp, icmpv6 } drop',
    ])
      await namespace.must(['nft', ...command.split(' ')]);
    await namespace.ip('tuntap add tun0 mode tun vnet_hdr');
    for (const [name, address] of Object.entries(LINKS)) {
      const peer = `peer name ${name} netns ${far.name}`;
      await namespace.ip(`link add ${name} address ${address} type veth ${peer}`);
      await far.ip(`link set ${name} up`);
      // Nobody answers behind it.
      await namespace.ip(`link set ${name} arp off`);
      // What leaves it is seen as a network card would send it.
      await namespace.must(['ethtool', '-K', name, 'gso', 'off', 'tx', 'off', 'sg', 'off']);
    }
    for (const name of ['tun0', ...Object.keys(LINKS)]) {
      await namespace.sysctl(`net.ipv4.conf.${name}.rp_filter`, 0);
      await namespace.ip(`link set ${name} addrgenmode none up`);
    }
    for (const family of ['-4', '-6']) {
      await namespace.ip(`${family} rule add priority 10 fwmark 1 lookup 100`);
      await namespace.ip(`${family} rule add priority 20 iif tun0 lookup 101`);
      await namespace.ip(`${family} route add default dev net0 table 100`);
      await namespace.ip(`${family} route add default dev stack0 table 101`);
      await namespace.ip(`${family} route add default dev tun0`);
    }
  });

  afterAll(async () => {
    await namespace.delete();
    await far.delete();
  });

  it('passes the tests that the one of unit tests passes', () => passesInside(namespace, 'device'));
});
