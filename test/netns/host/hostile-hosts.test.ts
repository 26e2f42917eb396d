/**
 * Hosts with firewalls, filters and settings of their own: the shim passes them, or says what is in its way.
 *
 *   LB namespace (wire.py)         RS namespace, with the host's own ideas
 *     10.99.1.1 LIP     eth0 ---- eth0 10.99.1.2 RIP: 7000 echo, 7001 nobody, 7002 echo with 4000 bytes
 *     10.99.1.7 DIRECT                 10.99.1.20 RIP_2: the same
 *
 * Every test has namespaces of its own.
 */
import { describe, expect, it } from 'vitest';
import { App, pattern } from '../../support/apps.js';
import { Features } from '../../support/features.js';
import { freshPort, freshText } from '../../support/fresh.js';
import { DIRECT, type LabOptions, LIP, missing, type Namespace, RIP, RIP_2 } from '../../support/netns.js';
import { eventually } from '../../support/process.js';
import type { Shim } from '../../support/shim.js';
import { CLIENT, STEERINGS, Stage } from '../../support/stage.js';
import { mark, text } from '../../support/wire.js';

const SERVICES = [RIP, RIP_2].map(address => ({ address, port: '7000-7002' }));

interface Host {
  /** Direct clients don't get past it, shim or not. */
  isClosed?: boolean;
  lab?: LabOptions;
  nft?: string;
  iptables?: string[];
  /** For the older iptables, whose rules nft does not list. */
  legacy?: string[];
  sysctls?: Record<string, string | number>;
}

async function make({ nft, iptables = [], legacy = [], sysctls = {} }: Host, rs: Namespace): Promise<void> {
  for (const [key, value] of Object.entries(sysctls)) await rs.sysctl(key, value);
  for (const rule of iptables) await rs.must(['iptables', ...rule.split(' ')]);
  for (const rule of legacy) await rs.must(['iptables-legacy', ...rule.split(' ')]);
  if (nft !== undefined) await rs.must(['nft', '-f', '-'], nft);
}

/** A firewall as a distribution or an administrator makes it. */
const firewall = (input: string, more = ''): string => `
table inet firewall {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif lo accept
    ip protocol icmp accept
    ${input}
  }
  ${more}
}
`;

const STRICT = Object.fromEntries(
  ['all', 'default', 'eth0'].map(name => [`net.ipv4.conf.${name}.rp_filter`, 1]),
);

/** What both ways in have to pass without a word. */
const HOSTS: Record<string, Host> = {
  'with nothing special': {},
  'with a stateful firewall': { nft: firewall('udp dport 7000-7003 accept') },
  'with a stateful firewall by iptables': {
    iptables: [
      '-P INPUT DROP',
      '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A INPUT -m conntrack --ctstate INVALID -j DROP',
      '-A INPUT -i lo -j ACCEPT',
      '-A INPUT -p icmp -j ACCEPT',
      '-A INPUT -p udp -m conntrack --ctstate NEW -m multiport --dports 7000:7003 -j ACCEPT',
    ],
  },
  'with a firewall that lets nobody in by eth0': {
    isClosed: true,
    nft: 'table inet firewall { chain i { type filter hook input priority 0; iifname "eth0" meta l4proto { udp, 248 } drop; }\n}\n',
  },
  'with strict rp_filter everywhere': { sysctls: STRICT },
  'without a default route': { lab: { defaultRoute: false } },
  'with strict rp_filter everywhere and no default route': { lab: { defaultRoute: false }, sysctls: STRICT },
  'with NOTRACK rules': {
    iptables: [
      '-t raw -A PREROUTING -p udp -j CT --notrack',
      '-t raw -A OUTPUT -p udp -j CT --notrack',
      '-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT',
    ],
  },
  'with ip_forward=0': { sysctls: { 'net.ipv4.ip_forward': 0 } },
  'with IPv6 off': {
    sysctls: { 'net.ipv6.conf.default.disable_ipv6': 1, 'net.ipv6.conf.all.disable_ipv6': 1 },
  },
  'with IPv6 off for new interfaces': { sysctls: { 'net.ipv6.conf.default.disable_ipv6': 1 } },
  'that masquerades what its containers send': {
    iptables: ['-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE'],
  },
};

/**
 * To conntrack, the answers of flows that began inside opp are flows of their own. By policy routing they have to be:
 * rules that let out only what belongs to established flows would stop the others.
 */
const MASQUERADING: Host = { iptables: ['-t nat -A POSTROUTING -o eth0 -j MASQUERADE'] };

class HostileStage {
  private constructor(
    private readonly host: Host,
    readonly stage: Stage,
    readonly shim: Shim,
    private readonly long: App,
    private readonly errors: Features,
  ) {}

  static in(
    host: Host,
    steering: string,
    act: (hostile: HostileStage) => Promise<void>,
    more: { services?: Record<string, unknown>[] } = {},
  ): Promise<void> {
    return Stage.in(async stage => {
      const { rs } = stage.lab;
      const long = await App.start(rs, 'echo', 7002, '--answer', 4000);
      const errors = await Features.serve(rs, 7003, '--errors');
      await make(host, rs);
      const services = more.services ?? [...SERVICES, { address: RIP, port: 7003 }];
      await act(new HostileStage(host, stage, stage.shim({ routing: { steering }, services }), long, errors));
    }, host.lab);
  }

  /** Marked, later, fragments, long answers, refusals and errors from the network: everything there is. */
  async passesEverything(): Promise<void> {
    const { stage, shim, long } = this;
    for (const destination of [RIP, RIP_2]) await stage.serves({ destination });
    if (this.host.isClosed !== true) {
      const { client, answer } = await stage.exchange({ source: DIRECT, sourcePort: 4444 });
      expect([client, answer.source]).toEqual([`${DIRECT}:4444`, RIP]);
    }

    const sourcePort = freshPort();
    for (const [i, spec] of [{ mark: mark(CLIENT) }, {}].entries()) {
      const payload = pattern(3001 + i);
      const pieces = {
        payload,
        sourcePort,
        fragmentAt: 1472,
        fragmentOrder: [1, 0, 2],
        identification: 1 + i,
      };
      const { client, answer } = await stage.exchange({ ...pieces, ...spec });
      expect([client, answer.destinationPort, answer.udpChecksum]).toEqual([CLIENT, sourcePort, 'good']);
    }
    const [from, asking] = [stage.wire.now, { destinationPort: 7002, sourcePort: freshPort() }];
    await stage.wire.send({ ...asking, payload: text('more'), mark: mark(CLIENT) });
    expect((await long.got(text('more'))).client).toBe(CLIENT);
    expect(await stage.wire.answer(pattern(4000), from)).toMatchObject({
      ...{ event: 'datagram', source: RIP, destination: LIP, udpChecksum: 'good' },
    });
    await this.refuses();
    await this.hearsOfErrors();
    expect(await shim.stats()).toMatchObject({ dropped_io: 0, dropped_malformed: 0, fragments_dropped: 0 });
  }

  /** A closed port is refused in the load balancer's terms. */
  private async refuses(): Promise<void> {
    const { wire } = this.stage;
    const from = wire.now;
    await wire.send({
      destinationPort: 7001,
      sourcePort: 1111,
      payload: text('anybody?'),
      mark: mark(CLIENT),
    });
    const refused = await wire.event('an ICMP error', ({ protocol }) => protocol === 1, from);
    expect(refused).toMatchObject({ source: RIP, destination: LIP, headerChecksumGood: true });
    expect(refused.hex.slice(40, 44)).toBe('0303');
    expect(refused.hex.slice(80, 104)).toBe(`0a6301010a630102${'0457'}${'1b59'}`);
  }

  /** What the load balancer's side says about an answer reaches the application, in its own terms. */
  private async hearsOfErrors(): Promise<void> {
    const { stage, errors } = this;
    const from = errors.now;
    const [client, sourcePort] = [`198.51.100.9:${freshPort()}`, freshPort()];
    const payload = freshText();
    const since = stage.wire.now;
    await stage.wire.send({ destinationPort: 7003, sourcePort, payload, mark: mark(client) });
    const answer = await stage.wire.answer(payload, since);
    const unreachable = `0303${'0000'}00000000${answer.hex}`;
    await stage.wire.send({ protocol: 1, body: withChecksum(unreachable) });
    expect(await errors.event('the error', ({ event }) => event === 'error', from)).toMatchObject({
      ...{ error: 'ECONNREFUSED', client },
    });
  }

  /** What the shim has to put back, without what the host itself counts. */
  async snapshot(): Promise<string[]> {
    const lines = await this.stage.lab.rs.snapshot();
    return lines
      .filter(line => !line.includes('nf_conntrack_count'))
      .map(line => line.replace(/counter packets \d+ bytes \d+/, 'counter'));
  }

  async warnings(): Promise<string[]> {
    return (await this.shim.status()).warnings;
  }
}

/** An ICMP message, in hex, with its checksum. */
function withChecksum(icmp: string): string {
  let sum = 0;
  for (let i = 0; i < icmp.length; i += 4) sum += Number.parseInt(icmp.slice(i, i + 4).padEnd(4, '0'), 16);
  while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff);
  return icmp.slice(0, 4) + (sum ^ 0xffff).toString(16).padStart(4, '0') + icmp.slice(8);
}

/** The commands that a warning names. */
function remedies(warnings: readonly string[]): string[] {
  return warnings.flatMap(warning => warning.match(/(?:iptables(?:-legacy)?|nft|sysctl) [^;`]+/g) ?? []);
}

const isSkipped = missing({ iptables: 'iptables', 'iptables-legacy': 'iptables' }) !== undefined;

describe.skipIf(isSkipped).each(STEERINGS)('steering by %s', steering => {
  it.each(Object.keys(HOSTS))('on a host %s everything passes', name =>
    HostileStage.in(HOSTS[name], steering, async hostile => {
      const { shim } = hostile;
      const before = await hostile.snapshot();
      await shim.start();
      await hostile.passesEverything();
      expect(await hostile.warnings()).toEqual([]);
      expect(await shim.stop()).toBe(0);
      expect(await hostile.snapshot()).toEqual(before);
    }),
  );

  if (steering === 'nft-ingress')
    it('on a host that masquerades all it sends by eth0 everything passes', () =>
      HostileStage.in(MASQUERADING, steering, async hostile => {
        await hostile.shim.start();
        await hostile.passesEverything();
      }));

  it('everything still passes after somebody has flushed the nftables rules', () =>
    HostileStage.in({ nft: firewall('udp dport 7000-7003 accept') }, steering, async hostile => {
      const { rs } = hostile.stage.lab;
      await hostile.shim.start();
      await hostile.passesEverything();
      await rs.must(['nft', 'flush', 'ruleset']);
      await hostile.passesEverything();
      expect((await hostile.shim.status()).healthy).toBe(true);
    }));
});

/** What drops forwarded packets: the ways of Docker, of nftables and of firewalld. */
const NO_FORWARDING: Record<string, Host> = {
  'a FORWARD policy of drop': { iptables: ['-P FORWARD DROP'] },
  'Docker’s rules': {
    iptables: [
      '-N DOCKER',
      '-N DOCKER-USER',
      '-P FORWARD DROP',
      '-A FORWARD -j DOCKER-USER',
      '-A DOCKER-USER -j RETURN',
      '-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A FORWARD -o docker0 -j DOCKER',
      '-A FORWARD -i docker0 ! -o docker0 -j ACCEPT',
      '-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE',
    ],
  },
  'a FORWARD policy of drop that nftables does not show (iptables-legacy)': {
    legacy: ['-P FORWARD DROP'],
  },
  'a table of nftables': {
    nft: 'table inet host { chain f { type filter hook forward priority filter; policy drop; }\n}\n',
  },
  'a rule that rejects the rest': {
    nft: 'table inet host { chain f { type filter hook forward priority filter; reject with icmpx admin-prohibited; }\n}\n',
  },
};

describe.skipIf(isSkipped).each(Object.keys(NO_FORWARDING))('a host that forwards nothing, by %s', name => {
  it('nft-ingress serves, and warns of nothing', () =>
    HostileStage.in(NO_FORWARDING[name], 'nft-ingress', async hostile => {
      await hostile.shim.start();
      await hostile.passesEverything();
      expect(await hostile.warnings()).toEqual([]);
    }));

  it('policy-routing warns of what drops the packets, and serves once the remedy that it names is done', () =>
    HostileStage.in(NO_FORWARDING[name], 'policy-routing', async hostile => {
      const { shim, stage } = hostile;
      await shim.start();
      const warnings = await hostile.warnings();
      expect(warnings).toEqual([expect.stringMatching(/FORWARD|forward/)]);
      expect(shim.program?.log).toContain(warnings[0]);
      // It is as it says: nothing of the load balancer's gets through.
      const from = stage.app.now;
      await stage.wire.send({ sourcePort: 1, payload: text('lost'), mark: mark(CLIENT) });
      await stage.exchange({ source: DIRECT, sourcePort: 2 });
      expect(stage.app.clients(from)).toEqual([`${DIRECT}:2`]);
      for (const remedy of remedies(warnings)) await stage.lab.rs.must(['sh', '-c', remedy]);
      await hostile.passesEverything();
    }));
});

/** Firewalls that know interfaces by name, and not the TUN. */
const BY_INTERFACE: Record<string, Host> = {
  'an accepting rule for eth0 alone': { nft: firewall('iifname "eth0" udp dport 7000-7003 accept') },
  'an accepting rule of iptables for eth0 alone': {
    iptables: [
      '-P INPUT DROP',
      '-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
      '-A INPUT -i lo -j ACCEPT',
      '-A INPUT -i eth0 -p udp --dport 7000:7003 -j ACCEPT',
    ],
  },
  'an accepting rule for the load balancers’ addresses alone': {
    nft: firewall('ip saddr 10.99.1.0/24 udp dport 7000-7003 accept'),
  },
};

const LET_IN: Record<string, string> = {
  'an accepting rule for eth0 alone': 'nft insert rule inet firewall input iifname uoa0 accept',
  'an accepting rule of iptables for eth0 alone': 'iptables -I INPUT -i uoa0 -j ACCEPT',
  'an accepting rule for the load balancers’ addresses alone':
    'nft insert rule inet firewall input iifname uoa0 accept',
};

describe.skipIf(isSkipped).each(STEERINGS)('firewalls, steering by %s', steering => {
  it.each(Object.keys(BY_INTERFACE))('%s drops marked datagrams until another rule accepts the TUN', name =>
    HostileStage.in(
      { ...BY_INTERFACE[name], isClosed: name.includes('addresses') },
      steering,
      async hostile => {
        const { shim, stage } = hostile;
        await stage.doesNotServe(); // without the shim the firewall lets the load balancers in
        await shim.start();
        const from = stage.app.now;
        const counted = await shim.counted(async () => {
          const acked = stage.wire.now;
          await stage.wire.send({ sourcePort: 1, payload: text('lost'), mark: mark(CLIENT) });
          await stage.wire.event('an ACK', seen => Boolean(seen.mark), acked);
        });
        expect(counted).toMatchObject({ packets_delivered: 1 });
        await stage.lab.rs.must(LET_IN[name].split(' '));
        await hostile.passesEverything();
        expect(stage.app.events.slice(from).map(({ payload }) => payload)).not.toContain(text('lost'));
      },
    ),
  );

  it.each(Object.keys(BY_INTERFACE))(
    '%s brings a warning, and the remedy that it names lets clients in',
    name =>
      HostileStage.in(
        { ...BY_INTERFACE[name], isClosed: name.includes('addresses') },
        steering,
        async hostile => {
          const { shim, stage } = hostile;
          await shim.start();
          const warnings = await hostile.warnings();
          expect(warnings).toEqual([expect.stringMatching(/INPUT|input/)]);
          expect(shim.program?.log).toContain(warnings[0]);
          for (const remedy of remedies(warnings)) await stage.lab.rs.must(['sh', '-c', remedy]);
          await hostile.passesEverything();
        },
      ),
  );

  it('a rule at the output that accepts only answers drops what the shim sends, which is counted, until a rule accepts the fwmark', () =>
    HostileStage.in(
      {
        nft: firewall(
          'udp dport 7000-7003 accept',
          'chain output { type filter hook output priority filter; policy drop; ct state established,related accept; oif lo accept; }',
        ),
      },
      steering,
      async hostile => {
        const { shim, stage } = hostile;
        await stage.doesNotServe();
        await shim.start();
        // Of what comes in opp nothing has been tracked that a plain answer belongs to, however it is steered.
        const lost = { sourcePort: freshPort(), payload: text('no way'), mark: mark(CLIENT, 'opp') };
        await stage.wire.send(lost);
        await eventually('the refusal is counted', async () => {
          return (await shim.stats()).dropped_io > 0 || undefined;
        });
        if (steering === 'nft-ingress') expect((await shim.stats()).uoa_ack_fail).toBe(1);
        const rule = 'meta mark and 0x20 == 0x20 accept';
        await stage.lab.rs.must(['nft', `insert rule inet firewall output ${rule}`]);
        const counted = await shim.counted(() => stage.serves());
        expect(Object.keys(counted)).not.toContain('dropped_io');
        expect(Object.keys(counted)).not.toContain('uoa_ack_fail');
      },
    ));
});
