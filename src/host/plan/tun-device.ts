/** The changes that make the TUN device ready. */
import { MAX_PACKET } from '../../codec/ip-header.js';
import { interfaceKey } from '../sysctl.js';
import type { Change } from './change.js';
import { words } from './words.js';

export interface TunOptions {
  name: string;
  /** a.b.c.d/length */
  address: string;
}

/** Packets that wait for the process while it is busy: 25 ms at 300,000 a second. The default of 500 is 2 ms. */
const QUEUE_PACKETS = 8192;

/** The changes that make the TUN ready. None has to be undone: they go with the device. */
export function tunDevice(
  tun: TunOptions,
  hasIpv6: boolean,
  carriesIpv6: boolean,
  queuePackets = QUEUE_PACKETS,
): Change[] {
  const changes: Change[] = [
    { kind: 'tun', key: `tun ${tun.name}`, name: tun.name, reason: 'the TUN device' },
    {
      kind: 'sysctl',
      key: interfaceKey(tun.name, 'rp_filter'),
      value: '2',
      reason: 'clients are anywhere: a packet from the TUN needs some way back, but not through the TUN',
    },
    {
      kind: 'ip',
      key: `ip -4 address dev ${tun.name}`,
      up: words(`-4 address add ${tun.address} dev ${tun.name}`),
      reason: 'without an address on the TUN, rp_filter would drop all packets from it',
    },
  ];
  if (carriesIpv6)
    changes.push({
      kind: 'sysctl',
      key: interfaceKey(tun.name, 'disable_ipv6', 6),
      value: '0',
      reason: 'the TUN has IPv6, even if new interfaces are made without it',
    });
  if (hasIpv6)
    changes.push({
      kind: 'ip',
      key: `ip link dev ${tun.name} addrgenmode`,
      up: words(`link set dev ${tun.name} addrgenmode none`),
      reason: 'the TUN sends no router solicitations',
    });
  changes.push({
    kind: 'ip',
    key: `ip link dev ${tun.name} mtu txqueuelen up`,
    up: words(`link set dev ${tun.name} mtu ${MAX_PACKET} txqueuelen ${queuePackets} up`),
    reason: 'packets of any size pass, and a burst fits the queue',
  });
  return changes;
}
