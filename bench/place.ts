/**
 * Where one candidate is measured: two network namespaces of its own.
 *
 *     LB: send, mark                                         RS: receive, and what is measured
 *     LIPs 10.98.0.0/16   eth0 10.97.0.1 --- veth --- eth0 10.97.0.2 RIP, port 7000
 *                                                     uoa0 the TUN
 */
import { Namespaces } from './namespaces.js';
import { must } from './program.js';

export const LIPS = '10.98.0.0/16';
export const RIP = '10.97.0.2';
export const RPORT = 7000;
export const TUN = 'uoa0';

export class Place extends Namespaces<'lb' | 'rs'> {
  private segments = true;

  constructor(candidate: string) {
    super(candidate, ['lb', 'rs']);
    this.connect('lb', 'eth0', '10.97.0.1/24', 'rs', 'eth0', `${RIP}/24`);
    // Each of these addresses is the host's own.
    this.ip('lb', `route add local ${LIPS} dev lo`);
    this.ip('rs', 'route add default via 10.97.0.1');
  }

  /** Whether the sender's super-packets stay whole on the veth, as for a NIC that cuts them (UDP segmentation offload). */
  setSegmentation(wanted: boolean): void {
    if (wanted === this.segments) return;
    must(this.command('lb', ['ethtool', '-K', 'eth0', 'tx-udp-segmentation', wanted ? 'on' : 'off']));
    this.segments = wanted;
  }

  /** Packets dropped so far because the TUN's queue was full. */
  tunDrops(): number {
    const [link] = JSON.parse(this.ip('rs', `-j -s link show ${TUN}`));
    return link.stats64.tx.dropped as number;
  }
}
