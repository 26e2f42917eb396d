/** What is measured: each candidate in a place of its own, ready for traffic. */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { programPath } from './compile.js';
import type { Options } from './options.js';
import { LIPS, Place, RIP, RPORT, TUN } from './place.js';
import { must, Program, SHIM, SHIM_RUN } from './program.js';
import type { Traffic } from './traffic.js';

const FS_STREAM = fileURLToPath(new URL('./fs-stream.js', import.meta.url));

type TunSettings = { merge?: boolean; offload?: 'auto' | 'off' };

interface Where {
  place: Place;
  /** For files. */
  directory: string;
  cores: readonly number[];
  options: Options;
}

interface Kind {
  name: string;
  about: string;
  /** Measured only if `--only` names it. */
  onDemand?: true;
  /** Starts it in its place. Without this there is only the kernel. */
  start?: (where: Where) => Promise<Program>;
  /** It may use the core of sender and receiver as well. */
  everywhere?: true;
  /** Traffic that is not sent through it. */
  leaves?: (traffic: Traffic) => boolean;
}

const withAnswers = (traffic: Traffic): boolean => traffic.answers === true;

const KINDS: readonly Kind[] = [
  { name: 'kernel', about: 'no TUN, no shim: plain delivery' },
  { name: 'shim', about: 'uoa-shim run, as it is', start: shim({}) },
  {
    name: 'shim-nft',
    about: 'the same, steering: nft-ingress',
    start: shim({}, 'nft-ingress'),
    onDemand: true,
  },
  { name: 'shim-no-merge', about: 'tun.merge: false', start: shim({ merge: false }) },
  { name: 'shim-no-offload', about: 'tun.offload: off', start: shim({ offload: 'off' }), onDemand: true },
  { name: 'c-loop', about: 'C: poll, one read() and one write() a packet', start: cLoop() },
  { name: 'c-loop-uso', about: 'the same with super-packets', start: cLoop('uso'), leaves: withAnswers },
  {
    name: 'c-loop-2',
    about: 'c-loop as two threads with a queue each, on both cores',
    start: cLoop('queues', '2'),
    everywhere: true,
    onDemand: true,
  },
  {
    name: 'c-loop-1',
    about: 'c-loop on whichever core has time',
    start: cLoop('queues', '1'),
    everywhere: true,
    onDemand: true,
  },
  {
    name: 'fs-stream',
    about: 'streams of Node’s fs on the TUN, like npm’s tuntap2',
    start: fsStream,
    leaves: traffic => withAnswers(traffic) || traffic.sender === 'segments',
  },
];

export class Candidate {
  private constructor(
    readonly name: string,
    readonly about: string,
    readonly place: Place,
    /** The program that handles the packets. The kernel has none. */
    readonly program: Program | undefined,
    private readonly leaves: (traffic: Traffic) => boolean,
  ) {}

  static async start(kind: Kind, parent: string, options: Options): Promise<Candidate> {
    const place = new Place(kind.name);
    const directory = join(parent, kind.name);
    mkdirSync(directory);
    const { loadCore, shimCore } = options;
    const cores = kind.everywhere ? [loadCore, shimCore] : [shimCore];
    const program = await kind.start?.({ place, directory, cores, options });
    return new Candidate(kind.name, kind.about, place, program, kind.leaves ?? (() => false));
  }

  /** Whether the application sees the clients' addresses, and not the LIPs. */
  get showsClients(): boolean {
    return this.program !== undefined;
  }

  takes(traffic: Traffic): boolean {
    return !this.leaves(traffic);
  }

  async end(): Promise<void> {
    await this.program?.end();
    this.place.remove();
  }
}

/** Starts the candidates that the options name, one after the other. */
export async function startCandidates(directory: string, options: Options): Promise<Candidate[]> {
  const unknown = options.only.filter(name => KINDS.every(kind => kind.name !== name));
  if (unknown.length > 0)
    throw new RangeError(`--only ${unknown}: not one of ${KINDS.map(({ name }) => name).join(', ')}`);
  const candidates: Candidate[] = [];
  for (const kind of KINDS)
    if (options.only.length === 0 ? !kind.onDemand : options.only.includes(kind.name))
      candidates.push(await Candidate.start(kind, directory, options));
  return candidates;
}

// ---- how they start ------------------------------------------------------------------------------------------

function writeConfig(directory: string, tun: TunSettings, steering: string): string {
  const file = join(directory, 'config.json');
  const config = {
    role: 'real-server',
    control: { socket: join(directory, 'control.sock') },
    tun: { name: TUN, ...tun },
    routing: { steering },
    realServer: {
      interface: 'eth0',
      flowTimeout: 7200,
      loadBalancers: [{ prefix: LIPS }],
      services: [{ address: RIP, port: RPORT }],
    },
  };
  writeFileSync(file, JSON.stringify(config));
  return file;
}

function shim(tun: TunSettings, steering = 'policy-routing'): NonNullable<Kind['start']> {
  return async ({ place, directory, cores, options }) => {
    const config = writeConfig(directory, tun, steering);
    const program = new Program(place.command('rs', [...SHIM_RUN, '--config', config]), cores);
    await program.says('serving as real-server');
    const marker = new Program(place.command('lb', [programPath('mark'), String(options.flows)]), [
      options.loadCore,
    ]);
    await marker.result();
    return program;
  };
}

function cLoop(...args: string[]): NonNullable<Kind['start']> {
  return where => startLoop(where, [programPath('c-loop'), TUN, ...args]);
}

function fsStream(where: Where): Promise<Program> {
  return startLoop(where, [programPath('with-tun'), TUN, process.execPath, FS_STREAM]);
}

/** Starts a program that makes the TUN itself, then makes the routes that the shim would make. */
async function startLoop({ place, directory, cores }: Where, command: string[]): Promise<Program> {
  const program = new Program(place.command('rs', command), cores);
  while (!must(place.command('rs', ['ip', '-br', 'link'])).includes(TUN)) await sleep(10);
  const config = writeConfig(directory, {}, 'policy-routing');
  const plan = must(place.command('rs', [...SHIM, 'plan', '--up', '--config', config]));
  must(place.command('rs', ['sh']), plan.replace(/^ip tuntap add .*$/m, ''));
  rmSync(config);
  return program;
}
