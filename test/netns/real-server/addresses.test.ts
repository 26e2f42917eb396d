/**
 * Hosts with more than one address, interface or shim.
 *
 *   LB namespace (wire.py)                 RS namespace                          a second one, where a test asks for it
 *     10.99.1.1 LIP, .3 LIP_2    eth0 ---- eth0 10.99.1.2 RIP, .20 RIP_2
 *     10.99.1.7 DIRECT                     eth1 10.99.2.1 ---------------------- eth0 10.99.2.2 (wire.py)
 *     anything else, as a router           lo, a bridge and others: 10.99.3.0/24
 *
 * Every test has namespaces of its own.
 */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { App } from '../../support/apps.js';
import { freshPort, freshText } from '../../support/fresh.js';
import { DIRECT, LIP, LIP_2, missing, RIP, RIP_2 } from '../../support/netns.js';
import type { ShimOptions } from '../../support/shim.js';
import { BEHIND, CLIENT, FAR, macOf, STEERINGS, Stage } from '../../support/stage.js';
import { mark, text, Wire } from '../../support/wire.js';

const RS_BEHIND = '10.99.2.1';
/** On the link of a test's own making. */
const LIP_3RD = '10.99.3.1';
const RIP_3RD = '10.99.3.2';
const DIRECT_3RD = '10.99.3.7';

describe.skipIf(missing() !== undefined).each(STEERINGS)('addresses, by %s', steering => {
  const routing = { steering };
  /** What each test configures to begin with. */
  const serving = (prefix: string, services: Record<string, unknown>[]) => ({
    ...{ routing, services, loadBalancers: [{ prefix }] },
  });
  let behind: Wire;
  /** Echoes from wildcard sockets, by port; and on port 7005 from bound ones, by address. */
  const apps: Record<number, App> = {};
  const bound: Record<string, App> = {};
  /** What becomes of direct clients, and of the host's own questions, without a shim. */
  let without: { answers: Record<string, string>; own: string[] };
  const stage = Stage.use({
    shim: serving(`${LIP}/32`, [{ address: RIP, port: 7000 }]),
    prepare: async ({ lab: { rs } }) => {
      behind = await stage.behind();
      for (const port of [7001, 7003, 7004]) apps[port] = await App.start(rs, 'echo', port);
      for (const address of [RIP, RIP_2])
        bound[address] = await App.start(rs, 'echo', 7005, '--bind', address);
      without = { answers: await answers(), own: await ownAnswers() };
    },
  });

  /** The answers that clients get who come without a load balancer. */
  async function answers(): Promise<Record<string, string>> {
    const outcome: Record<string, string> = {};
    const ask = async (wire: Wire, source: string, destination: string, destinationPort = 7000) => {
      const packet = { source, sourcePort: 4000, destination, destinationPort };
      const app = destinationPort === 7005 ? bound[destination] : stage.app;
      const { client, answer } = await stage.exchange(packet, { wire, app });
      expect(answer).toMatchObject({ headerChecksumGood: true, udpChecksum: 'good' });
      outcome[`${source} asks ${destination}:${destinationPort}`] = `${client}, from ${answer.source}`;
    };
    for (const source of [DIRECT, FAR])
      for (const destination of [RIP, RIP_2]) await ask(stage.wire, source, destination);
    await ask(stage.wire, DIRECT, RIP_2, 7005);
    for (const destination of [RS_BEHIND, RIP, RIP_2]) await ask(behind, BEHIND, destination);
    await ask(behind, BEHIND, RIP_2, 7005);
    return outcome;
  }

  /** The host asking itself. (A second address's wildcard answers come from the first, shim or not.) */
  async function ownAnswers(): Promise<string[]> {
    const outcome: string[] = [];
    for (const address of [RIP, RIP_2, '127.0.0.1'])
      for (const more of address === RIP_2 ? [[]] : [[], ['--connect']]) {
        const asked = await App.query(stage.lab.rs, address, 7000, '--payload', text('own'), ...more);
        outcome.push([address, more, asked.event, asked.peer, asked.payload, asked.error].join(' '));
      }
    return outcome;
  }

  // ---- services ----------------------------------------------------------------------------------------------

  it('clients are served at the configured addresses and ports, and at no others', async () => {
    const { resident: shim } = stage;
    await shim.reload(
      serving(`${LIP}/32`, [
        { address: RIP, port: 7000 },
        { address: RIP, port: '7001-7003' },
        { address: RIP_2, port: 'any' },
      ]),
    );
    const served = await shim.counted(async () => {
      await stage.serves({ destination: RIP, destinationPort: 7000 });
      for (const port of [7001, 7003])
        await stage.serves({ destination: RIP, destinationPort: port }, { app: apps[port] });
      await stage.serves({ destination: RIP_2, destinationPort: 7000 });
      await stage.serves({ destination: RIP_2, destinationPort: 7004 }, { app: apps[7004] });
    });
    expect(served).toMatchObject({ uoa_ack_sent: 10 });
    expect(served.uoa_miss).toBeUndefined();

    const beyond = await shim.counted(() =>
      stage.doesNotServe({ destinationPort: 7004 }, { app: apps[7004] }),
    );
    expect(beyond).toMatchObject({ uoa_got: 1, uoa_none: 1 });
    expect(beyond.uoa_ack_sent).toBeUndefined();
    expect(beyond.uoa_saved).toBeUndefined();
  });

  it('a wildcard socket answers marked clients from the address that was asked', async () => {
    await stage.resident.reload(
      serving(
        `${LIP}/32`,
        [RIP, RIP_2, RS_BEHIND].map(address => ({ address, port: 7000 })),
      ),
    );
    const before = behind.now;
    // The last two are on networks of the RS's own.
    for (const client of ['198.51.100.7', DIRECT, BEHIND])
      for (const destination of [RIP, RIP_2, RS_BEHIND]) await stage.serves({ destination }, {}, client);
    expect(behind.since(before)).toEqual([]);
  });

  it('a client that asks two addresses from one port is answered from each', async () => {
    await stage.resident.reload(
      serving(
        `${LIP}/32`,
        [RIP, RIP_2].map(address => ({ address, port: 7005 })),
      ),
    );
    const lports: Record<string, number> = { [RIP]: freshPort(), [RIP_2]: freshPort() };
    for (const spec of [{ mark: mark(CLIENT) }, {}, {}])
      for (const destination of [RIP, RIP_2]) {
        const asked = { destination, destinationPort: 7005, sourcePort: lports[destination], ...spec };
        const { client, answer } = await stage.exchange(asked, { app: bound[destination] });
        expect([client, answer.source, answer.destinationPort]).toEqual([
          ...[CLIENT, destination, lports[destination]],
        ]);
      }
  });

  it.each<[string, Record<string, unknown>[]]>([
    ['one service address', [{ address: RIP, port: 7000 }]],
    ['services on all addresses', [RIP, RIP_2, RS_BEHIND].map(address => ({ address, port: 7000 }))],
    ['every port of one address', [{ address: RIP, port: 'any' }]],
  ])('direct clients are answered as without the shim, with %s', async (_, services) => {
    await stage.resident.reload(serving(`${LIP}/32`, services));
    expect(await answers()).toEqual(without.answers);
  });

  it('clients are served at an address on lo', async () => {
    const address = '198.51.100.50';
    await stage.lab.rs.ip(`address add ${address}/32 dev lo`);
    await stage.resident.reload(serving(`${LIP}/32`, [{ address, port: 7000 }]));
    await stage.serves({ destination: address });
    await stage.doesNotServe({ destination: RIP });
    await stage.lab.rs.ip(`address del ${address}/32 dev lo`);
  });

  // ---- load balancers ----------------------------------------------------------------------------------------

  it('load balancers on two interfaces are served, each on its own', () =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      const behind = { wire: await stage.behind() };
      const before = await rs.snapshot();
      const shim = await stage.running({
        routing,
        loadBalancers: [{ prefix: `${LIP}/32` }, { prefix: `${BEHIND}/32`, ack: false }],
        services: [RIP, RS_BEHIND].map(address => ({ address, port: 7000 })),
      });
      for (const destination of [RIP, RS_BEHIND]) {
        await stage.serves({ destination });
        await stage.serves({ source: BEHIND, destination }, behind);
      }
      expect(behind.wire.since(0).filter(seen => seen.mark)).toEqual([]);
      expect(stage.wire.since(0).filter(seen => seen.mark)).toHaveLength(4);
      // Two flows for the same client and server: the one heard last has the replies.
      await stage.exchange({ sourcePort: 1001, mark: mark(CLIENT) });
      await stage.exchange({ source: BEHIND, sourcePort: 1002, mark: mark(CLIENT) }, behind);
      await stage.exchange({ sourcePort: 1001 });
      await stage.exchange({ source: BEHIND, sourcePort: 1002 }, behind);

      // One load balancer's address on the other's interface is somebody else's.
      const sourcePort = freshPort();
      const payload = freshText();
      await behind.wire.send({ source: LIP, sourcePort, payload, mark: mark(CLIENT) });
      expect((await stage.app.got(payload)).client).toBe(`${LIP}:${sourcePort}`);
      expect(await shim.lookup(`${LIP}:${sourcePort}`, `${RIP}:7000`)).toBe(null);

      expect(await shim.stop()).toBe(0);
      expect(await rs.snapshot()).toEqual(before);
    }));

  it('a load-balancer prefix that holds the host itself leaves its own and direct flows alone', async () => {
    const { resident: shim } = stage;
    await shim.reload(
      serving(
        '10.99.1.0/24',
        [RIP, RIP_2].map(address => ({ address, port: 7000 })),
      ),
    );
    for (const destination of [RIP, RIP_2])
      for (const source of [LIP, LIP_2]) await stage.serves({ source, destination });
    expect(await ownAnswers()).toEqual(without.own);
    // One without marks is a load balancer's flow, without a client.
    const counted = await shim.counted(async () => {
      const { client, answer } = await stage.exchange({ source: DIRECT, sourcePort: 4001 });
      expect([client, answer.source]).toEqual([`${DIRECT}:4001`, RIP]);
    });
    expect(counted).toMatchObject({ uoa_miss: 1 });
    // A mark naming the host itself, whatever the prefixes say, is not learned.
    const sourcePort = freshPort();
    const named = await stage.exchange({ sourcePort, mark: mark(`${RIP_2}:5555`) });
    expect(named.client).toBe(`${LIP}:${sourcePort}`);
  });

  // ---- interfaces --------------------------------------------------------------------------------------------

  /** What joins 10.99.3.2, on `rs`, to 10.99.3.1, on an interface of `lb`'s. */
  const LINKS: Record<string, { rs: string; lb: string; up: string[]; on: string[] }> = {
    'a name with a dot': {
      ...{ rs: 'eth0.100', lb: 'eth0.100' },
      ...{ up: ['link add eth0.100 type veth peer name eth0.100 netns LB'], on: [] },
    },
    'a VLAN': {
      ...{ rs: 'eth0.100', lb: 'eth0.100' },
      up: ['link add link eth0 name eth0.100 type vlan id 100'],
      on: ['link add link eth0 name eth0.100 type vlan id 100'],
    },
    'a bridge': {
      ...{ rs: 'br0', lb: 'eth3' },
      up: [
        'link add br0 type bridge',
        'link add port3 type veth peer name eth3 netns LB',
        'link set port3 master br0',
        'link set port3 up',
      ],
      on: [],
    },
    'a macvlan': {
      ...{ rs: 'mac0', lb: 'eth0' },
      ...{ up: ['link add link eth0 name mac0 type macvlan mode bridge'], on: [] },
    },
  };

  for (const [what, { rs: rsName, lb: lbName, up, on }] of Object.entries(LINKS)) {
    const unsupported = linkMissing(/type (\w+)/.exec(up[0])?.[1] ?? '');
    if (unsupported !== undefined) console.warn(`\n*** SKIPPED: ${what}: ${unsupported} ***\n`);
    it.skipIf(unsupported !== undefined)(`load balancers on ${what} are served`, () =>
      Stage.in(async stage => {
        const { lb, rs } = stage.lab;
        for (const command of up) {
          await rs.ip(command.replace('LB', lb.name));
          const made = /^link add (?:link \S+ name )?(\S+)/.exec(command)?.[1];
          if (made !== undefined) await rs.ip(`link set ${made} addrgenmode none`);
        }
        for (const command of on) await lb.ip(command);
        for (const address of [LIP_3RD, DIRECT_3RD]) await lb.ip(`address add ${address}/24 dev ${lbName}`);
        await rs.ip(`address add ${RIP_3RD}/24 dev ${rsName}`);
        await lb.ip(`link set ${lbName} up`);
        await rs.ip(`link set ${rsName} up`);
        // Nothing that changes by itself: no addresses of IPv6's own making, no timers.
        const snapshot = async () => (await rs.snapshot()).filter(line => !line.startsWith('links: '));
        await rs.must(['ping', '-c', '1', '-W', '5', LIP_3RD]);
        // Strict is what the shim has to loosen: one more setting with the interface's name in it.
        await rs.sysctl(`net.ipv4.conf.${rsName.replace('.', '/')}.rp_filter`, 1);
        const wire = await Wire.start(lb, await macOf(rs, rsName), ['--interface', lbName]);
        const before = await snapshot();
        const options = {
          routing,
          loadBalancers: [{ prefix: `${LIP_3RD}/32` }],
          services: [{ address: RIP_3RD, port: 7000 }],
        };
        const shim = await stage.running(options);
        const asked = { source: LIP_3RD, destination: RIP_3RD };
        await stage.serves(asked, { wire });
        expect(
          await stage.exchange({ ...asked, source: DIRECT_3RD, sourcePort: 77 }, { wire }),
        ).toMatchObject({ client: `${DIRECT_3RD}:77`, answer: { source: RIP_3RD, destination: DIRECT_3RD } });
        await stage.doesNotServe();
        expect((await shim.status()).warnings).toEqual([]);
        const planned = [await shim.cli('plan', '--up'), await shim.cli('plan', '--down')];
        expect(await shim.stop()).toBe(0);
        expect(await snapshot()).toEqual(before);

        // And the commands that `plan` prints mean the same interface.
        await rs.must(['sh', '-e'], planned[0].stdout);
        expect(await rs.sysctl(`net.ipv4.conf.${rsName.replace('.', '/')}.rp_filter`)).toBe('2');
        await rs.must(['sh', '-e'], planned[1].stdout);
        expect(await snapshot()).toEqual(before);
      }),
    );
  }

  // ---- shims -------------------------------------------------------------------------------------------------

  const SECOND: ShimOptions = {
    tun: { name: 'uoa1', address: '192.0.2.252/32' },
    routing: { steering, table: 250, priority: 31 },
    loadBalancers: [{ prefix: `${LIP_2}/32` }],
    services: [{ address: RIP_2, port: 7001 }],
  };

  it.each([
    ['the first, then the second', [0, 1]],
    ['the second, then the first', [1, 0]],
  ])('two shims on one host serve, each after the other’s end: %s', (_, order) =>
    Stage.in(async stage => {
      const { rs } = stage.lab;
      const other = { app: await App.start(rs, 'echo', 7001) };
      const serve = [
        () => stage.serves(),
        () => stage.serves({ source: LIP_2, destination: RIP_2, destinationPort: 7001 }, other),
      ];
      const before = await rs.snapshot();
      const shims = [stage.shim({ routing }), stage.shim(SECOND)];
      for (const [i, shim] of shims.entries()) {
        await shim.start();
        for (const serves of serve.slice(0, i + 1)) await serves();
      }
      const [ended, left] = order;
      expect(await shims[ended].stop()).toBe(0);
      await serve[left]();
      expect(await shims[left].status()).toMatchObject({ healthy: true });
      // And again: what it finds now is not what it found first.
      await shims[ended].start();
      for (const serves of serve) await serves();
      expect(await shims[left].stop()).toBe(0);
      await serve[ended]();
      expect(await shims[ended].stop()).toBe(0);
      expect(await rs.snapshot()).toEqual(before);
    }),
  );

  it('a kill and `cleanup` in one network namespace leave the shim in another alone', () =>
    Stage.in(async stage => {
      await Stage.in(async other => {
        const [shim, same] = [await stage.running({ routing }), await other.running({ routing })];
        for (const each of [stage, other]) await each.serves();
        await shim.stop('SIGKILL');
        expect((await shim.cli('cleanup')).code).toBe(0);
        await other.serves();
        expect((await same.status()).healthy).toBe(true);
      });
    }));
});

/** Why this kernel has no links of a type, or undefined. */
function linkMissing(type: string): string | undefined {
  if (type === 'veth' || process.getuid?.() !== 0) return undefined;
  const script = [
    'ip link add probe0 type veth peer name probe1',
    `ip link add link probe0 name probe2 type ${type} ${type === 'vlan' ? 'id 5' : ''} || ip link add probe2 type ${type}`,
  ].join(' && ');
  const { status } = spawnSync('unshare', ['--net', 'sh', '-c', `{ ${script}; } 2>/dev/null`]);
  return status === 0 ? undefined : `this kernel has no links of type ${type}`;
}
