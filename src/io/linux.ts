/**
 * Linux's numbers, as the addon found them in the headers: some of them differ between architectures. They are explained
 * in socket(7), ip(7), ipv6(7), packet(7), netlink(7) and linux/if_tun.h.
 */
import { constant } from './native.js';

export const AF_INET = constant('AF_INET');
export const AF_INET6 = constant('AF_INET6');
export const AF_NETLINK = constant('AF_NETLINK');
export const AF_PACKET = constant('AF_PACKET');

export const SOCK_DGRAM = constant('SOCK_DGRAM');
export const SOCK_RAW = constant('SOCK_RAW');

export const ETH_P_ALL = constant('ETH_P_ALL');
export const NETLINK_NETFILTER = constant('NETLINK_NETFILTER');

export const IPPROTO_IP = constant('IPPROTO_IP');
export const IPPROTO_IPV6 = constant('IPPROTO_IPV6');
export const IPPROTO_RAW = constant('IPPROTO_RAW');

export const SOL_SOCKET = constant('SOL_SOCKET');
export const SO_BROADCAST = constant('SO_BROADCAST');
export const SO_MARK = constant('SO_MARK');
export const SO_NETNS_COOKIE = constant('SO_NETNS_COOKIE');
export const SO_RCVBUFFORCE = constant('SO_RCVBUFFORCE');
export const SO_SNDBUFFORCE = constant('SO_SNDBUFFORCE');

export const IP_MTU = constant('IP_MTU');
export const IP_MTU_DISCOVER = constant('IP_MTU_DISCOVER');
export const IP_PMTUDISC_PROBE = constant('IP_PMTUDISC_PROBE');
export const IPV6_MTU = constant('IPV6_MTU');
export const IPV6_MTU_DISCOVER = constant('IPV6_MTU_DISCOVER');
export const IPV6_PMTUDISC_PROBE = constant('IPV6_PMTUDISC_PROBE');

export const TUN_F_CSUM = constant('TUN_F_CSUM');
export const TUN_F_USO4 = constant('TUN_F_USO4');
export const TUN_F_USO6 = constant('TUN_F_USO6');

/** What `wait` found: packets, a signal, a descriptor that is gone. */
export const WAIT_DATA = constant('WAIT_DATA');
export const WAIT_EVENT = constant('WAIT_EVENT');
export const WAIT_BROKEN = constant('WAIT_BROKEN');

/** Packets that one call of the addon takes at most. */
export const MAX_BATCH = constant('MAX_BATCH');

/** Bytes of the virtio-net header that the addon asks the TUN for. */
export const TUN_HEADER = constant('VIRTIO_HEADER');
