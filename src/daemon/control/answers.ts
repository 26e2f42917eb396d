/** What the control socket answers: the shapes of `status`, `stats`, `flows` and `lookup`. */
import { holds } from '../../flow/prefixes.js';
import type { FlowEntry } from '../../flow/reader.js';
import { formatEndpoint, parseEndpoint, parsePrefix } from '../../host/addresses.js';

export interface FlowAnswer {
  lb: string;
  server: string;
  client: string;
  carrier: string;
  /** From the LB, those that carried nothing but a mark included. */
  packets: number;
  replies: number;
  idleSeconds: number;
  /** Who moves the flow's packets: `tun`, the shim; `kernel`, the kernel alone. */
  datapath: string;
}

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

/** The three ends of a flow as text. */
export function describeEnds(entry: FlowEntry): Pick<FlowAnswer, 'lb' | 'server' | 'client'> {
  return {
    lb: formatEndpoint(entry.lip, entry.lipPort),
    server: formatEndpoint(entry.server, entry.serverPort),
    client: formatEndpoint(entry.client, entry.clientPort),
  };
}

/** Filters of `flows`: an address, a prefix, or an address with a port. */
export interface FlowFilters {
  client?: string;
  lb?: string;
  server?: string;
}

type EndpointTest = (words: readonly number[], port: number) => boolean;

/** Whether a flow passes all filters. Throws a RangeError that says which filter is none. */
export function flowFilter(filters: FlowFilters): (entry: FlowEntry) => boolean {
  const client = endpointTest('client', filters.client);
  const lb = endpointTest('lb', filters.lb);
  const server = endpointTest('server', filters.server);
  return entry =>
    client(entry.client, entry.clientPort) &&
    lb(entry.lip, entry.lipPort) &&
    server(entry.server, entry.serverPort);
}

function endpointTest(name: string, text: string | undefined): EndpointTest {
  if (text === undefined) return () => true;
  const endpoint = parseEndpoint(text);
  if (endpoint !== undefined)
    return (words, port) => port === endpoint.port && words.every((word, i) => word === endpoint.words[i]);
  let prefix: ReturnType<typeof parsePrefix>;
  try {
    prefix = parsePrefix(text);
  } catch {
    throw new RangeError(`--${name} ${text} is not allowed; allowed: an address, address:port or prefix`);
  }
  return words => holds(prefix, words);
}
