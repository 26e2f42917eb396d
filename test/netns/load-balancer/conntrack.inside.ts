/** A kernel's conntrack, of the network namespace that this runs in. conntrack.test.ts starts it. */
import { execFileSync } from 'node:child_process';
import { afterEach, describe } from 'vitest';
import { Conntrack } from '../../../src/io/conntrack.js';
import { native } from '../../../src/io/native.js';
import { connectionsContract } from '../../unit/support/connections-contract.js';
import { endpoint } from '../../unit/support/wire.js';

const CT_MARK = 0x100;

const conntrack = (...args: string[]): string =>
  execFileSync('conntrack', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });

/** The arguments for a connection whose replies go from `server` to `lip`. */
function replies(lip: string, server: string): string[] {
  const [from, to] = [server, lip].map(endpoint);
  return [
    ...['--reply-src', from.address, '--reply-port-src', `${from.port}`],
    ...['--reply-dst', to.address, '--reply-port-dst', `${to.port}`],
  ];
}

const familyOf = (name: string) => (name.startsWith('[') ? 'ipv6' : 'ipv4');

describe('Conntrack in a kernel', () => {
  const open: Conntrack[] = [];

  afterEach(() => {
    for (const one of open.splice(0)) one.close();
    conntrack('-F');
  });

  connectionsContract(() => {
    const connections = new Conntrack(native, CT_MARK);
    open.push(connections);
    return {
      connections,
      track: (lip, server, client) => {
        const from = endpoint(client);
        const vip = familyOf(client) === 'ipv6' ? '2001:db8:1::10' : '198.51.100.10';
        const original = ['-s', from.address, '--sport', `${from.port}`, '-d', vip, '--dport', '53'];
        conntrack('-I', '-p', 'udp', ...original, ...replies(lip, server), '-t', '600');
      },
      forget: (lip, server) => {
        conntrack('-D', '-f', familyOf(lip), '-p', 'udp', ...replies(lip, server));
      },
      released: () => ['ipv4', 'ipv6'].flatMap(marked),
    };
  });
});

/** The connections with our bit, as `server > lip`. */
function marked(family: string): string[] {
  const lines = conntrack('-L', '-f', family, '-m', `${CT_MARK}/${CT_MARK}`)
    .split('\n')
    .filter(line => line !== '');
  return lines.map(line => {
    // The second of each is the reply's.
    const [, from, to, fromPort, toPort] = ['', 'src', 'dst', 'sport', 'dport'].map(
      key => [...line.matchAll(new RegExp(` ${key}=(\\S+)`, 'g'))][1]?.[1],
    );
    return family === 'ipv6'
      ? `[${from}]:${fromPort} > [${to}]:${toPort}`
      : `${from}:${fromPort} > ${to}:${toPort}`;
  });
}
