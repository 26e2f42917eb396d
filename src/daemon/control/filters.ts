/** The filters of `flows`. */
import { holds } from '../../flow/prefixes.js';
import type { FlowEntry } from '../../flow/reader.js';
import { parseEndpoint, parsePrefix } from '../../host/addresses.js';

/** Each an address, a prefix, or an address with a port. */
export interface FlowFilters {
  client?: string;
  lb?: string;
  server?: string;
}

type EndpointTest = (words: readonly number[], port: number) => boolean;

/** A test for flows that pass all filters. Throws a RangeError that names a filter which can't be read. */
export function flowFilter(filters: FlowFilters): (entry: FlowEntry) => boolean {
  const client = endpointTest('client', filters.client);
  const lb = endpointTest('lb', filters.lb);
  const server = endpointTest('server', filters.server);
  return entry =>
    client(entry.client, entry.clientPort) &&
    lb(entry.lip, entry.lport) &&
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
