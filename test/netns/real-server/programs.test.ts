/**
 * Programs as they are packaged: they see the clients, and their answers find the way back.
 *
 *   LB namespace (wire.py)                  RS namespace
 *     10.99.1.1 LIP          eth0 ---- eth0 10.99.1.2 RIP: dnsmasq on port 53, uoa-shim beside it
 */
import { describe, expect, it } from 'vitest';
import { useBench } from '../../support/bench.js';
import { DIRECT, LIP, missing, RIP } from '../../support/netns.js';
import { eventually, Program } from '../../support/process.js';
import { type Carrier, mark, type Seen } from '../../support/wire.js';

/** Debian's package dnsmasq-base has the program without the service. */
const skipped = missing({ dnsmasq: 'dnsmasq-base' }) !== undefined;

/** A query for the address of example.test (RFC 1035, 4.1). */
function query(id: number): string {
  const name = ['example', 'test'].map(label => String.fromCharCode(label.length) + label).join('');
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2); // recursion desired
  header.writeUInt16BE(1, 4);
  return Buffer.concat([header, Buffer.from(`${name}\0`), Buffer.from([0, 1, 0, 1])]).toString('hex');
}

/** The last four bytes of an answer with one address. */
function answeredAddress({ payload = '' }: Seen): string {
  return [...Buffer.from(payload.slice(-8), 'hex')].join('.');
}

describe.skipIf(skipped).each([
  ['its wildcard socket', []],
  ['sockets bound to addresses', ['--bind-interfaces']],
  ['sockets bound to one address', ['--bind-interfaces', `--listen-address=${RIP}`]],
])('dnsmasq with %s', (_, more) => {
  let dnsmasq: Program;
  const bench = useBench({
    shim: { services: [{ address: RIP, port: 53 }] },
    prepare: async ({ lab }) => {
      dnsmasq = lab.rs.start(
        new Program(
          lab.rs.command([
            ...[
              'dnsmasq',
              '--keep-in-foreground',
              '--conf-file=/dev/null',
              '--no-resolv',
              '--no-hosts',
              '--pid-file=',
            ],
            ...[
              '--user=root',
              '--log-facility=-',
              '--log-queries=extra',
              '--address=/example.test/192.0.2.1',
              ...more,
            ],
          ]),
        ),
      );
      await eventually('dnsmasq has started', () => dnsmasq.log.includes('started') || undefined);
    },
  });

  async function ask(
    id: number,
    packet: { source?: string; sourcePort: number; client?: string; carrier?: Carrier },
  ) {
    const { wire } = bench;
    const { client, carrier, ...rest } = packet;
    const from = wire.now;
    const marked = client === undefined ? {} : { mark: mark(client, carrier) };
    await wire.send({ destinationPort: 53, payload: query(id), ...rest, ...marked });
    return wire.event('a DNS answer', seen => seen.sourcePort === 53 && !seen.mark, from);
  }

  const queriesFrom = (client: string) =>
    dnsmasq.log.split('\n').filter(line => line.includes(`${client} query[A]`));

  it.each(['ipo', 'opp'] as const)(
    'dnsmasq logs the client that %s names, and its answer passes the load balancer',
    async carrier => {
      const [sourcePort, client] =
        carrier === 'ipo' ? [43001, '198.51.100.7/5301'] : [43002, '198.51.100.8/5302'];
      const clients = { client: client.replace('/', ':'), carrier };
      for (const [id, marked] of [clients, {}].entries()) {
        const answer = await ask(id, { sourcePort, ...marked });
        expect(answer).toMatchObject({
          ...{ source: RIP, destination: LIP, destinationPort: sourcePort },
          ...{ headerChecksumGood: true, udpChecksum: 'good' },
        });
        expect(answeredAddress(answer)).toBe('192.0.2.1');
      }
      await eventually('both are logged', () => queriesFrom(client).length === 2 || undefined);
      expect(queriesFrom(LIP)).toEqual([]);
    },
  );

  it('dnsmasq answers a direct client', async () => {
    const answer = await ask(7, { source: DIRECT, sourcePort: 43003 });
    expect(answer).toMatchObject({
      source: RIP,
      destination: DIRECT,
      destinationPort: 43003,
      udpChecksum: 'good',
    });
    expect(answeredAddress(answer)).toBe('192.0.2.1');
    await eventually('it is logged', () => queriesFrom(`${DIRECT}/43003`).length === 1 || undefined);
  });
});
