/** What the control socket answers: the shapes of `status` and `flows`. */
import type { FlowEntry } from '../../flow/reader.js';
import { formatEndpoint } from '../../host/addresses.js';

export interface StatusAnswer {
  state: 'starting' | 'running' | 'stopping';
  role: string;
  version: string;
  pid: number;
  uptimeSeconds: number;
  tun: string;
  datapath: string;
  steering: string;
  healthy: boolean;
  warnings: string[];
}

export interface FlowAnswer {
  lb: string;
  server: string;
  client: string;
  carrier: string;
  /** Those from the load balancer, packets that carry nothing but a mark included. */
  packets: number;
  replies: number;
  idleSeconds: number;
  /** What moves the flow's packets: `tun`, the shim; `kernel`, the kernel alone. */
  datapath: string;
}

/** A flow as text; the role knows its carrier and datapath. */
export function describeFlow(
  entry: FlowEntry,
  { carrier, datapath }: Pick<FlowAnswer, 'carrier' | 'datapath'>,
): FlowAnswer {
  return {
    lb: formatEndpoint(entry.lip, entry.lport),
    server: formatEndpoint(entry.server, entry.serverPort),
    client: formatEndpoint(entry.client, entry.clientPort),
    carrier,
    packets: entry.packets,
    replies: entry.replies,
    idleSeconds: entry.idleMs / 1000,
    datapath,
  };
}
