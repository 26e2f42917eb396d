/**
 * New flows through a load balancer: how many a second the kernel's NAT sets up by itself, and how many with a shim that
 * marks each.
 *
 *     clients: send                    LB: nftables, and the shim                    RS: receive
 *     10.98.0.0/16   eth0 10.97.0.1 --- eth0 10.97.0.2 VIP   eth1 10.96.0.1 --- eth0 10.96.0.2 RIP, port 7000
 *                                                            LIPs 10.96.1.1 - .8
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { programPath } from './compile.js';
import { Namespaces } from './namespaces.js';
import type { Options } from './options.js';
import { must, Program, SHIM, SHIM_RUN } from './program.js';
import type { SetUpFigures, SetUpRound } from './results.js';
import { cpuNanoseconds } from './usage.js';

/** Each flow sends one datagram. */
const FLOWS = 50_000;
const QUICK_FLOWS = 10_000;
const PAYLOAD_BYTES = 64;

const CLIENTS = '10.98.0.0/16';
const VIP = '10.97.0.2';
const RIP = '10.96.0.2';
const PORT = 7000;
const LIPS = Array.from({ length: 8 }, (_, i) => `10.96.1.${i + 1}`);

const NAT = `table ip nat {
  chain pre { type nat hook prerouting priority -100; ip daddr ${VIP} udp dport ${PORT} dnat to ${RIP}:${PORT}; }
  chain post { type nat hook postrouting priority 100; ct status dnat snat to ${LIPS[0]}-${LIPS[LIPS.length - 1]}; }
}
`;

class Balancer extends Namespaces<'clients' | 'lb' | 'rs'> {
  /** Undefined where the kernel is alone. */
  shim: Program | undefined;
  private readonly config: string;

  constructor(
    readonly name: string,
    private readonly directory: string,
  ) {
    super(`set-up-${name}`, ['clients', 'lb', 'rs']);
    this.config = join(directory, `set-up-${name}.json`);
    this.connect('clients', 'eth0', '10.97.0.1/24', 'lb', 'eth0', `${VIP}/24`);
    this.connect('lb', 'eth1', '10.96.0.1/16', 'rs', 'eth0', `${RIP}/16`);
    for (const lip of LIPS) this.ip('lb', `address add ${lip}/16 dev eth1`);
    this.ip('clients', `route add local ${CLIENTS} dev lo`);
    this.ip('lb', `route add ${CLIENTS} via 10.97.0.1`);
    must(this.command('lb', ['sysctl', '-qw', 'net.ipv4.ip_forward=1']));
  }

  /** NAT by nftables alone. */
  useKernelAlone(): void {
    must(this.command('lb', ['nft', '-f', '-']), NAT);
  }

  /** NAT and marks by the shim. */
  async useShim({ shimCore }: Options): Promise<void> {
    const services = [{ vip: VIP, port: PORT, realServers: [{ address: RIP, port: PORT }] }];
    const config = {
      role: 'load-balancer',
      control: { socket: join(this.directory, `set-up-${this.name}.sock`) },
      loadBalancer: { localAddresses: LIPS, services },
    };
    writeFileSync(this.config, JSON.stringify(config));
    this.shim = new Program(this.command('lb', [...SHIM_RUN, '--config', this.config]), [shimCore]);
    await this.shim.says('serving as load-balancer');
  }

  /** Marks inserted so far. */
  get marksInserted(): number {
    if (this.shim === undefined) return 0;
    return JSON.parse(must([...SHIM, 'stats', '--json', '--config', this.config])).marks_inserted;
  }

  forgetFlows(): void {
    must(this.command('lb', ['conntrack', '-F']));
  }
}

export async function measureSetUp(
  options: Options,
  parent: string,
  say: (text: string) => void,
): Promise<SetUpFigures[]> {
  const directory = join(parent, 'set-up');
  mkdirSync(directory);
  const balancers = [new Balancer('kernel', directory), new Balancer('shim', directory)];
  const [kernel, shim] = balancers;
  kernel.useKernelAlone();
  await shim.useShim(options);
  const rounds = balancers.map((): SetUpRound[] => []);
  for (let round = 0; round <= options.rounds; round++) {
    say(`flows at the load balancer: ${round === 0 ? 'warming up' : `round ${round} of ${options.rounds}`}`);
    for (const [i, balancer] of balancers.entries()) {
      const one = await measure(balancer, directory, options);
      if (round > 0) rounds[i].push(one);
    }
  }
  for (const balancer of balancers) {
    await balancer.shim?.end();
    balancer.remove();
  }
  return balancers.map(({ name }, i) => ({ candidate: name, rounds: rounds[i] }));
}

interface Sent {
  seconds: number;
  sentInAll: number;
  receivedInAll: number;
}

async function measure(
  balancer: Balancer,
  directory: string,
  { loadCore, window, quick }: Options,
): Promise<SetUpRound> {
  const counts = join(directory, 'counts');
  rmSync(counts, { force: true });
  balancer.forgetFlows();
  const marksBefore = balancer.marksInserted;
  const receiver = new Program(balancer.command('rs', [programPath('receive'), counts, '0', '0']), [
    loadCore,
  ]);
  await receiver.says('ready');
  const { shim } = balancer;
  const cpuBeforeNs = shim && cpuNanoseconds(shim.pid);
  const flows = quick ? QUICK_FLOWS : FLOWS;
  const once = [flows, PAYLOAD_BYTES, 1, 'plain', 0, 0, 'window', window].map(String);
  const sender = new Program(balancer.command('clients', [programPath('send'), counts, ...once]), [loadCore]);
  const { seconds, sentInAll, receivedInAll } = await sender.result<Sent>();
  const cpu = cpuBeforeNs === undefined ? null : (cpuNanoseconds(shim?.pid ?? 0) - cpuBeforeNs) / sentInAll;
  receiver.kill('SIGTERM');
  await receiver.result();
  return {
    rate: sentInAll / seconds,
    loss: (1 - receivedInAll / sentInAll) * 100,
    cpu,
    marked: ((balancer.marksInserted - marksBefore) / sentInAll) * 100,
  };
}
