import { describe, expect, it } from 'vitest';
import { type FlowFilters, flowFilter } from '../../../../src/daemon/control/filters.js';
import type { FlowEntry } from '../../../../src/flow/reader.js';
import { parseAddress } from '../../../../src/host/addresses.js';

const ENTRY: FlowEntry = {
  lip: parseAddress('10.99.1.1'),
  lport: 40000,
  server: parseAddress('10.99.1.2'),
  serverPort: 7000,
  client: parseAddress('2001:db8::7'),
  clientPort: 5555,
  flags: 0,
  packets: 1,
  replies: 0,
  idleMs: 0,
};

describe('a filter of flows', () => {
  it.each<[string, FlowFilters]>([
    ['no filter', {}],
    ['the client’s address', { client: '2001:db8::7' }],
    ['the client’s address in another spelling', { client: '2001:DB8:0::7' }],
    ['the client’s address and port', { client: '[2001:db8::7]:5555' }],
    ['a prefix of the client’s', { client: '2001:db8::/32' }],
    ['the LIP and its port', { lb: '10.99.1.1:40000' }],
    ['a prefix of the LIP’s', { lb: '10.99.1.0/24' }],
    ['the real server', { server: '10.99.1.2' }],
    ['all three ends', { client: '2001:db8::7', lb: '10.99.1.1', server: '10.99.1.2:7000' }],
  ])('passes a flow with %s', (_, filters) => {
    expect(flowFilter(filters)(ENTRY)).toBe(true);
  });

  it.each<[string, FlowFilters]>([
    ['another client', { client: '2001:db8::8' }],
    ['another port of the client’s', { client: '[2001:db8::7]:5556' }],
    ['a prefix of the other family', { client: '0.0.0.0/0' }],
    ['another LIP', { lb: '10.99.1.3' }],
    ['another port of the LIP’s', { lb: '10.99.1.1:40001' }],
    ['another port of the real server’s', { server: '10.99.1.2:7001' }],
    ['one end that is right and one that is wrong', { client: '2001:db8::7', server: '10.99.1.3' }],
  ])('does not pass a flow for %s', (_, filters) => {
    expect(flowFilter(filters)(ENTRY)).toBe(false);
  });

  it.each(['client', 'lb', 'server'])('names --%s if it can’t be read', name => {
    for (const text of ['nonsense', '10.0.0.1:99999', '10.0.0.0/33', ''])
      expect(() => flowFilter({ [name]: text })).toThrow(
        `--${name} ${text} is not allowed; allowed: an address, address:port or prefix`,
      );
  });
});
