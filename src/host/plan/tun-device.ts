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
export function tunDevice(tun: TunOptions, hasIpv6: boolean, carriesIpv6: boolean): Change[] {
  const changes: Change[] = [
    { kind: 'tun', key: `tun ${tun.name}`, name: tun.name, reason: 'the TUN device' },
    {
      kind: 'sysctl',
      key: interfaceKey(tun.name, 'rp_filter'),
      value: '2',
      reason: 'clients are anywhere: packets from the TUN need a route back, not this very one',
    },
    {
      kind: 'ip',
      key: `ip -4 address dev ${tun.name}`,
      up: words(`-4 address add ${tun.address} dev ${tun.name}`),
      reason: 'without an address on it, rp_filter would drop what comes from the TUN',
    },
  ];
  if (carriesIpv6)
    changes.push({
      kind: 'sysctl',
      key: interfaceKey(tun.name, 'disable_ipv6', 6),
      value: '0',
      reason: 'IPv6 comes from the TUN, even where new interfaces are made without it',
    });
  if (hasIpv6)
    changes.push({
      kind: 'ip',
      key: `ip link dev ${tun.name} addrgenmode`,
      up: words(`link set dev ${tun.name} addrgenmode none`),
      reason: 'no router solicitations of its own',
    });
  changes.push({
    kind: 'ip',
    key: `ip link dev ${tun.name} mtu txqueuelen up`,
    up: words(`link set dev ${tun.name} mtu ${MAX_PACKET} txqueuelen ${QUEUE_PACKETS} up`),
    reason: 'any size passes, and a burst finds room',
  });
  return changes;
}
