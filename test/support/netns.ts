/**
 * Network namespaces for tests, with a load balancer's side and a real server's:
 *
 *      LB namespace                              RS namespace
 *   eth0 10.99.1.1 LIP (and .3, .4, .7) ------ eth0 10.99.1.2 RIP (and .20)
 *        fd00:99:1::1 LIP6 (and ::3, ::7)           fd00:99:1::2 RIP6 (and ::20)
 *        wire.py                                    default via 10.99.1.1 and fd00:99:1::1
 *
 * and on demand a third one behind the RS. Names are unique to the process; everything goes when the test ends,
 * however it does. All of it needs root, and these programs (Debian's package in brackets): ip (iproute2), sysctl
 * (procps), nft (nftables), ethtool (ethtool), python3 (python3).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GUARD_MS, must, type Outcome, type Program, run } from './process.js';

export const LIP = '10.99.1.1';
/** More addresses on the LB's side: what they are is up to each test's configuration. */
export const LIP_2 = '10.99.1.3';
export const LIP_3 = '10.99.1.4';
export const DIRECT = '10.99.1.7';
export const RIP = '10.99.1.2';
export const RIP_2 = '10.99.1.20';
export const BROADCAST = '10.99.1.255';
export const LIP6 = 'fd00:99:1::1';
export const LIP6_2 = 'fd00:99:1::3';
export const DIRECT6 = 'fd00:99:1::7';
export const RIP6 = 'fd00:99:1::2';
export const RIP6_2 = 'fd00:99:1::20';
const LB_MAC = '02:00:00:63:01:01';
export const RS_MAC = '02:00:00:63:01:02';

const SUPPORT = fileURLToPath(new URL('.', import.meta.url));

// ---- what has to be there --------------------------------------------------------------------------------

const PACKAGES: Record<string, string> = {
  ip: 'iproute2',
  sysctl: 'procps',
  nft: 'nftables',
  ethtool: 'ethtool',
  python3: 'python3',
};

/** Why tests in namespaces can't run here, or undefined; said aloud once per test file. */
export function missing(more: Record<string, string> = {}): string | undefined {
  const reason = findMissing({ ...PACKAGES, ...more });
  if (reason !== undefined) console.warn(`\n*** SKIPPED: ${reason} ***\n`);
  return reason;
}

function findMissing(programs: Record<string, string>): string | undefined {
  if (process.getuid?.() !== 0) return 'tests in network namespaces need root';
  for (const [program, debianPackage] of Object.entries(programs)) {
    const found = spawnSync('sh', ['-c', `command -v ${program}`]);
    if (found.status !== 0) return `${program} is missing: apt-get install ${debianPackage}`;
  }
  if (!existsSync('/dev/net/tun')) return '/dev/net/tun is missing: modprobe tun';
  if (!existsSync('/proc/sys/net/ipv6')) return 'this kernel has no IPv6';
  const probe = uniqueName('probe');
  const made = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8' });
  if (made.status !== 0) return `network namespaces can't be made here: ${made.stderr.trim()}`;
  execFileSync('ip', ['netns', 'del', probe]);
  return undefined;
}

let counter = 0;
function uniqueName(role: string): string {
  return `uoa-${process.pid}-${randomBytes(3).toString('hex')}${counter++}-${role}`;
}

// ---- one namespace ---------------------------------------------------------------------------------------

/** Where a shim that was killed has left what `cleanup` needs, by the namespace's cookie. */
const RUN_DIRECTORY = '/run/uoa-shim';

/** The namespaces that there are, with their cookies. */
const made = new Map<string, string>();
process.on('exit', () => {
  for (const name of made.keys()) {
    forgetShims(name);
    spawnSync('ip', ['netns', 'del', name]);
  }
});

/** Debian's own where it is: it starts in a tenth of the time that one takes behind a script that chooses between several. */
const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

/** SO_NETNS_COOKIE, read by something else than the shim. */
const READ_COOKIE = 'import _socket; print(int.from_bytes(_socket.socket().getsockopt(1, 71, 8), "little"))';

/** Removes the files that shims have left of a namespace, or those with this ending. */
function forgetShims(name: string, ending = ''): void {
  const left = existsSync(RUN_DIRECTORY) ? readdirSync(RUN_DIRECTORY) : [];
  const ours = left.filter(file => file.startsWith(`ns${made.get(name)}-`) && file.endsWith(ending));
  for (const file of ours) rmSync(join(RUN_DIRECTORY, file), { force: true });
}

export class Namespace {
  private readonly programs: Program[] = [];

  private constructor(readonly name: string) {}

  static async create(role: string): Promise<Namespace> {
    const namespace = new Namespace(uniqueName(role));
    await must(['ip', 'netns', 'add', namespace.name]);
    made.set(namespace.name, '');
    // Nobody is asked whether an IPv6 address is taken: each is there at once.
    const cookie = await namespace.script(
      'sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0',
      'ip link set lo up',
      `${PYTHON} -ISc '${READ_COOKIE}'`,
    );
    made.set(namespace.name, cookie.trim());
    return namespace;
  }

  /** Where a shim of this namespace writes down what it has changed. */
  stateOf(tun: string): string {
    return join(RUN_DIRECTORY, `ns${made.get(this.name)}-${tun}.json`);
  }

  /** Where a shim of this namespace saves its flows. */
  flowsOf(tun: string): string {
    return join(RUN_DIRECTORY, `ns${made.get(this.name)}-${tun}.flows`);
  }

  /** Removes what the shims in here have saved of their flows. */
  forgetFlows(): void {
    forgetShims(this.name, '.flows');
  }

  /** The command line that runs `command` in here; `ip netns exec` becomes it, so its pid is the command's. */
  command(command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.name, ...command];
  }

  run(command: readonly string[], input?: string): Promise<Outcome> {
    return run(this.command(command), input);
  }

  must(command: readonly string[], input?: string): Promise<string> {
    return must(this.command(command), input);
  }

  /** Runs lines of shell, to the first that fails: one process in here for many small steps. */
  script(...lines: string[]): Promise<string> {
    return this.must(['timeout', String(GUARD_MS / 1000), 'sh', '-ec', lines.join('\n')]);
  }

  ip(args: string): Promise<string> {
    return must(['ip', '-n', this.name, ...args.split(' ')]);
  }

  async sysctl(key: string, value?: string | number): Promise<string> {
    return (await this.must(['sysctl', '-n', value === undefined ? key : `${key}=${value}`])).trim();
  }

  /** Starts something that ends with the namespace, at the latest. */
  start<T extends Program>(program: T): T {
    this.programs.push(program);
    return program;
  }

  /** The command line that runs one of the Python programs beside this file in here. */
  python(script: string, args: readonly string[]): string[] {
    return this.command([PYTHON, `${SUPPORT}${script}`, ...args]);
  }

  /** What a shim may change, and has to put back: one line a fact. */
  async snapshot(): Promise<string[]> {
    const facts = {
      rules: 'ip -d rule show',
      rules6: 'ip -6 -d rule show',
      routes: 'ip -4 -d route show table all',
      routes6: 'ip -6 -d route show table all',
      links: 'ip -d link show',
      addresses: 'ip -4 address show',
      addresses6: 'ip -6 address show',
      // Some can't be read.
      sysctls: "sysctl -a --pattern '^net\\.(ipv4|core|ipv6|netfilter)' 2>/dev/null || :",
      nft: 'nft list ruleset',
    };
    const steps = Object.entries(facts).map(([name, command]) => `echo '${name}:'; ${command}`);
    let name = '';
    return (await this.script(...steps)).split('\n').flatMap(line => {
      if (/^\w+:$/.test(line)) name = line;
      return line.trim() === '' || line === name ? [] : [`${name} ${line.trimEnd()}`];
    });
  }

  async delete(): Promise<void> {
    for (const program of this.programs) await program.end();
    if (!made.has(this.name)) return;
    forgetShims(this.name);
    made.delete(this.name);
    await must(['ip', 'netns', 'del', this.name]);
  }
}

/** Lines of shell for several namespaces, which run side by side. */
export class Scripts {
  private readonly lines = new Map<Namespace, string[]>();

  add(namespace: Namespace, ...lines: string[]): void {
    this.lines.set(namespace, [...(this.lines.get(namespace) ?? []), ...lines]);
  }

  async run(): Promise<void> {
    await Promise.all([...this.lines].map(([namespace, lines]) => namespace.script(...lines)));
  }
}

// ---- lines of shell for them ------------------------------------------------------------------------------

/** Checksums on this wire are to be looked at: none is left to a card that doesn't exist. */
export function withoutOffload(name: string): string {
  return `ethtool -K ${name} tx off rx off >/dev/null`;
}

export function rpFilter(name: string, value: 0 | 1): string {
  return `sysctl -qw net.ipv4.conf.${name}.rp_filter=${value}`;
}

/** For a veth whose index would be its peer's: the kernel takes its time to call such a one up. */
export const OTHER_INDEX = 10;

export function untilUp(name: string): string {
  return `until read state </sys/class/net/${name}/operstate && [ "$state" = up ]; do sleep 0.005; done`;
}

/** The stack itself says nothing about UDP and UOA. */
export function silence(family: 'ip' | 'inet'): string {
  return `nft 'table ${family} quiet { chain i { type filter hook input priority 0; meta l4proto { udp, 248 } drop; }; }'`;
}

/** Of a snapshot, what `plan` has to bring about as `run` does: not the TUN, which nobody serves, nor a table's owner. */
export function planned(snapshot: string[]): string[] {
  return (
    snapshot
      .filter(line => /^(rules6?|routes6?|sysctls|nft): /.test(line))
      // What the kernel adds for a link that is up.
      .filter(line => !/^routes6: (multicast )?(ff00|fe80)::|flags owner/.test(line))
      .map(line => line.replace(/ linkdown| dead| # progname.*/g, ''))
  );
}

// ---- the two of them ---------------------------------------------------------------------------------------

export interface LabOptions {
  /** Whether the RS has a default route of either family, through the LB. */
  defaultRoute?: boolean;
  mtu?: number;
}

export class Lab {
  private readonly others: Namespace[] = [];

  private constructor(
    readonly lb: Namespace,
    readonly rs: Namespace,
  ) {}

  static async create(options: LabOptions = {}): Promise<Lab> {
    const lab = new Lab(await Namespace.create('lb'), await Namespace.create('rs'));
    try {
      await lab.wireUp(options);
    } catch (error) {
      await lab.delete();
      throw error;
    }
    return lab;
  }

  private async wireUp({ defaultRoute = true, mtu = 1500 }: LabOptions): Promise<void> {
    const { lb, rs } = this;
    const add = (address: string) => `ip address add ${address} dev eth0`;
    const plugIn = [withoutOffload('eth0'), 'ip link set eth0 up', rpFilter('eth0', 0)];
    await lb.script(
      `ip link add eth0 index ${OTHER_INDEX} mtu ${mtu} address ${LB_MAC} type veth peer name eth0 mtu ${mtu} address ${RS_MAC} netns ${rs.name}`,
      ...[LIP, LIP_2, LIP_3, DIRECT].map(address => add(`${address}/24`)),
      ...[LIP6, LIP6_2, DIRECT6].map(address => add(`${address}/64`)),
      ...plugIn,
      // The LB's own stack has no sockets for what wire.py sends: it must not answer with ICMP errors.
      silence('inet'),
    );
    await rs.script(
      ...[RIP, RIP_2].map(address => add(`${address}/24 brd +`)),
      // Of several addresses the last one is the source that the kernel chooses.
      ...[RIP6_2, RIP6].map(address => add(`${address}/64`)),
      ...plugIn,
      untilUp('eth0'),
      ...(defaultRoute ? [LIP, LIP6] : []).map(lip => `ip route add default via ${lip}`),
    );
  }

  /** A namespace behind the RS: eth1 10.99.2.1 there, eth0 10.99.2.2 here. */
  async behind(mac: string): Promise<Namespace> {
    const behind = await Namespace.create('behind');
    this.others.push(behind);
    await behind.script(
      `ip link add eth0 address ${mac} type veth peer name eth1 netns ${this.rs.name}`,
      'ip address add 10.99.2.2/24 dev eth0',
      'ip link set eth0 up',
      'ip route add default via 10.99.2.1',
    );
    await this.rs.script('ip address add 10.99.2.1/24 dev eth1', 'ip link set eth1 up', untilUp('eth1'));
    return behind;
  }

  async delete(): Promise<void> {
    for (const namespace of [...this.others, this.rs, this.lb]) await namespace.delete();
  }
}
